"""A run in a screen: what many figures say alike is one line, and so is each claim; pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from pytest_energy.gate.sentences import RAISED, SETTLE
from pytest_energy.outcomes import EXPLAINED
from pytest_energy.reports import tables, wording
from pytest_energy.results import NOT_KEPT, RunRecord, VerdictRecord
from pytest_energy.results.claims import ClaimRecord, Figure
from pytest_energy.units import listed

_FAULT = re.compile(r"were invalid[^:]*: ([^:]+):")
"""The word for what made windows invalid, as a reason gives it."""

_WIDER = re.compile(rf"raise {RAISED} to (\d+)")
"""What a reason advises if sessions differ too much for the levels."""

MOST_NAMED = 3
"""Figures that a line names; `-v`, the page and the JSON have them all."""

_OUTCOMES = ("fails", "not testable", "holds", "measured")
"""Of a claim, the worst first."""


def explained(verdicts: Sequence[VerdictRecord]) -> list[str]:
    """A line for each verdict whose reason a person needs, and one for those that say the same.

    A failed test has said its sentence above.
    """
    told = [
        one
        for one in verdicts
        if (one.outcome in EXPLAINED or one.comparison is not None) and not one.fails
    ]
    alike: defaultdict[_Alike | None, list[VerdictRecord]] = defaultdict(list)
    for one in told:
        alike[_alike(one)].append(one)
    groups = {key: of for key, of in alike.items() if key and of[1:]}
    lines = [say(of) for (say, _), of in groups.items()]
    return lines + [sentence(one) for one in told if _alike(one) not in groups]


def sentence(verdict: VerdictRecord) -> str:
    """A verdict's name, outcome and reason."""
    return f"{wording.name(verdict)}: {verdict.outcome}. {wording.reason(verdict)}"


_Alike = tuple[Callable[[Sequence[VerdictRecord]], str], str]


def _alike(verdict: VerdictRecord) -> _Alike | None:
    """What tells of a verdict and those that are like it, and the word for what makes them so."""
    if verdict.outcome == "inconclusive" and verdict.local and verdict.comparison is None:
        # This machine's own sessions cannot tell: they are too few, or differ too much.
        return (_varies if _WIDER.search(verdict.reason) else _early), ""
    if verdict.outcome == "inconclusive" and verdict.reason.startswith(NOT_KEPT):
        return _not_kept, ""
    fault = _FAULT.search(verdict.reason) if verdict.outcome == "invalid" else None
    return (_invalid, fault[1]) if fault else None


def _early(verdicts: Sequence[VerdictRecord]) -> str:
    return f"{_beside(verdicts)}: too early to tell; {_largest(verdicts)}"


def _varies(verdicts: Sequence[VerdictRecord]) -> str:
    wider = max(int(found[1]) for one in verdicts if (found := _WIDER.search(one.reason)))
    return (
        f"{_beside(verdicts)} stay open, since its sessions differ too much for such levels; "
        f"{_largest(verdicts)}; raise {RAISED} to {wider} (percent), or {SETTLE}"
    )


def _beside(verdicts: Sequence[VerdictRecord]) -> str:
    counts = [one.sessions or 1 for one in verdicts]
    sessions = wording.counted(max(counts), "session")
    if min(counts) < max(counts):
        sessions = f"{min(counts)} to {sessions}"
    return f"{len(verdicts)} figures beside {sessions} of this machine"


def _largest(verdicts: Sequence[VerdictRecord]) -> str:
    most = max(verdicts, key=lambda one: abs(one.change or 0.0))
    return f"largest change {wording.change(most)}, `{wording.name(most)}`"


def _not_kept(verdicts: Sequence[VerdictRecord]) -> str:
    return (
        f"{len(verdicts)} figures are {NOT_KEPT}, since their windows vary too much: "
        f"{_named(map(wording.name, verdicts))}; stop other work on the machine and run it again"
    )


def _invalid(verdicts: Sequence[VerdictRecord]) -> str:
    return (
        f"{len(verdicts)} figures are invalid, {_named(map(wording.name, verdicts))}; the first: "
        f"{verdicts[0].reason}"
    )


def _named(names: Iterable[str]) -> str:
    """Some names in backticks, and how many more there are."""
    return listed([f"`{name}`" for name in dict.fromkeys(names)], MOST_NAMED)


def claims(records: Sequence[ClaimRecord]) -> list[tuple[str, str, str, str]]:
    """For each claim its outcome, what qualifies that, its figure nearest to failing, its text."""
    found = []
    for text in dict.fromkeys(record.claim for record in records):
        of = [record for record in records if record.claim == text]
        outcome = min((record.outcome for record in of), key=_OUTCOMES.index)
        caveat = " (modelled)" if any(record.method == "modelled" for record in of) else ""
        figures = [figure for record in of for figure in record.figures if figure.bounds]
        figures = figures or [figure for record in of for figure in record.figures]
        found.append((outcome, caveat, _shown(figures, outcome), text))
    return found


def _shown(figures: Sequence[Figure], outcome: str) -> str:
    """The first figure of that outcome with its bounds, and how many more there are."""
    if not figures:
        return ""
    first = next((one for one in figures if one.outcome == outcome), figures[0])
    bounds = f" ({tables.bounds(first)})" if first.bounds else ""
    more = f" and {len(figures) - 1} more" if figures[1:] else ""
    return f"{first.name} {tables.value(first)}{bounds}{more}"


def doubts(record: RunRecord) -> list[str]:
    """Why claims could not be tested, once each; what disturbed the whole run is a warning."""
    named: dict[str, tuple[str, list[str]]] = {}
    for claim in record.claims:
        for figure in claim.figures:
            if figure.doubt is not None:
                # Of other processes, each test has a share of its own.
                kind = _OTHERS if figure.doubt.startswith(_OTHERS) else figure.doubt
                named.setdefault(kind, (figure.doubt, []))[1].append(figure.name)
    if record.disturbance is not None:
        named.pop(_OTHERS, None)
    return [f"not testable: {_named(names)}: {doubt}" for doubt, names in named.values()]


_OTHERS = "other processes"


def warnings(record: RunRecord) -> list[str]:
    """What a person should know beside the verdicts; what figures are warned of alike is one."""
    found = wording.warnings(record)
    alike = [text for text in found if text.startswith("`detect` ")]
    if not alike[1:]:
        return found
    first = f"{alike[0]} ({len(alike)} figures are alike, `-v` has them all)"
    return [*(text for text in found if text not in alike), first]
