"""Outcomes, costs and the next command in words, the same in every report; pure."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timezone
from typing import TYPE_CHECKING

from pytest_energy.clocks import real_time
from pytest_energy.gate.carriers import ProfileChange
from pytest_energy.gate.sentences import compared
from pytest_energy.outcomes import MOVED
from pytest_energy.results import LeftOpen, NotMeasured, Origin, RunRecord, VerdictRecord
from pytest_energy.results.claims import ClaimRecord
from pytest_energy.results.footprint import Footprint
from pytest_energy.text import one_line
from pytest_energy.units import difference, duration, listed, quantity, quantity_with_uncertainty

if TYPE_CHECKING:
    from pytest_energy.history import Series


@dataclass(frozen=True)
class Look:
    """How an outcome is shown: its colour in the terminal, its mark in Markdown."""

    colour: str
    mark: str


MOST_TESTS = 5
"""Tests that a sentence names; the JSON has them all."""

LOOKS = {
    "fails": Look("red", "❌"),
    "regression": Look("red", "⚠️"),
    "improvement": Look("magenta", "⚡"),
    "inconclusive": Look("yellow", "⚠️"),
    "invalid": Look("red", "⚠️"),
    "missing": Look("red", "⚠️"),
    "acknowledged": Look("yellow", "📌"),
    "not testable": Look("yellow", "⚠️"),
    "within": Look("green", "✅"),
    "holds": Look("green", "✅"),
    "recorded": Look("cyan", "📝"),
    "measured": Look("default", ""),
}
"""Outcomes of verdicts and claims, the worst first."""


def name(figure: VerdictRecord | Series | NotMeasured) -> str:
    """What the row of a verdict, or of a figure over time, is called."""
    return f"{figure.id} savings" if figure.metric == "savings" else figure.id


def value(verdict: VerdictRecord) -> str:
    """The figure with its half-width, such as `5.120 ± 0.014 mJ/token`; empty if there is none."""
    if verdict.value is None:
        return ""
    return quantity_with_uncertainty(verdict.value, verdict.uncertainty or 0.0, verdict.unit)


def change(verdict: VerdictRecord) -> str:
    """The change against the baseline: per cent, or points of a saved fraction."""
    return "" if verdict.change is None else difference(verdict.change, verdict.unit)


def cells(verdict: VerdictRecord) -> tuple[str, str, str, str]:
    """Name, value, baseline and change, as the row of a verdict shows them."""
    held = shown(verdict, verdict.baseline)
    return name(verdict), value(verdict), held, change(verdict)


def shown(verdict: VerdictRecord, figure: float | None) -> str:
    """A figure in the verdict's unit."""
    return "" if figure is None else quantity(figure, verdict.unit)


def left_open(found: LeftOpen) -> str:
    """What a baseline had left open, in a few words."""
    return compared(found.value, found.baseline, found.change, found.interval, found.unit)


def caveat(verdict: VerdictRecord) -> str:
    """What qualifies an outcome, such as ` (modelled, local)`."""
    notes = ["modelled"] if verdict.method == "modelled" else []
    notes += ["local"] if verdict.local and verdict.outcome != "recorded" else []
    return f" ({', '.join(notes)})" if notes else ""


def against(verdict: VerdictRecord) -> tuple[str, str]:
    """What the figure is held against and what it is of, each in a word."""
    return ("baseline", "now") if verdict.comparison is None else ("base", "head")


def held_against(record: RunRecord) -> str:
    """What the figures of a run are held against, as the heading of a column."""
    found = [against(verdict)[0] for verdict in record.verdicts if verdict.baseline is not None]
    return " or ".join(dict.fromkeys(found)) or "baseline"


MOST_EXCHANGED = 4
"""Operators or kernels that a line names; the JSON has more."""


def exchanged(profile: ProfileChange) -> list[tuple[str, str]]:
    """Which operators or kernels came, and which went; neither if there are none."""
    what = "kernels" if profile.kernels else "operators"
    both = (("came", profile.came), ("went", profile.went))
    return [(f"{what} that {word}", listed(names, MOST_EXCHANGED)) for word, names in both if names]


def trained(verdict: VerdictRecord) -> str:
    """Trained parameters of all there are; empty if those are the same, or not known."""
    trained, total = verdict.parameters or (0, 0)
    return "" if trained == total else f"{trained:,}/{total:,}"


def reason(verdict: VerdictRecord) -> str:
    """The verdict's sentences; says so if the outcome fails nothing."""
    shown_only = verdict.outcome in MOVED and not verdict.fails
    return f"{verdict.text} (shown only, fails nothing)" if shown_only else verdict.text


def worst_first(verdicts: Iterable[VerdictRecord]) -> list[VerdictRecord]:
    """What failed first, then what a person should know of, then the rest in their order."""
    return sorted(verdicts, key=lambda one: (not one.fails, _rank(one.outcome)))


def _rank(outcome: str) -> int:
    return list(LOOKS).index(outcome) if outcome in LOOKS else len(LOOKS)


def look(outcome: str) -> Look:
    """How an outcome is shown; one that this version does not know is shown plainly."""
    return LOOKS.get(outcome, LOOKS["measured"])


def headline(record: RunRecord) -> str:
    """The run in one line, such as `2 of 18 verdicts fail, no failure in 3 claims`."""
    parts = ["interrupted"] if record.interrupted is not None else []
    verdicts = [verdict for verdict in record.verdicts if verdict.outcome != "measured"]
    parts += _failing(verdicts, "verdict")
    if shown := sum(one.outcome == "regression" and not one.fails for one in verdicts):
        parts.append(f"{counted(shown, 'regression')} shown only")
    parts += _failing(record.claims, "claim")
    if missing := sum(one.fails for one in record.not_measured):
        parts.append(f"{counted(missing, 'stored figure')} not measured")
    if windows := len(record.verdicts) - len(verdicts):
        parts.append(f"{counted(windows, 'window')} metered")
    return ", ".join(parts) or "nothing was metered"


@dataclass(frozen=True)
class Kind:
    """How many verdicts or claims of a run ended in the same way."""

    outcome: str
    fails: bool
    text: str


def kinds(record: RunRecord) -> list[Kind]:
    """The outcomes of a run, the worst first, such as `2 inconclusive` or `3 claims hold`."""
    counts = Counter((one.outcome, one.fails, False) for one in record.verdicts)
    counts += Counter((one.outcome, one.fails, True) for one in record.claims)
    kinds = sorted(counts, key=lambda kind: (not kind[1], kind[2], _rank(kind[0])))
    return [Kind(kind[0], kind[1], _kind(counts[kind], *kind)) for kind in kinds]


def _kind(count: int, outcome: str, fails: bool, of_claims: bool) -> str:
    if of_claims:
        plural = {"holds": "hold", "fails": "fail"}.get(outcome, outcome)
        return f"{counted(count, 'claim')} {outcome if count == 1 else plural}"
    if outcome == "measured":
        return f"{counted(count, 'window')} metered"
    if outcome not in MOVED:
        return f"{count} {outcome}"
    return counted(count, outcome) + ("" if fails or outcome != "regression" else " shown only")


def tone(record: RunRecord) -> str:
    """How the run ended as a whole: `bad` if it fails, `doubt` if anything is open, or `good`."""
    found: list[VerdictRecord | ClaimRecord] = [*record.verdicts, *record.claims]
    if any(one.fails for one in found) or any(one.fails for one in record.not_measured):
        return "bad"
    is_open = any(look(one.outcome).colour in ("red", "yellow") for one in found)
    return "doubt" if is_open or record.interrupted is not None else "good"


def commit(origin: Origin) -> str:
    """The commit that ran, shortened, and whether files differed from it; empty if unknown."""
    if origin.commit is None:
        return ""
    return origin.commit[:12] + (" and changes since" if origin.dirty else "")


def interruption(record: RunRecord) -> str:
    """Why a run has not come to its end, and what it did not measure; empty if it has."""
    if record.interrupted is None:
        return ""
    text = f"this run has not come to its end: {one_line(record.interrupted)}"
    if not record.unfinished:
        return text
    names = listed([f"`{one_line(test)}`" for test in record.unfinished], MOST_TESTS)
    tests = counted(len(record.unfinished), "test")
    return f"{text}; {tests} did not measure what was to be measured: {names}"


def cost(record: RunRecord, footprint: Footprint) -> str:
    """What the run cost, in one line."""
    grams = footprint.grams
    carbon = footprint.source if grams is None else f"{grams:.2g} gCO2e ({footprint.source})"
    least = "" if record.cost.complete else "at least "
    return (
        f"this run cost {least}{footprint.joules:,.0f} J{_modelled_share(record)}"
        f", {1000 * footprint.kwh:.3g} Wh, {carbon}, in {duration(record.cost.seconds)} of metering"
    )


def _modelled_share(record: RunRecord) -> str:
    """That joules are modelled, and how much of those in windows is the processor's own."""
    if not modelled(record):
        return ""
    windows = [window for verdict in record.verdicts for window in verdict.windows]
    total = sum(window.joules for window in windows)
    cpu = sum(window.joules_by_domain.get("cpu", 0.0) for window in windows)
    if not 0 < cpu < total:
        return " (modelled)"
    return f" (modelled; {100 * cpu / total:.0f} % the processor's, the rest memory's)"


def warnings(record: RunRecord) -> list[str]:
    """What a person should know beside the verdicts, each once."""
    found = [interruption(record), *(verdict.warning for verdict in record.verdicts)]
    found += [_standing(verdict) for verdict in record.verdicts]
    found += [record.disturbance, *record.remarks, *not_measured(record)]
    return list(dict.fromkeys(text for text in found if text))


def _standing(verdict: VerdictRecord) -> str | None:
    """An acknowledgement that a figure does not need any more."""
    if verdict.acknowledged is None or verdict.outcome not in ("within", "improvement"):
        return None
    return (
        f"`{one_line(name(verdict))}` is {verdict.outcome}, and worse is acknowledged "
        f"{verdict.acknowledged.sentence}: if that is over, "
        f"`pytest-energy acknowledge {shlex.quote(verdict.id)} --remove`"
    )


MOST_NAMED = 10
"""Figures that one sentence names; the JSON has them all."""


def not_measured(record: RunRecord) -> list[str]:
    """What is stored for this hardware and was not measured, in a sentence or several."""
    gone = [f"`{name(one)}`" for one in record.not_measured if one.renamed is None]
    lines = [f"stored and not measured: {listed(gone, MOST_NAMED)}"] if gone else []
    return lines + [
        f"`{name(one)}` is stored and not measured; `{one.renamed}` is measured and not stored: "
        "renamed?"
        for one in record.not_measured
        if one.renamed is not None
    ]


def modelled(record: RunRecord) -> bool:
    """Whether any joules of the run come from a model."""
    methods = {verdict.method for verdict in record.verdicts}
    return "modelled" in methods | {claim.method for claim in record.claims}


def began(record: RunRecord) -> str:
    """When the first window began, in UTC; empty if there is none."""
    times = [window.started for verdict in record.verdicts for window in verdict.windows]
    if not times:
        return ""
    return real_time.moment.fromtimestamp(min(times), timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def verdict_line(record: VerdictRecord) -> str:
    """A verdict in a few words, for a line of its own."""
    parts = [value(record), change(record), record.outcome]
    return "  ".join(part for part in parts if part)


def sentence_case(text: str) -> str:
    """Text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


def counted(count: int, one: str, many: str = "") -> str:
    """A number of things, such as `1 session`; `many` is the plural if it takes no mere `s`."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def _failing(of: Sequence[VerdictRecord | ClaimRecord], what: str) -> list[str]:
    """How many fail of those that there are; nothing if there are none."""
    count = sum(one.fails for one in of)
    if count:
        return [f"{count} of {len(of)} {what}s {'fails' if count == 1 else 'fail'}"]
    return [f"no failure in {counted(len(of), what)}"] if of else []
