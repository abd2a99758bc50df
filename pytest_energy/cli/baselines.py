"""`pytest-energy baselines`: list, check, compare and tidy the stored figures."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from pytest_energy.ab.revisions import text_at
from pytest_energy.baselines import (
    Band,
    Baseline,
    Entry,
    day_count,
    far_off_in_words,
    pooled_of,
    sessions_of,
)
from pytest_energy.baselines.reading import parse, read, text_of
from pytest_energy.checks.policy import stored_levels
from pytest_energy.cli import default_baselines, describe, say, write_text
from pytest_energy.clocks import real_time
from pytest_energy.errors import BaselineError, EnergyError
from pytest_energy.files import unified_diff
from pytest_energy.gate.sentences import gap_warning, smallest_gap
from pytest_energy.reports.tables import aligned
from pytest_energy.reports.wording import counted
from pytest_energy.units import FRACTION, difference, quantity

Entries = Mapping[tuple[str, str], Entry]


def add_baselines(parser: argparse.ArgumentParser) -> None:
    """Register the arguments."""
    describe(
        parser,
        "List baseline files with the smallest change that one session can tell, or check, compare "
        "or tidy them.",
        "pytest-energy baselines",
        "pytest-energy baselines --check baselines/h200.toml",
    )
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        default=[default_baselines()],
        help="files or folders (baselines/, here or above)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="exit 1 if a file has faults, for CI")
    what.add_argument(
        "--compare",
        action="store_true",
        help="figure by figure: an old file or a git revision, then a file or folder (baselines/)",
    )
    what.add_argument("--prune", action="store_true", help="remove what no session needs")
    parser.add_argument(
        "--drop", metavar="DATE", help="remove the sessions whose date begins like this"
    )
    parser.add_argument(
        "--forget",
        action="store_true",
        help="forget what this machine keeps for itself, in the pytest cache of this folder",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List, compare or tidy the files; 1 if a check finds faults."""
    if options.compare:
        old, *new = options.paths
        alone = not new and (old == default_baselines() or old.suffix == ".toml")
        if alone or len(new) > 1:
            raise EnergyError(
                "`--compare` takes an old baseline file or a git revision such as `main`, then the "
                "new file or folder"
            )
        return compare(old, *(new or [default_baselines()]))
    if options.prune:
        from pytest_energy.baselines.writing import pruned

        return _rewritten(options.paths, pruned)
    if options.drop:
        return drop(options.paths, options.drop)
    if options.forget:
        return forget()
    return show(options.paths, check=options.check)


def files(paths: Sequence[Path]) -> list[Path]:
    """The baseline files that paths name, folders giving all of theirs."""
    found = []
    for path in paths:
        if path.is_dir():
            found += sorted(path.glob("*.toml"))
        elif path.exists():
            found.append(path)
        else:
            raise BaselineError(
                f"`{path}` does not exist; give a baseline file or a folder of them, or record one "
                "with `pytest --energy-update=new` (what this machine keeps for itself is in "
                "pytest's cache, and not listed)"
            )
    return found


def show(paths: Sequence[Path], *, check: bool) -> int:
    """Print each entry with the smallest change one session can tell; 1 if `check` finds faults."""
    faults: list[str] = []
    found = files(paths)
    if not found:
        where = ", ".join(f"`{path}`" for path in paths)
        raise BaselineError(
            f"{where} has no baseline file; record one with `pytest --energy-update=new`, or give "
            "the folder that holds them"
        )
    for path in found:
        stored = read(path)
        say(f"{path}  {stored.key}  {counted(len(stored.entries), 'entry', 'entries')}")
        if not stored.entries:
            say("  nothing measured yet")
        entries = list(stored.entries.values())
        lines = aligned([_row(stored, entry) for entry in entries], right=(2, 3), indent=2)
        for entry, line in zip(entries, lines, strict=True):
            say(line)
            for warning in filter(None, (_warning(stored, entry), far_off_in_words(stored, entry))):
                say(f"    {warning}")
        claims = [_claim(name, key, claim) for (name, key), claim in stored.claims.items()]
        say(*aligned(claims, indent=2))
        for one in stored.acknowledged:
            say(f"  {one.id} {one.metric}: acknowledged {one.sentence}")
        faults += [f"{path}: {fault}" for fault in _faults(stored)]
    for fault in faults:
        say(f"fault: {fault}")
    if check and not faults:
        say("no faults")
    return 1 if check and faults else 0


def compare(old: Path, new: Path) -> int:
    """Print how each figure differs from an old file, or from a git revision; always 0."""
    if old.exists() or old.suffix == ".toml":
        if old.is_dir() or new.is_dir():
            raise EnergyError(
                f"`--compare` of two files takes no folder; give a file in place of "
                f"`{old if old.is_dir() else new}`, or a git revision first"
            )
        before, after = (parse(text_of(path), path, any_name=True) for path in (old, new))
        if before.key != after.key:
            say(f"{old} is of {before.key}, {new} of {after.key}: figures are not comparable")
        _show_comparison(before.entries, after.entries)
        return 0
    for path in files([new]):
        then = text_at(str(old), path)
        say(f"{path}  since {old}{'' if then else ', which had no such file'}")
        _show_comparison(parse(then, path).entries if then else {}, read(path).entries)
    return 0


def _show_comparison(before: Entries, after: Entries) -> None:
    keys = dict.fromkeys((*before, *after))
    rows = [_compared(*key, before.get(key), after.get(key)) for key in keys]
    say(*aligned(rows, right=(2, 3)))


def _compared(metric: str, identifier: str, first: Entry | None, second: Entry | None) -> list[str]:
    unit = _unit(metric)
    means = [_mean(entry) for entry in (first, second)]
    shown = [quantity(mean, unit) if mean else "none" for mean in means]
    change = ""
    if means[0] and means[1]:
        by = means[1] - means[0] if unit == FRACTION else means[1] / means[0] - 1
        change = difference(by, unit)
    if first and second and first.workload != second.workload:
        change += "  another workload: not comparable"
    return [metric, identifier, *shown, change]


def drop(paths: Sequence[Path], date: str) -> int:
    """Remove the sessions whose date begins like this one, and what they alone need."""
    if not _DATE.fullmatch(date):
        raise EnergyError(
            "`--drop` takes the date of a session as its file writes it, such as 2026-11-24 for a "
            "day or 2026-11-24T10:12:03 for one session"
        )
    from pytest_energy.baselines.writing import dropped

    return _rewritten(paths, lambda text: dropped(text, date))


_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d(:\d\d(:\d\d)?)?)?Z?")


def _rewritten(paths: Sequence[Path], change: Callable[[str], str]) -> int:
    for path in files(paths):
        read(path)  # a broken file is named before anything is written
        old = text_of(path)
        new = change(old)
        if new == old:
            say(f"{path}: nothing to remove")
            continue
        write_text(path, new)
        say(*unified_diff(old, new, path.name).split("\n"))
    return 0


def forget() -> int:
    """Remove this machine's own baselines from the pytest cache of the folder, or the next above.

    That is where pytest keeps it unless its ini file says another folder.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        kept = sorted(folder.glob(".pytest_cache/d/energy/*/*.toml"))
        for path in kept:
            path.unlink(missing_ok=True)
            say(f"{path}: forgotten")
        if kept:
            return 0
    say("nothing is kept here; if pytest's `cache_dir` is another folder, use `--cache-clear`")
    return 0


def _unit(metric: str) -> str:
    return FRACTION if metric == "savings" else "J/token"


def _row(stored: Baseline, entry: Entry) -> list[str]:
    mean = _mean(entry)
    if mean is None:
        return [entry.metric, entry.id, "no sessions", "", "", ""]
    unit = _unit(entry.metric)
    pooled, tolerance = pooled_of(stored, entry), stored_levels(entry).tolerance
    gap = smallest_gap(sessions_of(entry), pooled=pooled, tolerance=tolerance)
    told = difference(gap, unit, signed=False) if math.isfinite(gap) else "nothing yet"
    return [
        entry.metric,
        entry.id,
        quantity(mean, unit),
        f"{counted(len(entry.sessions), 'session')} of {counted(day_count(entry), 'day')}",
        f"last {entry.sessions[-1].date[:10]}",
        f"one session tells {told}",
    ]


def _claim(name: str, key: str, claim: Band) -> list[str]:
    unit = "J/token" if name == "joules_per_token" else FRACTION
    band = f"{quantity(claim.low, unit)} to {quantity(claim.high, unit)}"
    kind = "sanity band, no baseline" if unit == "J/token" else "must hold"
    return [name, key, band, kind, f"source: {claim.source}"]


def _warning(stored: Baseline, entry: Entry) -> str | None:
    if not entry.sessions:
        return None
    levels, pooled = stored_levels(entry), pooled_of(stored, entry)
    return gap_warning(sessions_of(entry), levels.tolerance, levels.detect, pooled=pooled)


def _faults(stored: Baseline) -> Iterator[str]:
    named = set()
    for entry in stored.entries.values():
        where = f'{entry.metric}."{entry.id}"'
        levels = stored_levels(entry)
        if not entry.sessions:
            yield f"`{where}` has no sessions; record one, or `pytest-energy baselines --prune`"
        if levels.detect <= levels.tolerance:
            yield f"`{where}` has `detect` not above `tolerance`; raise it"
        for row in entry.sessions:
            named.add(row.environment)
            if row.environment is not None and row.environment not in stored.environments:
                yield f"`{where}` names environment `{row.environment}`, which is not in the file"
    yield from _faulty_acknowledgements(stored)
    for name in stored.environments:
        if name not in named:
            yield f"`environment.{name}` is named by no session; `pytest-energy baselines --prune`"


def _faulty_acknowledgements(stored: Baseline) -> Iterator[str]:
    today = real_time.utc().date()
    for one in stored.acknowledged:
        where, remedy = f"`acknowledged` of `{one.id}`", "`pytest-energy acknowledge --remove`"
        entry = stored.entries.get((one.metric, one.id))
        if entry is None or not entry.sessions:
            yield f"{where} has no {one.metric} baseline; {remedy}"
        if not one.holds_on(today):
            yield f"{where} ended on {one.until}; {remedy}, or acknowledge it anew"


def _mean(entry: Entry | None) -> float | None:
    return fmean(row.mean for row in entry.sessions) if entry and entry.sessions else None
