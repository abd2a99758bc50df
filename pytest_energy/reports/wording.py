"""Verdicts and costs in words and figures, the same in every report; pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from pytest_energy.results import RunRecord, VerdictRecord
from pytest_energy.results.footprint import Footprint
from pytest_energy.units import difference, quantity, quantity_with_uncertainty

EXPLAINED = ("regression", "improvement", "inconclusive", "invalid", "missing")
"""Outcomes whose reason a person needs to read."""

_ORDER = (*EXPLAINED, "within", "recorded", "measured")


def name(verdict: VerdictRecord) -> str:
    """What the row of a verdict is called."""
    return f"{verdict.id} savings" if verdict.metric == "savings" else verdict.id


def value(verdict: VerdictRecord) -> str:
    """The figure with its half-width, such as `5.120 ± 0.014 mJ/token`; empty where none."""
    if verdict.value is None:
        return ""
    return quantity_with_uncertainty(verdict.value, verdict.uncertainty or 0.0, verdict.unit)


def baseline(verdict: VerdictRecord) -> str:
    """What the figure was compared with; empty where nothing."""
    return shown(verdict, verdict.baseline)


def change(verdict: VerdictRecord) -> str:
    """The change against the baseline: per cent, or points of a saved fraction."""
    return "" if verdict.change is None else difference(verdict.change, verdict.unit)


def shown(verdict: VerdictRecord, figure: float | None) -> str:
    """A figure in the verdict's unit."""
    return "" if figure is None else quantity(figure, verdict.unit)


def caveat(verdict: VerdictRecord) -> str:
    """What qualifies an outcome, such as ` (modelled, local)`."""
    notes = []
    if verdict.method == "modelled":
        notes.append("modelled")
    if verdict.local and verdict.outcome != "recorded":
        notes.append("local")
    return f" ({', '.join(notes)})" if notes else ""


def trained(verdict: VerdictRecord) -> str:
    """Trained parameters of all there are; empty where those are the same, or not known."""
    trained, total = verdict.parameters or (0, 0)
    return "" if trained == total else f"{trained:,}/{total:,}"


def reason(verdict: VerdictRecord) -> str:
    """The verdict's sentences; says so where the outcome fails nothing."""
    shown_only = verdict.outcome in ("regression", "improvement") and not verdict.fails
    return f"{verdict.text} (shown only, fails nothing)" if shown_only else verdict.text


def worst_first(verdicts: Iterable[VerdictRecord]) -> list[VerdictRecord]:
    """What failed first, then what a person should know of, then the rest in their order."""
    return sorted(verdicts, key=lambda verdict: (not verdict.fails, _rank(verdict.outcome)))


def headline(record: RunRecord) -> str:
    """The run in one line, such as `2 of 18 verdicts fail, no failure in 3 claims`."""
    parts = []
    verdicts = [verdict for verdict in record.verdicts if verdict.outcome != "measured"]
    if verdicts:
        parts.append(_failing(sum(v.fails for v in verdicts), len(verdicts), "verdict"))
        shown = sum(v.outcome == "regression" and not v.fails for v in verdicts)
        if shown:
            parts.append(f"{shown} {'regression' if shown == 1 else 'regressions'} shown only")
    if record.claims:
        broken = sum(claim.outcome == "fails" for claim in record.claims)
        parts.append(_failing(broken, len(record.claims), "claim"))
    windows = len(record.verdicts) - len(verdicts)
    if windows:
        parts.append(f"{windows} {'window' if windows == 1 else 'windows'} metered")
    return ", ".join(parts) or "nothing was metered"


def cost(record: RunRecord, footprint: Footprint) -> str:
    """What the run cost, in one line."""
    grams = footprint.grams
    carbon = footprint.source if grams is None else f"{grams:.2g} gCO2e ({footprint.source})"
    least = "" if record.cost.complete else "at least "
    return (
        f"this run cost {least}{footprint.joules:,.0f} J{' (modelled)' if modelled(record) else ''}"
        f", {1000 * footprint.kwh:.3g} Wh, {carbon}, in {record.cost.seconds:,.0f} s of metering"
    )


def warnings(record: RunRecord) -> list[str]:
    """What a person should know beside the verdicts, each once."""
    found = [verdict.warning for verdict in record.verdicts]
    return list(dict.fromkeys(text for text in (*found, record.disturbance) if text))


def modelled(record: RunRecord) -> bool:
    """Whether any joules of the run come from a model."""
    methods = {verdict.method for verdict in record.verdicts}
    return "modelled" in methods | {claim.method for claim in record.claims}


def began(record: RunRecord) -> str:
    """When the first window began, in UTC; empty where there is none."""
    times = [window.started for verdict in record.verdicts for window in verdict.windows]
    if not times:
        return ""
    return datetime.fromtimestamp(min(times), timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _rank(outcome: str) -> int:
    return _ORDER.index(outcome) if outcome in _ORDER else len(_ORDER)


def _failing(count: int, of: int, what: str) -> str:
    if not count:
        return f"no failure in {of} {what if of == 1 else f'{what}s'}"
    return f"{count} of {of} {what}s {'fails' if count == 1 else 'fail'}"
