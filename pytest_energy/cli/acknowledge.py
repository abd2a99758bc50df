"""`pytest-energy acknowledge`: let a figure cost more for a while, by a word that others read."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pytest_energy.ab.revisions import attempt
from pytest_energy.baselines import METRICS, Baseline, baseline_path
from pytest_energy.baselines.reading import parse, read, text_of
from pytest_energy.baselines.tables import LONGEST_DAYS, LONGEST_TEXT, Acknowledgement
from pytest_energy.baselines.writing import with_acknowledgement, without_acknowledgement
from pytest_energy.checks.policy import Levels, stored_levels
from pytest_energy.cli import add_baselines_option, describe, say, write_text
from pytest_energy.clocks import real_time
from pytest_energy.errors import BaselineError, EnergyError, Faults, did_you_mean
from pytest_energy.files import unified_diff
from pytest_energy.text import one_line
from pytest_energy.units import LARGEST_LEVELS, percent


def add_acknowledge(parser: argparse.ArgumentParser) -> None:
    """Register the arguments."""
    describe(
        parser,
        "Write into the baseline file that a figure may be worse than its baseline, up to a limit "
        "and a day. Until then its verdict is `acknowledged` and passes; beyond it fails.",
        "pytest-energy acknowledge sst2/bert-base-uncased --up-to 4% --until 2027-01-31 "
        '--reason "exact attention, to be fused in January"',
        "pytest-energy acknowledge sst2/bert-base-uncased --remove",
    )
    parser.add_argument("id", metavar="ID", help="the figure, as reports call it")
    parser.add_argument(
        "--up-to",
        metavar="PCT",
        help="how much worse than the baseline it may be: percent, of savings points",
    )
    parser.add_argument("--until", metavar="DAY", help="the last day, such as 2027-01-31")
    parser.add_argument("--reason", metavar="TEXT", help="why, for those who read the reports")
    parser.add_argument("--by", metavar="NAME", help="who acknowledges it (git's `user.name`)")
    parser.add_argument("--metric", choices=METRICS, help="if the id is of both")
    parser.add_argument("--hw", metavar="KEY", help="if several baseline files have the id")
    parser.add_argument("--remove", action="store_true", help="take the acknowledgement back")
    add_baselines_option(parser)
    parser.set_defaults(run=run)


_NEEDED = ("--up-to", "--until", "--reason")


def run(options: argparse.Namespace) -> int:
    """Change the file and show its diff; all that is wrong with the input is told at once."""
    faults = Faults()
    stated = None if options.remove else _stated(options, faults)
    with faults.gathered():
        _check_given(options)
    with faults.gathered():
        path, metric = _figure(options)
    faults.tell()
    if stated is not None:
        _require_beyond(stated.up_to, stored_levels(read(path).entries[metric, options.id]))
    old = text_of(path)
    if stated is None:
        new = without_acknowledgement(old, metric, options.id)
    else:
        by = stated.by or one_line(attempt(path.resolve().parent, "config", "user.name") or "")
        new = with_acknowledgement(old, replace(stated, metric=metric, by=by))
    parse(new, path)  # what cannot be read back is not written
    write_text(path, new)
    say(*unified_diff(old, new, path.name).split("\n"))
    say(f"commit `{os.path.relpath(path)}`: it counts wherever this file is used")
    return 0


def _require_beyond(up_to: float, levels: Levels) -> None:
    """Refuse what is allowed without an acknowledgement."""
    if up_to <= levels.tolerance:
        raise EnergyError(
            f"`--up-to={100 * up_to:g}%` is no more than the tolerance of "
            f"{percent(levels.tolerance)}, which is allowed in any case; give more"
        )


def _check_given(options: argparse.Namespace) -> None:
    """Refuse what goes without `--remove` beside it, and what is missing without it."""
    given = dict(zip(_NEEDED, (options.up_to, options.until, options.reason), strict=True))
    if options.remove and any(one is not None for one in given.values()):
        raise EnergyError("`--remove` takes no `--up-to`, `--until` or `--reason`; leave them out")
    missing = [f"`{name}`" for name, one in given.items() if one is None]
    if missing and not options.remove:
        *others, last = missing
        names = f"{', '.join(others)} and {last}" if others else last
        raise EnergyError(f"`acknowledge` needs {names}; `--help` has an example")


def _figure(options: argparse.Namespace) -> tuple[Path, str]:
    """The file and the metric of the figure; raises `EnergyError` if it is not exactly one."""
    folder, identifier = options.baselines, options.id
    paths = [baseline_path(folder, options.hw)] if options.hw else sorted(folder.glob("*.toml"))
    if not paths or not paths[0].exists():
        where = paths[0] if paths else folder
        is_there = "has no baseline file" if where.is_dir() else "does not exist"
        raise BaselineError(
            f"`{where}` {is_there}; record a baseline with `pytest --energy-update=new`, or give "
            "the folder by `--baselines`"
        )
    known = [(path, *key) for path in paths for key in _figures(read(path), options.remove)]
    wanted = [(identifier, metric) for metric in METRICS if options.metric in (None, metric)]
    found = [(path, metric) for path, metric, name in known if (name, metric) in wanted]
    if not found:
        meant = did_you_mean(identifier, sorted({name for *_, name in known}))
        what = "acknowledged" if options.remove else "stored"
        raise EnergyError(
            f"`{one_line(identifier)}` is no figure that is {what} in `{folder}`; {meant}"
            "`pytest-energy baselines` lists them"
        )
    if len({path for path, _ in found}) > 1:
        keys = ", ".join(f"`{path.stem}`" for path in dict.fromkeys(path for path, _ in found))
        raise EnergyError(f"`{identifier}` is in the files of {keys}; give one of them by `--hw`")
    if len(found) > 1:
        raise EnergyError(f"`{identifier}` has both J/token and savings; give `--metric`")
    return found[0]


def _figures(stored: Baseline, are_acknowledged: bool) -> list[tuple[str, str]]:
    if are_acknowledged:
        return [(one.metric, one.id) for one in stored.acknowledged]
    return [key for key, entry in stored.entries.items() if entry.sessions]


def _stated(options: argparse.Namespace, faults: Faults) -> Acknowledgement:
    """What the options acknowledge; metric and git's name are not known yet."""
    today = real_time.utc().date()
    stated = Acknowledgement("", options.id, 0.0, today.isoformat(), "", "", today.isoformat())
    readers: dict[str, Callable[[str], Any]] = {
        "up_to": _up_to,
        "until": lambda text: _until(text, today),
        "reason": lambda text: _text("--reason", text),
        "by": lambda text: _text("--by", text),
    }
    for name, reader in readers.items():
        with faults.gathered():
            if (given := getattr(options, name)) is not None:
                stated = replace(stated, **{name: reader(given)})
    return stated


def _up_to(text: str) -> float:
    most = 100 * LARGEST_LEVELS["tolerance"]
    try:
        number = float(text.strip().removesuffix("%"))
    except ValueError:
        number = math.nan
    if not 0 < number <= most:
        raise EnergyError(
            f"`--up-to={one_line(text)}` is no percent above 0 and at most {most:g}, such as 4%"
        )
    return float(f"{number / 100:.6g}")


def _until(text: str, today: date) -> str:
    try:
        until = date.fromisoformat(text)
    except ValueError:
        raise EnergyError(f"`--until={one_line(text)}` is no day such as 2027-01-31") from None
    if until < today:
        raise EnergyError(f"`--until={until}` is past; give today or a later day")
    if until > today + timedelta(days=LONGEST_DAYS):
        raise EnergyError(
            f"`--until={until}` is more than a year away: what is to stay becomes the baseline, "
            "with `--energy-update=replace`"
        )
    return until.isoformat()


def _text(option: str, text: str) -> str:
    line = one_line(text.strip(), None)
    if not line or len(line) > LONGEST_TEXT:
        raise EnergyError(f"`{option}` has {len(line)} characters; give 1 to {LONGEST_TEXT}")
    return line
