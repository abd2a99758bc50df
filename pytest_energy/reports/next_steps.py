"""The next command after a run, ready to be typed, or what else to do next; pure."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from pytest_energy.ab.protocol import OF_ITS_CODE, THE_SAME
from pytest_energy.ab.revisions import WHICH_IS_HEAD
from pytest_energy.clocks import real_time
from pytest_energy.gate.sentences import LOAD_IT, QUIETER, RECORD_AGAIN, RECORD_ANEW
from pytest_energy.meters import protocol
from pytest_energy.outcomes import MOVED
from pytest_energy.results import (
    INTERRUPTED,
    NOT_COMPARED,
    NOT_RECORDED,
    REFERENCE_LOAD,
    RunRecord,
    VerdictRecord,
)
from pytest_energy.text import masked_argument

_SPREADING = ("-n", "--numprocesses", "--dist", "--tx", "--maxprocesses")
"""Options of pytest-xdist, whose workers record nothing."""

_WORKERS = re.compile(r"-n=?(\d+|auto|logical)|-d")
"""Those in one word."""

_REPLACED = (
    *("--energy-hw", "--energy-update", "--energy-settle", "--energy-compare", "--energy-notify"),
    *_SPREADING,
)
"""Options that the next command gives itself, or that do not go with what it gives."""

_NOT_AGAIN = ("--energy-notify", *_SPREADING)
"""Those that are not to be given again where the same command is."""


ACKNOWLEDGED_DAYS = 30
"""How long a proposed acknowledgement lasts."""


def next_steps(
    record: RunRecord,
    written: Sequence[tuple[Path, str]] = (),
    arguments: Sequence[str] = (),
    typed: Callable[[str], str] = str,
) -> list[str]:
    """The commands, or what else to do next; `arguments` are those pytest was called with.

    After a regression the first of them looks into it, and the others accept it. `typed` says how
    a test is typed where the reader is, which is pytest's root unless it is given.
    """
    if written:
        return _reviewing(written)
    # What was only compared, or has a limit, has no baseline to record or to replace.
    stored = [
        verdict
        for verdict in record.verdicts
        if verdict.metric != "joules" and (verdict.comparison is None or verdict.comparison.settles)
    ]
    outcomes = {verdict.outcome for verdict in stored}
    local = any(verdict.local for verdict in record.verdicts)
    hardware = shlex.quote(f"--energy-hw={record.hardware.get('key', 'KEY')}")
    update = f"pytest {_repeated(arguments)}{hardware} --energy-update"
    again = f"pytest {_repeated(arguments, _NOT_AGAIN)}"
    if "missing" in outcomes:
        return [f"{update}=new   # on an idle machine"]
    if invalid := _invalid(record):
        first = next((verdict for verdict in invalid if verdict.fails), invalid[0])
        return [_remedy(replace(first, nodeid=typed(first.nodeid)), again.rstrip(), update)]
    if "recorded" in outcomes and local:
        return ["run it again: the next run is compared with what this one recorded"]
    if outcomes & set(MOVED) and not local:
        accept = f"{update}=replace   # if it is to stay: a new baseline"
        worse = [verdict for verdict in stored if verdict.outcome == "regression"]
        look = f"pytest {_repeated(arguments)}--energy-compare=auto   # is it the change at hand?"
        return [look, _acknowledging(worse[0]), accept] if worse else [accept]
    if commits := _between(record):
        search = f"pytest-energy bisect {commits} -- {_repeated(arguments)}".rstrip()
        return [f"{search}   # which commit?"]
    if any(
        each.outcome == "regression" and each.method == "modelled" and not each.fails
        for each in record.verdicts
    ):
        return [f"{again}--energy-strict   # it may fail then, and may take several times as long"]
    if local and outcomes <= {"within", "measured"}:
        return [f"{update}=new   # to commit a baseline"]
    if local and "inconclusive" in outcomes:
        return ["run it again: the local baseline takes in sessions until it can tell"]
    return []


def _reviewing(written: Sequence[tuple[Path, str]]) -> list[str]:
    """The command that shows what changed in the first baseline file, if that is known."""
    files = [shlex.quote(os.path.relpath(path)) for path, _ in written]
    # A new file is not in git's index yet, and would not be in the diff.
    return [f"git add -N {' '.join(files)} && git diff {files[0]}"] if written[0][1] else []


def _invalid(record: RunRecord) -> list[VerdictRecord]:
    """Figures that something is to be done about.

    What a test has taken back, or an interrupt has left, says nothing of the windows.
    """
    return [
        verdict
        for verdict in record.verdicts
        if verdict.outcome == "invalid"
        and verdict.metric != REFERENCE_LOAD
        and not verdict.reason.startswith((NOT_RECORDED, INTERRUPTED))
    ]


def _between(record: RunRecord) -> str:
    """The good end of a search for the commit, if a comparison of commits found a regression."""
    for verdict in record.verdicts:
        compared = verdict.comparison
        if verdict.outcome != "regression" or compared is None or compared.settles:
            continue
        asked, _, commit = compared.reference.rstrip(")").rpartition("(")
        # What is not committed is no commit's.
        is_head = asked == "HEAD " or asked.endswith(f"{WHICH_IS_HEAD} ")
        if compared.kind == "revision" and verdict.metric != "savings" and not is_head:
            return f"--good {shlex.quote(commit)}"
    return ""


def _acknowledging(verdict: VerdictRecord) -> str:
    """The command that accepts a regression for a while, with some room for noise."""
    highest = max(map(abs, (verdict.change or 0.0, *(verdict.interval or ()))))
    percent = math.ceil(100 * highest) + 1
    until = real_time.utc().date() + timedelta(days=ACKNOWLEDGED_DAYS)
    return (
        f"pytest-energy acknowledge {shlex.quote(verdict.id)} --up-to {percent}% --until {until} "
        '--reason "why"   # if it is known, for a while'
    )


def asks_for_workers(arguments: Iterable[str]) -> bool:
    """Whether arguments of pytest's command line say over which workers of pytest-xdist."""
    return any(
        _WORKERS.fullmatch(argument) or argument.partition("=")[0] in _SPREADING
        for argument in arguments
    )


def _repeated(arguments: Sequence[str], left_out: Container[str] = _REPLACED) -> str:
    """The arguments that select the same tests in the same way, ready to be typed."""
    kept = []
    rest = iter(arguments)
    for argument in rest:
        name, joined, _ = argument.partition("=")
        if _WORKERS.fullmatch(argument):
            continue
        if name not in left_out:
            kept.append(shlex.quote(masked_argument(argument)))
        elif not joined:
            next(rest, None)
    return "".join(f"{argument} " for argument in kept)


_BY_PART = {
    protocol.ENDED_AT_ONCE: "see that the code in the window does its work: it ended at once",
    f"{protocol.TOO_SHORT}: ": "give each window more work",
    f"{protocol.NO_UPDATE}: ": "give each window more work",
    f"{protocol.UNSEEN_WORK}: ": "let your code wait for each process that it starts",
    f"{protocol.WAITED}: ": "OMP_NUM_THREADS=1 {again}   # or stop the other programs",
    "use `-n 0`": "{again} -n 0",
    "metered with `-n 0`": "{again} -n 0",
    f"{protocol.FOREIGN}: ": "stop the other programs on the device, then run it again",
    f"{protocol.THROTTLED}: ": "let the device cool, then run it again",
    f"{protocol.LIMIT_CHANGED}: ": "leave the power limit alone, then run it again",
    LOAD_IT: f"{LOAD_IT}, then run it again",
    RECORD_AGAIN: "run it again once the device is warm and nothing else works on it",
    RECORD_ANEW: "{update}=replace   # if it is meant: a new baseline",
    QUIETER: QUIETER,
    THE_SAME: f"{THE_SAME} work",
}
"""Remedies by a part of the reason; what has no row is the device's or its meter's fault."""


def _remedy(verdict: VerdictRecord, again: str, update: str) -> str:
    """What to do next about an invalid figure: `again` is the command that was given."""
    if verdict.reason.startswith(NOT_COMPARED):
        return _of_a_side(verdict)
    found = [what for part, what in _BY_PART.items() if part in verdict.reason]
    return found[0].format(again=again, update=update) if found else "pytest-energy doctor"


def _of_a_side(verdict: VerdictRecord) -> str:
    """What to do about a side that could not be measured."""
    fault = verdict.reason.removeprefix(NOT_COMPARED)
    if not any(f"`) {words}: " in fault for words in OF_ITS_CODE):
        return "mend what the reason names, then run it again"
    if fault.startswith("the base "):
        return "compare with a revision in which the test runs"
    return f"pytest {shlex.quote(verdict.nodeid)}   # your code fails in it: mend that"
