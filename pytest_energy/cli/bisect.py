"""`pytest-energy bisect`: which commit a change of J/token comes from."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pytest_energy.ab.revisions import attempt
from pytest_energy.bisect import EXIT_CODES, Finding, Probe
from pytest_energy.bisect.commits import Commit, Ends, Graph, find_ends, read_graph
from pytest_energy.bisect.documents import Kept, same_device
from pytest_energy.bisect.environments import (
    GOOD,
    EnvironmentGround,
    exchanges,
    graph_of,
    inventory,
)
from pytest_energy.bisect.levels import log_change
from pytest_energy.bisect.probing import TIMEOUT_SECONDS, Asking, CommitGround, Ground, Prober
from pytest_energy.bisect.search import CHANGE, Asked, Search
from pytest_energy.cli import (
    default_baselines,
    describe,
    require_outputs,
    say,
    write_json,
    write_text,
)
from pytest_energy.errors import EnergyError
from pytest_energy.history import ChangePoint, SeriesDrift
from pytest_energy.history.drift import drift_of
from pytest_energy.reports.bisection import (
    SHORT,
    Bisection,
    as_document,
    as_text,
    interval,
    render_bisection,
)
from pytest_energy.reports.wording import counted
from pytest_energy.text import url as address
from pytest_energy.units import FRACTION, percent

_LARGEST_CHANGE = 300.0
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def add_bisect(parser: argparse.ArgumentParser) -> None:
    """Register the arguments of `pytest-energy bisect`."""
    describe(
        parser,
        "Find the commit that a change of J/token comes from, by A/B of commits against the good "
        "end. What was measured is kept: the same command goes on where it was interrupted. Exit "
        "code: 0 found, 1 not reproduced, 2 can't say, 3 unexpected error, 4 bad input.",
        "pytest-energy bisect --good v1.2 --bad main -- benchmarks/test_a.py -k sst2",
        "pytest-energy bisect --from-drift /srv/energy --hw h200 -- benchmarks/",
        "pytest-energy bisect --python-good .venv-old/bin/python --python-bad .venv/bin/python",
    )
    parser.add_argument("--good", metavar="REV", help="a revision before the change")
    parser.add_argument("--bad", metavar="REV", help="one after it (HEAD)")
    parser.add_argument(
        *("--from-drift", "--history"),
        metavar="URL",
        type=address,
        help="both, of a history's newest change",
    )
    parser.add_argument("--hw", metavar="KEY", help="with `--from-drift`: this hardware alone")
    parser.add_argument("--branch", metavar="NAME", help="with `--from-drift`: this branch alone")
    parser.add_argument(
        "--python-good",
        metavar="PATH",
        type=Path,
        help="instead of revisions: the Python of an environment before the change",
    )
    parser.add_argument(
        "--python-bad", metavar="PATH", type=Path, help="and of one after it, which runs pytest"
    )
    parser.add_argument("--figure", metavar="ID", help="the figure to follow (what changed most)")
    parser.add_argument(
        "--change",
        metavar="PCT",
        type=_change,
        help=f"the change that is looked for ({100 * CHANGE:g}; below 0: an improvement)",
    )
    parser.add_argument(
        "--first-parent", action="store_true", help="name the merge, not a commit of its branch"
    )
    parser.add_argument("--again", action="store_true", help="begin anew; forget what was measured")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all of it as JSON")
    parser.add_argument("--html", type=Path, metavar="PATH", help="write a page, in one file")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=TIMEOUT_SECONDS,
        help=f"the longest that one probe may take ({TIMEOUT_SECONDS:g})",
    )
    parser.add_argument(
        "arguments", nargs="*", metavar="PYTEST ARGUMENTS", help="what to run, after `--`"
    )
    parser.set_defaults(run=run_bisect)


def _change(text: str) -> float:
    try:
        percentage = float(text.rstrip("%"))
    except ValueError:
        percentage = 0.0
    if not -90 <= percentage <= _LARGEST_CHANGE or abs(percentage) < 0.1:
        raise EnergyError(
            f"`--change={text}` is out of range; give per cent from 0.1 to {_LARGEST_CHANGE:g}, "
            f"below 0 for an improvement"
        )
    return percentage / 100


def run_bisect(options: argparse.Namespace) -> int:
    """Search, telling each probe as it ends; the exit code says how it ended."""
    require_outputs(options, "json", "html")
    if not options.timeout > 0:
        raise EnergyError(f"`--timeout={options.timeout:g}` gives no time; give seconds above 0")
    with ExitStack() as made:
        found = _searched(_task(options, made), again=options.again)
    say("", *as_text(found).split("\n"))
    if options.json is not None:
        write_json(options.json, as_document(found))
    if options.html is not None:
        write_text(options.html, render_bisection(found))
    return EXIT_CODES[found.conclusion.outcome]


@dataclass(frozen=True)
class _Task:
    """A search to be made: between which ends, on what ground, for what; `key` tells it apart.

    `commits` are the commits, or the exchanges of packages, the newest first.
    """

    graph: Graph
    commits: Mapping[str, Commit]
    ground: Ground
    asked: Asked
    asking: Asking
    key: object
    folder: Path
    noun: str
    text: str


def _task(options: argparse.Namespace, made: ExitStack) -> _Task:
    if options.python_good is None and options.python_bad is None:
        return _between_commits(options)
    if options.python_good is None or options.python_bad is None:
        raise EnergyError("`--python-good` and `--python-bad` belong together; give both")
    if any((options.good, options.bad, options.from_drift)):
        raise EnergyError(
            "`--python-good` and `--python-bad` exchange packages, and revisions stay as they are; "
            "leave `--good`, `--bad` and `--from-drift` out"
        )
    return _between_environments(options, made)


def _between_commits(options: argparse.Namespace) -> _Task:
    ends, asked, figure = _asked(options)
    graph, commits = read_graph(ends)
    asking = Asking(tuple(options.arguments), figure, options.timeout)
    return _Task(
        graph,
        commits,
        CommitGround(ends),
        asked,
        asking,
        [ends.good, ends.bad, str(ends.inside), asked.change, asking.arguments, figure],
        ends.toplevel,
        "commit",
        f"{counted(len(graph.parents), 'commit')} after {_called(ends.good, commits)}, to "
        f"{_called(ends.bad, commits)}",
    )


def _between_environments(options: argparse.Namespace, made: ExitStack) -> _Task:
    # Not resolved: a virtual environment's python is a link to another's.
    good, bad = (Path(os.path.abspath(p)) for p in (options.python_good, options.python_bad))
    old, new = inventory(good), inventory(bad)
    found = exchanges(old, new)
    graph = graph_of(found)
    places = [*graph.parents]
    commits = {
        place: Commit("", each.text)
        for place, each in reversed(list(zip(places, found, strict=True)))
    }
    ground = EnvironmentGround(good, bad, old.prefix, found)
    made.callback(ground.close)
    asked = Asked(options.change or CHANGE)
    asking = Asking(tuple(options.arguments), options.figure, options.timeout)
    here = Path.cwd()
    code = [attempt(here, "rev-parse", "HEAD"), attempt(here, "diff", "HEAD")]
    texts = [each.text for each in found]
    return _Task(
        graph,
        {**commits, GOOD: Commit("", str(good))},
        ground,
        asked,
        asking,
        [str(good), str(bad), texts, code, str(here), asked.change, asking.arguments,
         options.figure],
        here,
        "package",
        f"{counted(len(found), 'package')} differ{'s' if len(found) == 1 else ''} between {good} "
        f"and {bad}: {', '.join(texts)}",
    )  # fmt: skip


def _searched(task: _Task, *, again: bool) -> Bisection:
    """What a search comes to, whose probes are answered from what was kept, or measured."""
    kept = Kept.of(task.key, task.folder, again=again)
    say(task.text)
    if kept.findings:
        say(f"{counted(len(kept.findings), 'probe')} measured before, kept in {kept.path}")
    kept.write()  # before any energy is spent
    prober = Prober(task.ground, task.asking, kept)
    measure = partial(_measured, prober, kept, task.commits)
    with _ending_in_order():
        try:
            search = Search(task.graph, lambda probe: kept.answer(probe, measure), task.asked)
            conclusion = search.run()
        except KeyboardInterrupt:
            say("interrupted; the same command goes on where this one was")
            raise
    followed = kept.figure
    return Bisection(
        conclusion,
        task.commits,
        task.graph.good,
        task.graph.bad,
        followed.id if followed else "",
        followed.metric if followed else "",
        task.noun,
        task.asked.change,
    )


def _measured(prober: Prober, kept: Kept, commits: Mapping[str, Commit], probe: Probe) -> Finding:
    """What is found of a probe now, which is said, and kept."""
    say(f"{probe.purpose}: {_called(probe.commit, commits)} against {probe.against[:SHORT]} ...")
    finding = same_device(prober.ask(probe), kept.findings)
    if finding.is_broken:
        say(f"  broken: {finding.reason}")
    else:
        found = log_change(finding, kept.findings).shown
        say(
            f"  {percent(found.change, signed=True)} ({interval(found)}, "
            f"{counted(len(finding.pairs), 'pair')})"
        )
    # Ends that cannot be compared are mended, and asked again.
    if not (finding.is_broken and probe.purpose == "ends"):
        kept.keep(finding)
    return finding


def _called(commit: str, commits: Mapping[str, Commit]) -> str:
    known = commits.get(commit)
    return f"{commit[:SHORT]} {known.subject}" if known else commit[:SHORT]


def _asked(options: argparse.Namespace) -> tuple[Ends, Asked, str | None]:
    """The ends, what is looked for, and the figure to follow if one is named."""
    here, change, figure = Path.cwd(), options.change, options.figure
    good, bad = options.good, options.bad
    if options.from_drift is not None:
        if good is not None or bad is not None:
            raise EnergyError("`--from-drift` gives both ends; leave `--good` and `--bad` out")
        series, point = _dated(options)
        good, bad = str(point.last_good), str(point.commit)
        figure = series.series.id
        change = change or max(-0.9, min(point.change, _LARGEST_CHANGE / 100))
        say(f"{figure}: {percent(point.change, signed=True)} on {point.date[:10]}")
    elif good is None:
        raise EnergyError(
            "`--good` is missing: name a revision from before the change, or give the history "
            "that has it with `--from-drift`"
        )
    asked = Asked(change or CHANGE, options.first_parent)
    return find_ends(good, bad or "HEAD", here), asked, figure


def _dated(options: argparse.Namespace) -> tuple[SeriesDrift, ChangePoint]:
    """The newest change of a history that a commit may have made."""
    report = drift_of(
        options.from_drift, default_baselines(), hardware=options.hw, branch=options.branch
    )
    wanted = options.figure
    dated = [
        (series, point)
        for series in report.series
        for point in series.change_points
        if series.series.unit != FRACTION and (wanted is None or series.series.id == wanted)
    ]
    if not dated:
        raise EnergyError(
            f"`{options.from_drift}` has no change of J/token that is dated; see what it has with "
            f"`pytest-energy drift`, or name the ends with `--good` and `--bad`"
        )
    known = [(s, p) for s, p in dated if p.commit and p.last_good and p.commit != p.last_good]
    if not known:
        raise EnergyError(
            "the sessions on both sides of the change are of the same commit, or tell none: "
            "no commit made it; look at what else differs with `pytest-energy drift`"
        )
    names = sorted({series.series.id for series, _ in known})
    if len(names) > 1:
        listed = ", ".join(f"`{name}`" for name in names)
        raise EnergyError(f"several figures have changed ({listed}); name one with `--figure`")
    return max(known, key=lambda each: each[1].date)


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Have processes and worktrees taken away if a job is cancelled, as Ctrl-C does."""
    taken = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    raise SystemExit(128 + number)
