"""What a check goes by, and what its verdict means: levels, windows, bands, what fails where.

The levels are wider where the baseline file acknowledges a figure today.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pytest_energy.baselines import Baseline, Entry, Reference
from pytest_energy.baselines.store import BaselineStore
from pytest_energy.baselines.tables import Acknowledgement
from pytest_energy.checks import Settings, TestSettings
from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.metering import Window
from pytest_energy.metering.hardware import Hardware
from pytest_energy.outcomes import MOVED, Method
from pytest_energy.results import VerdictRecord
from pytest_energy.stats.sequential import ErrorBudget
from pytest_energy.stats.steadiness import STEADY, WARM_UP_LIMIT
from pytest_energy.units import FRACTION, percent, quantity

MISSED = 0.03
"""Share of changes as large as `detect` that one figure's gates may pass."""

MOST_WINDOWS = 30
"""Windows, or pairs, that one verdict may cost unless the run says otherwise."""

MOST_ADVISORY_WINDOWS = 6
"""The same for a verdict that informs and fails nothing: it is not worth more energy."""

MOST_ADVISORY_PAIRS = 20
"""The same for pairs of windows, which a person has asked for by name."""

ADVISORY_SIDE_WARM_UP = 6
"""Windows that warming up one side of such pairs may cost at most."""

ADVISORY_STEADY = 0.02
"""Relative step below which windows count as equal if nothing can fail: modelled ones vary more."""

FAR = 2.0
"""Times outside a J/token band from elsewhere that fail: its conditions were not these."""


@dataclass(frozen=True)
class CheckContext:
    """What the checks of one test go by.

    `on_begin` is told how many windows a figure takes at most, its name, and how long each takes
    (s) if that is known. `on_window` is told a run's name, number (0: warm-up) and window.
    `on_output` gets title and text of what a process printed that failed.
    `reference_joules` meters the reference load, if it can be: it is asked where a figure moved.
    """

    test: str
    asked: TestSettings
    settings: Settings
    hardware: Hardware
    method: Method
    store: BaselineStore
    error_budget: ErrorBudget
    on_window: Callable[[str, int, Window], None]
    on_output: Callable[[str, str], None]
    on_begin: Callable[[int, str, float | None], None] = lambda *_: None
    reference_joules: Callable[[], float | None] = lambda: None

    def alpha(self) -> float:
        """The next check's share of the false failures that one run allows itself."""
        return self.error_budget.take(self.test) / self._stages

    def settling_alpha(self) -> float:
        """The same for the pairs that settle what the latest check left open."""
        return self.error_budget.taken(self.test) / self._stages

    @property
    def beta(self) -> float:
        """The share of changes to be caught that one gate may miss."""
        return MISSED / self._stages

    @property
    def _stages(self) -> int:
        """How many gates may judge one figure, which share its error rates."""
        return 2 if self.settings.settle else 1


@dataclass(frozen=True)
class Levels:
    """What is allowed and what must be caught, as fractions; for savings as points of one."""

    tolerance: float
    detect: float


DEFAULT_LEVELS = {"joules_per_token": Levels(0.02, 0.05), "savings": Levels(0.01, 0.03)}


def stored_levels(entry: Entry) -> Levels:
    """What a baseline's entry says, and the default for what it leaves out."""
    default = DEFAULT_LEVELS[entry.metric]
    tolerance = entry.tolerance or default.tolerance
    return Levels(tolerance, entry.detect or _detect(tolerance, default))


def levels(
    metric: str, asked: TestSettings, settings: Settings | None, entry: Entry | None
) -> Levels:
    """The levels of one gate: marker, then option, then the baseline's entry, then the default.

    A tolerance given alone takes `detect` along in the default's proportion.
    """
    stored = stored_levels(entry) if entry else DEFAULT_LEVELS[metric]
    given = asked.tolerance or (settings.tolerance if settings else None)
    tolerance = given or stored.tolerance
    detect = asked.detect or (settings.detect if settings else None)
    if detect is None:
        detect = _detect(given, DEFAULT_LEVELS[metric]) if given else stored.detect
    if detect <= tolerance:
        of = f" of `{entry.id}`" if entry else ""
        caught, allowed = percent(detect), percent(tolerance)
        raise EnergyError(
            f"`detect` of {caught}{of} must be above `tolerance` of {allowed}: what must be caught "
            "lies beyond what is allowed; raise `--energy-detect`, or lower `--energy-tolerance`"
        )
    return Levels(tolerance, detect)


def acknowledgement(found: Reference | None) -> Acknowledgement | None:
    """What the committed file acknowledges of a figure, if it still counts today (UTC)."""
    stated = _stated(found)
    return stated if stated is not None and stated.holds_on(real_time.utc().date()) else None


def widened(levels: Levels, stated: Acknowledgement | None) -> Levels:
    """Levels that allow what is acknowledged, and catch what lies as far beyond it as before."""
    if stated is None or stated.up_to <= levels.tolerance:
        return levels
    return Levels(stated.up_to, stated.up_to + levels.detect - levels.tolerance)


def acknowledged(
    record: VerdictRecord, own: Levels, found: Reference | None, facts: str
) -> VerdictRecord:
    """The record of a verdict by `widened` levels; `own` are the figure's, `facts` what was found.

    It is `acknowledged` if it is worse than its own levels allow. A regression says what is, or
    was, acknowledged of it.
    """
    if record.outcome == "regression" and (stated := _stated(found)) is not None:
        tense = "is" if record.acknowledged else "was"
        known = f"A change {stated.sentence} {tense} acknowledged."
        return replace(record, reason=f"{record.reason} {known}")
    stated, change = record.acknowledged, record.change
    if stated is None or change is None or record.outcome != "within":
        return record
    worse = -change if record.unit == FRACTION else change
    if worse <= own.tolerance:
        return record
    reason = f"{facts}, is more than the tolerance and acknowledged {stated.sentence}."
    return replace(record, outcome="acknowledged", reason=reason)


def _stated(found: Reference | None) -> Acknowledgement | None:
    if found is None or found.local:
        return None
    return found.baseline.acknowledgement(found.entry.metric, found.entry.id)


def most_windows(record: VerdictRecord, context: CheckContext, *, pairs: bool = False) -> int:
    """The most windows that a verdict may cost, or pairs of them in an A/B."""
    asked = context.asked.max_windows or context.settings.max_windows
    if asked or context.settings.strict or not is_advisory(record):
        return asked or MOST_WINDOWS
    return MOST_ADVISORY_PAIRS if pairs else MOST_ADVISORY_WINDOWS


def stored_seconds(entry: Entry | None, tokens: int | None) -> float | None:
    """Seconds of a window of so many tokens, as of the latest stored session that tells it."""
    rows = entry.sessions if entry is not None else ()
    rates = [row.tokens_per_second for row in rows if row.tokens_per_second]
    return tokens / rates[-1] if tokens and rates else None


def warm_up_limit(record: VerdictRecord, settings: Settings, *, pairs: bool = False) -> int:
    """The most windows that warming up may cost a run; `pairs` if it is one of two sides."""
    if _is_for_good(record, settings):
        return WARM_UP_LIMIT
    return ADVISORY_SIDE_WARM_UP if pairs else MOST_ADVISORY_WINDOWS // 2


def steady_within(record: VerdictRecord, settings: Settings) -> float:
    """By how much windows of a run that is warm may differ, relative."""
    return STEADY if _is_for_good(record, settings) else ADVISORY_STEADY


def _is_for_good(record: VerdictRecord, settings: Settings) -> bool:
    """Whether a figure can fail a run, or is to be committed."""
    return settings.strict or settings.update is not None or not is_advisory(record)


def judged(
    record: VerdictRecord, settings: Settings, stored: Baseline | None = None
) -> VerdictRecord:
    """The record with `fails` set as docs/outcomes.md says; a band of `stored` comes first."""
    outside = outside_band(record, stored)
    return outside or replace(record, fails=_fails(record, settings))


def outside_band(record: VerdictRecord, stored: Baseline | None) -> VerdictRecord | None:
    """The failing record of a figure outside what its file states from elsewhere; None if inside.

    Savings must lie in the band of their kind of meter; J/token fails far outside its band alone,
    since near it only a baseline can tell.
    """
    value, fraction = record.value, record.unit == FRACTION
    if stored is None or value is None or record.unit not in (FRACTION, "J/token"):
        return None
    claimed = stored.claims.get(("savings", record.method))
    band, factor = (claimed, 1.0) if fraction else (stored.band(record.id), FAR)
    if band is None or band.low / factor <= value <= band.high * factor:
        return None
    above = value > band.high
    if fraction:
        reason = (
            f"saves {100 * value:.1f} % of J/token, {'above' if above else 'below'} the "
            f"band of {100 * band.low:.0f} to {100 * band.high:.0f} % ({band.source}) for "
            f"{record.method} joules; look for what changed in the models, the batches or the meter"
        )
    else:
        low, high = (quantity(edge, record.unit) for edge in (band.low, band.high))
        reason = (
            f"{quantity(value, record.unit)} is far outside the band of {low} to {high} "
            f"({band.source}), by more than {FAR:g} times; look for what is wrong with the meter "
            f"or the work, or correct the band in `{stored.path}`"
        )
    # More savings than stated are an improvement, and so are fewer joules.
    outcome = "improvement" if above == fraction else "regression"
    return replace(record, outcome=outcome, reason=reason, fails=True)


def is_advisory(record: VerdictRecord) -> bool:
    """Whether a verdict informs only: a local baseline or modelled joules stop no merge."""
    return record.local or record.method == "modelled"


def _fails(record: VerdictRecord, settings: Settings) -> bool:
    if record.outcome == "missing":
        return True
    if record.outcome == "invalid":
        return settings.ci or settings.strict or settings.update is not None
    if record.outcome == "inconclusive":
        return settings.strict
    # Where a figure was only compared, no baseline has to be kept up.
    compared = record.comparison is not None and not record.comparison.settles
    if record.outcome == "improvement" and (settings.improvement == "pass" or compared):
        return False
    return record.outcome in MOVED and (settings.strict or not is_advisory(record))


def _detect(tolerance: float, default: Levels) -> float:
    """What must be caught if only what is allowed is said."""
    return default.detect * (tolerance / default.tolerance)
