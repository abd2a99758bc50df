"""What `mutmut run` found: the share of mutants that tests kill, by module, and those that live.

`make mutants` calls it. A mutant that never ends is killed by the time it takes.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

KILLED = ("killed", "timeout")


def main() -> None:
    """Print a row for each module that was looked at, then the names of the survivors."""
    print(told(_results()))


def told(results: dict[str, str]) -> str:
    """The table and the list, from each mutant's name and what became of it."""
    modules: defaultdict[str, Counter[bool]] = defaultdict(Counter)
    for name, status in results.items():
        modules[name.rpartition(".")[0]][status in KILLED] += 1
    rows = [_row(name, counts) for name, counts in sorted(modules.items())]
    whole = _row("all", sum(modules.values(), Counter[bool]()))
    living = [f"{name}: {status}" for name, status in results.items() if status not in KILLED]
    return "\n".join([*rows, whole, "", *living, "`mutmut show NAME` shows what a mutant changed."])


def _row(name: str, counts: Counter[bool]) -> str:
    return f"{name:40} {counts[True]:5} of {counts.total():5} killed, {_share(counts)}"


def _share(counts: Counter[bool]) -> str:
    return f"{100 * counts[True] / counts.total():.1f} %"


def _results() -> dict[str, str]:
    mutmut = Path(sys.executable).with_name("mutmut")
    command = [str(mutmut), "results", "--all", "true"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found = dict(line.strip().rsplit(": ", 1) for line in lines)
    return {name: status for name, status in found.items() if status != "not checked"}


if __name__ == "__main__":
    main()
