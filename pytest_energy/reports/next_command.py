"""What to type after a run, for the outcome that most needs it; pure."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from pytest_energy.meters.protocol import TOO_SHORT
from pytest_energy.results import RunRecord

_REPLACED = ("--energy-hw", "--energy-update", "--energy-settle", "--energy-compare")
"""Options that the next command gives itself, or that do not go with what it gives."""


def next_command(
    record: RunRecord,
    written: Sequence[tuple[Path, str]] = (),
    arguments: Sequence[str] = (),
) -> str:
    """The command, or what else to do next; `arguments` are those pytest was called with."""
    # What was only compared, or has a limit, has no baseline to record or to replace.
    stored = [
        verdict
        for verdict in record.verdicts
        if verdict.metric != "joules" and (verdict.comparison is None or verdict.comparison.settles)
    ]
    outcomes = {verdict.outcome for verdict in stored}
    local = any(verdict.local for verdict in record.verdicts)
    update = f"pytest {_repeated(arguments)}--energy-hw={record.hardware.get('key', 'KEY')}"
    update += " --energy-update"
    if written:
        path = os.path.relpath(written[0][0])
        # A new file is not in git's index yet, and would not be in the diff.
        return f"git add -N {path} && git diff {path}" if written[0][1] else ""
    if "missing" in outcomes:
        return f"{update}=new   # on an idle machine"
    if "invalid" in outcomes:
        short = all(TOO_SHORT in v.reason for v in stored if v.outcome == "invalid")
        return "give each window more work" if short else "pytest-energy doctor"
    if "recorded" in outcomes and local:
        return "run it again: the next run is compared with what this one recorded"
    if outcomes & {"regression", "improvement"} and not local:
        return f"{update}=replace   # if the change is meant"
    if local and outcomes <= {"within", "measured"}:
        return f"{update}=new   # to commit a baseline"
    if local and "inconclusive" in outcomes:
        return "run it again: the local baseline takes in sessions until it can tell"
    return ""


def _repeated(arguments: Sequence[str]) -> str:
    """The arguments that select the same tests in the same way, ready to be typed."""
    kept = []
    rest = iter(arguments)
    for argument in rest:
        name, joined, _ = argument.partition("=")
        if name not in _REPLACED:
            kept.append(shlex.quote(argument))
        elif not joined:
            next(rest, None)
    return "".join(f"{argument} " for argument in kept)
