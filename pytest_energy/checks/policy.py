"""What a verdict means for its test: levels, claims, and which outcomes fail where."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pytest_energy.baselines import Baseline, Claim, Entry
from pytest_energy.errors import EnergyError
from pytest_energy.plugin.marker import EnergyMarker
from pytest_energy.plugin.options import EnergyConfig
from pytest_energy.results import VerdictRecord
from pytest_energy.stats.steadiness import WARM_UP_LIMIT
from pytest_energy.units import quantity

MISSED = 0.03
"""Share of changes as large as `detect` that one gate may pass."""

MOST_WINDOWS = 30
"""Windows, or pairs, that one verdict may cost unless the run says otherwise."""

MOST_ADVISORY_WINDOWS = 6
"""The same for a verdict that informs and fails nothing: it is not worth more energy."""

MOST_ADVISORY_PAIRS = 12
"""The same for pairs of windows, which a person has asked for by name."""

FAR = 2.0
"""Times outside a J/token band from elsewhere that fail: its conditions were not these."""

# Where no baseline file states a band: the paper's 50 % within 10 points where joules are measured;
# where a model turns time into joules, only that DistilBERT saves clearly.
_SAVINGS_MEASURED = Claim(0.40, 0.60, "paper")
_SAVINGS_MODELLED = Claim(0.25, 1.00, "paper")


@dataclass(frozen=True)
class Levels:
    """What is allowed and what must be caught, as fractions; for savings as points of one."""

    tolerance: float
    detect: float


DEFAULT_LEVELS = {"joules_per_token": Levels(0.02, 0.05), "savings": Levels(0.01, 0.03)}


def levels(
    metric: str, marker: EnergyMarker, config: EnergyConfig | None, entry: Entry | None
) -> Levels:
    """The levels of one gate: marker, then option, then the baseline's entry, then the default.

    A tolerance given alone takes `detect` along in the default's proportion.
    """
    default = DEFAULT_LEVELS[metric]
    asked = marker.tolerance or (config.tolerance if config else None)
    tolerance = asked or (entry.tolerance if entry else None) or default.tolerance
    detect = marker.detect or (config.detect if config else None)
    if detect is None and asked is None and entry is not None:
        detect = entry.detect
    if detect is None:
        same = tolerance == default.tolerance
        detect = default.detect if same else tolerance * default.detect / default.tolerance
    if detect <= tolerance:
        raise EnergyError(
            f"`detect` of {detect:.3g} must be above `tolerance` of {tolerance:.3g}: what must be "
            f"caught lies beyond what is allowed; raise the one or lower the other"
        )
    return Levels(tolerance, detect)


def judged(record: VerdictRecord, config: EnergyConfig) -> VerdictRecord:
    """The record with `fails` set, as the table of outcomes in docs/outcomes.md says."""
    return replace(record, fails=_fails(record, config))


def claimed(record: VerdictRecord, stored: Baseline | None) -> VerdictRecord:
    """Hold savings against the band that the hardware's file, or else the paper, states."""
    method = record.method
    claim = stored.claims.get(("savings", method)) if stored else None
    if claim is None:
        claim = _SAVINGS_MODELLED if method == "modelled" else _SAVINGS_MEASURED
    if record.value is None or claim.low <= record.value <= claim.high:
        return record
    low = record.value < claim.low
    return replace(
        record,
        outcome="regression" if low else "improvement",
        reason=f"saves {100 * record.value:.1f} % of J/token, {'below' if low else 'above'} the "
        f"band of {100 * claim.low:.0f} to {100 * claim.high:.0f} % ({claim.source}) for {method} "
        f"joules; look for what changed in the models, the batches or the meter",
        fails=True,
    )


def plausible(record: VerdictRecord, stored: Baseline | None) -> VerdictRecord:
    """Fail J/token far outside a band known from elsewhere; near it, only a baseline can tell."""
    band = stored.band(record.id) if stored and record.unit == "J/token" else None
    value = record.value
    if band is None or value is None or band.low / FAR <= value <= band.high * FAR:
        return record
    low, high = (quantity(edge, record.unit) for edge in (band.low, band.high))
    return replace(
        record,
        outcome="regression" if value > band.high else "improvement",
        reason=f"{quantity(value, record.unit)} is far outside the band of {low} to {high} "
        f"({band.source}), by more than {FAR:g} times; look for what is wrong with the meter or "
        f"the work, or correct the band in `{stored.path if stored else ''}`",
        fails=True,
    )


def is_advisory(record: VerdictRecord) -> bool:
    """Whether a verdict informs only: a local baseline or modelled joules stop no merge."""
    return record.local or record.method == "modelled"


def warm_up_limit(record: VerdictRecord, config: EnergyConfig, *, pairs: bool = False) -> int:
    """The most windows that warming up may cost, a run; `pairs` where it is one of two sides."""
    matters = config.strict or config.update is not None or not is_advisory(record)
    if matters:
        return WARM_UP_LIMIT
    return (MOST_ADVISORY_PAIRS if pairs else MOST_ADVISORY_WINDOWS) // 2


def _fails(record: VerdictRecord, config: EnergyConfig) -> bool:
    if record.outcome == "missing":
        return True
    if record.outcome == "invalid":
        return config.ci or config.strict or config.update is not None
    if record.outcome == "inconclusive":
        return config.strict
    if record.outcome == "improvement" and (config.improvement == "pass" or _unstored(record)):
        return False
    moved = record.outcome in ("regression", "improvement")
    return moved and (config.strict or not is_advisory(record))


def _unstored(record: VerdictRecord) -> bool:
    """Whether a figure was only compared, so that no baseline has to be kept up."""
    return record.comparison is not None and not record.comparison.settles
