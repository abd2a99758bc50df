"""What to do about a figure that is invalid, by what its reason says; pure."""

from __future__ import annotations

import shlex

from pytest_energy.ab.protocol import OF_ITS_CODE, THE_SAME
from pytest_energy.gate.sentences import LOAD_IT, QUIETER, RECORD_AGAIN, RECORD_ANEW
from pytest_energy.meters import protocol
from pytest_energy.results import NOT_COMPARED, VerdictRecord

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
"""By a part of the reason; what has no row is the device's or its meter's fault."""


def remedy(verdict: VerdictRecord, again: str, update: str) -> str:
    """What to do next about an invalid figure, a command if one does it.

    `again` is the command that was given, `update` one that records, up to its mode.
    """
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
