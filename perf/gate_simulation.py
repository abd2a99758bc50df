"""Print how often the gate is wrong and what it costs, by simulation, beside two simpler rules.

The noise is that of a card: a session's level varies between sessions, its windows vary around it
and may be autocorrelated. A baseline of 8 sessions of 10 windows is drawn anew in every trial.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from gate_tables import gap_table, grid_table, pairs_table, sessions_table, summary
from gate_trials import FIXED, GRID, WARM_UP, simulate


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the whole grid and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20_000, help="trials a cell (20000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (1)")
    options = parser.parse_args(arguments)
    rows = [row for cell in GRID for row in simulate(cell, options.trials, options.seed)]
    print(
        f"The gate, simulated: {options.trials:,} trials a cell, seed {options.seed}; tolerance "
        f"2 %, detect 5 %, half of the error budget a stage.\n"
        f"Windows spent include {WARM_UP} of warm-up; a pair is two windows. Fixed rules take "
        f"{FIXED} windows after the same warm-up:\nmean above the stored mean by 2 % or 5 %, and "
        f"Welch's test at 1 % against all stored windows.\n"
    )
    print(grid_table(rows), summary(rows), sep="\n\n")
    print("\nBaselines of few and many sessions (within 1 %, r 0.2, stage 1, whole budget):")
    print(sessions_table(options.trials, options.seed))
    print("\nA/B without a baseline (whole budget):")
    print(pairs_table(options.trials, options.seed))
    print("\nThe smallest gap that a baseline resolves:")
    print(gap_table(options.trials, options.seed))


if __name__ == "__main__":
    main()
