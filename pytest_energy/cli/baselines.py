"""`pytest-energy baselines`: list, check, compare and tidy the stored figures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from pytest_energy.baselines import Band, Baseline, Entry, pooled_of, sessions_of
from pytest_energy.baselines.reading import read
from pytest_energy.baselines.writing import pruned
from pytest_energy.checks.policy import DEFAULT_LEVELS
from pytest_energy.errors import BaselineError
from pytest_energy.files import unified_diff as text_difference
from pytest_energy.files import write_atomically
from pytest_energy.gate.resolution import gap_warning, smallest_gap
from pytest_energy.units import FRACTION, difference, quantity


def files(paths: Sequence[Path]) -> list[Path]:
    """The baseline files that paths name, folders giving all of theirs."""
    found = []
    for path in paths:
        if path.is_dir():
            found += sorted(path.glob("*.toml"))
        elif path.is_file():
            found.append(path)
        else:
            raise BaselineError(
                f"`{path}` does not exist; give a baseline file or a folder of them"
            )
    return found


def show(paths: Sequence[Path], *, check: bool) -> int:
    """Print each entry with the smallest change one session can tell; 1 if `check` finds faults."""
    faults: list[str] = []
    for path in files(paths):
        stored = read(path)
        count = len(stored.entries)
        print(f"{path}  {stored.key}  {count} {'entry' if count == 1 else 'entries'}")
        if not stored.entries:
            print("  nothing measured yet")
        for entry in stored.entries.values():
            print(f"  {_row(stored, entry)}")
            warning = _warning(stored, entry)
            if warning:
                print(f"    {warning}")
        for (name, key), claim in stored.claims.items():
            print(f"  {_claim(name, key, claim)}")
        faults += [f"{path}: {fault}" for fault in _faults(stored)]
    for fault in faults:
        print(f"fault: {fault}")
    if check and not faults:
        print("no faults")
    return 1 if check and faults else 0


def compare(old: Path, new: Path) -> int:
    """Print how each figure of one file differs in another; always 0."""
    before, after = read(old), read(new)
    for key in dict.fromkeys((*before.entries, *after.entries)):
        metric, identifier = key
        unit = FRACTION if metric == "savings" else "J/token"
        first, second = before.entries.get(key), after.entries.get(key)
        figures = [_mean(entry) for entry in (first, second)]
        shown = [quantity(figure, unit) if figure else "none" for figure in figures]
        change = ""
        if figures[0] and figures[1]:
            relative = unit != FRACTION
            by = figures[1] / figures[0] - 1 if relative else figures[1] - figures[0]
            change = difference(by, unit)
        if first and second and first.workload != second.workload:
            change += "  another workload: not comparable"
        print(f"{metric:<17} {identifier:<34} {shown[0]:>15} {shown[1]:>15}  {change}")
    return 0


def prune(paths: Sequence[Path]) -> int:
    """Remove environments that no session names and entries without sessions; shows the diffs."""
    for path in files(paths):
        read(path)  # a broken file is named before anything is written
        old = path.read_text(encoding="utf-8")
        new = pruned(old)
        if new == old:
            print(f"{path}: nothing to remove")
            continue
        write_atomically(path, new)
        print(text_difference(old, new, path.name))
    return 0


def _row(stored: Baseline, entry: Entry) -> str:
    unit = FRACTION if entry.metric == "savings" else "J/token"
    mean = _mean(entry)
    if mean is None:
        return f"{entry.metric:<17} {entry.id:<34} no sessions"
    tolerance = entry.tolerance or DEFAULT_LEVELS[entry.metric].tolerance
    pooled = pooled_of(stored, entry)
    gap = smallest_gap(sessions_of(entry), pooled=pooled, tolerance=tolerance)
    told = difference(gap, unit, signed=False) if math.isfinite(gap) else "nothing yet"
    count = len(entry.sessions)
    return (
        f"{entry.metric:<17} {entry.id:<34} {quantity(mean, unit):>15}  {count:>2} "
        f"session{' ' if count == 1 else 's'}  last {entry.sessions[-1].date[:10]}  "
        f"one session tells {told}"
    )


def _claim(name: str, key: str, claim: Band) -> str:
    unit = "J/token" if name == "joules_per_token" else FRACTION
    band = f"{quantity(claim.low, unit)} to {quantity(claim.high, unit)}"
    kind = "sanity band, no baseline" if unit == "J/token" else "must hold"
    return f"{name:<17} {key:<34} {band}  {kind}  source: {claim.source}"


def _warning(stored: Baseline, entry: Entry) -> str | None:
    if not entry.sessions:
        return None
    default = DEFAULT_LEVELS[entry.metric]
    return gap_warning(
        sessions_of(entry),
        entry.tolerance or default.tolerance,
        entry.detect or default.detect,
        pooled=pooled_of(stored, entry),
    )


def _faults(stored: Baseline) -> Iterator[str]:
    named = set()
    for entry in stored.entries.values():
        where = f'{entry.metric}."{entry.id}"'
        default = DEFAULT_LEVELS[entry.metric]
        if not entry.sessions:
            yield f"`{where}` has no sessions; record one, or `pytest-energy baselines --prune`"
        if (entry.detect or default.detect) <= (entry.tolerance or default.tolerance):
            yield f"`{where}` has `detect` not above `tolerance`; raise it"
        for row in entry.sessions:
            named.add(row.environment)
            if row.environment is not None and row.environment not in stored.environments:
                yield f"`{where}` names environment `{row.environment}`, which is not in the file"
    for name in stored.environments:
        if name not in named:
            yield f"`environment.{name}` is named by no session; `pytest-energy baselines --prune`"


def _mean(entry: Entry | None) -> float | None:
    return fmean(row.mean for row in entry.sessions) if entry and entry.sessions else None
