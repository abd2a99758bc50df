"""Print how often searches through planted histories are right, and what they cost, by simulation.

Windows vary by 1 % with an autocorrelation of 0.2, histories have 64 commits. Beside the search
stands what `git bisect run` does with a fixed threshold on the mean of four windows: half of the
whole change that was planted (2.5 % where nothing was). It is right if it names a culprit; it
always names somebody.
"""

from __future__ import annotations

import argparse
import random

from bisect_trials import HISTORIES, PLAIN_WINDOWS, plain_bisection, search

SEARCHES = 200


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=SEARCHES, help=f"of each ({SEARCHES})")
    count = parser.parse_args().searches
    print("| history | right | named wrongly | probes | windows a probe | git bisect run |")
    print("| --- | --- | --- | --- | --- | --- |")
    probes = windows = right = wrong = 0
    for kind, plant in HISTORIES.items():
        own = _Counts()
        for number in range(count):
            seed = f"{kind} {number}"
            planted = plant(random.Random(seed))
            conclusion, card = search(planted, seed)
            named = {one.commit for one in conclusion.culprits if one.is_one}
            own.right += named == planted.culprits
            own.wrong += not named <= planted.culprits
            own.probes += card.probes
            own.windows += card.windows
            own.plain += plain_bisection(planted, seed) in planted.culprits
        print(f"| {kind} | {own.right / count:.1%} | {own.wrong} | {own.probes / count:.1f} "
              f"| {own.windows / own.probes:.1f} | {own.plain / count:.1%} |")  # fmt: skip
        probes, windows = probes + own.probes, windows + own.windows
        right, wrong = right + own.right, wrong + own.wrong
    whole = count * len(HISTORIES)
    print(f"| all | {right / whole:.1%} | {wrong} | {probes / whole:.1f} "
          f"| {windows / probes:.1f} | |")  # fmt: skip
    print(f"\n{count} searches of each; `git bisect run` takes {PLAIN_WINDOWS} windows a commit.")


class _Counts:
    """Of one kind of history."""

    right = wrong = probes = windows = plain = 0


if __name__ == "__main__":
    main()
