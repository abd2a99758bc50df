"""Windows as evidence: warm up until steady, measure invalid ones again, sum up what was found.

Earlier windows of a session serve, too, where no device tells a temperature: a card cools and warms
by what runs between. Then a run is warm from them, and pairs are evidence for its J/token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median, stdev
from typing import Protocol

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError, raised_elsewhere
from pytest_energy.metering import Window
from pytest_energy.stats.distributions import NORMAL_95
from pytest_energy.stats.steadiness import (
    LEAST_ALIKE,
    STEADY,
    autocorrelation,
    has_levelled,
    is_stationary,
    is_warm,
    median_distance,
    typical,
)

__tracebackhide__ = raised_elsewhere

INVALID_LIMIT = 5
"""Invalid windows in a row after which a figure's verdict is `invalid`."""


class InvalidEvidenceError(EnergyError):
    """Windows kept being invalid; the text is the reason of the last."""


class Run(Protocol):
    """Anything that can be gated: it measures windows of the same work, one at a time.

    `digest` names the work (None: not compared), `padding_overhead` is processed over real tokens.
    """

    @property
    def id(self) -> str:
        """Name of the figure's row, such as `sst2/bert-base-uncased`."""

    @property
    def digest(self) -> str | None:
        """Workload digest, eight hex digits."""

    @property
    def padding_overhead(self) -> float | None:
        """Processed tokens over real tokens of a window."""

    def window(self) -> Window:
        """Do the work once, metered."""


@dataclass
class Warmth:
    """How warm a device is to be before windows are evidence, and how it comes to that.

    `wanted` is the temperature (°C) at which the baseline's windows began, None: not known. If no
    temperature is told, it has to have worked for `load_seconds`, or its windows have to rule out
    that it still becomes warmer. After `limit` windows it is left at that.
    """

    limit: int
    wanted: float | None = None
    load_seconds: float = 0.0
    recorded: bool = False
    """Whether what follows is to be committed: then it must be warm, whatever was before."""
    celsius: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    """J/token of the windows so far."""

    def add(self, window: Window) -> None:
        """Take in a window of the warm-up."""
        self.load_seconds -= window.seconds
        self.values.append(window.joules_per_token)
        if window.celsius is not None:
            self.celsius.append(window.celsius)

    @property
    def is_reached(self) -> bool:
        """Whether it is warm enough, as far as anything says so."""
        if not self.celsius:
            return self.load_seconds <= 0 or has_levelled(self.values)
        if self.wanted is None and not self.recorded:
            return True
        return is_warm(self.celsius, self.wanted)

    @property
    def missing_celsius(self) -> float | None:
        """How much colder it is than the baseline was (°C); None if nothing says so."""
        return self.wanted - self.celsius[-1] if self.wanted is not None and self.celsius else None


@dataclass
class Sampler:
    """Windows of one run, in order; `show` is told of each, numbered (0: warm-up)."""

    run: Run
    show: Callable[[str, int, Window], None]
    windows: list[Window] = field(default_factory=list)
    rejected: list[Window] = field(default_factory=list)

    def measure(self) -> Window:
        """One valid window; raises `InvalidEvidenceError` once too many in a row were not."""
        for _ in range(INVALID_LIMIT):
            window = self._window(len(self.windows) + 1)
            if window.valid:
                self.windows.append(window)
                return window
        raise InvalidEvidenceError(
            f"{INVALID_LIMIT} windows of `{self.run.id}` in a row were invalid: "
            f"{self.rejected[-1].invalid_reason}"
        )

    def warm_up(
        self,
        limit: int,
        warmth: Warmth | None = None,
        latest: Sequence[Window] = (),
        within: float = STEADY,
        least: int = LEAST_ALIKE,
    ) -> bool:
        """Whether J/token became steady in `least` to `limit` windows, which are no evidence.

        Where `warmth` is asked for, windows go on until it is there or its own limit is reached.
        If the `latest` windows of a run that is still warm were steady, none is needed.
        """
        values = [window.joules_per_token for window in latest]
        measured = 0
        steady = is_stationary(values, within, least)
        while not (steady and (warmth is None or warmth.is_reached)):
            if measured >= (warmth.limit if steady and warmth else limit):
                break
            window = self._window(0)
            if window.valid:
                measured += 1
                values.append(window.joules_per_token)
                if warmth is not None:
                    warmth.add(window)
            elif len(self.rejected) >= INVALID_LIMIT:
                raise InvalidEvidenceError(
                    f"{INVALID_LIMIT} windows of `{self.run.id}` were invalid in warm-up: "
                    f"{window.invalid_reason}"
                )
            steady = steady or is_stationary(values, within, least)
        return steady

    def _window(self, number: int) -> Window:
        window = _checked(self.run.window(), self.run.id)
        if not window.valid:
            self.rejected.append(window)
        self.show(self.run.id, number, window)
        return window


WARM_SECONDS = 60.0
"""How long after its latest window a run is as warm as it was."""


@dataclass
class Earlier:
    """Windows that a run was measured with in pairs, for its J/token to go by as well.

    `figure` names what the pairs were for; `load_seconds` is how long the device had worked before.
    """

    windows: list[Window] = field(default_factory=list)
    figure: str = ""
    load_seconds: float = 0.0


def offer_windows(run: Run, windows: Sequence[Window], figure: str, load_seconds: float) -> None:
    """Keep the windows of pairs for the J/token of the same run, if it can hold them."""
    if hasattr(run, "earlier") and all(window.celsius is None for window in windows):
        run.earlier = Earlier(list(windows), figure, load_seconds)


def take_windows(run: Run, least_load_seconds: float) -> Earlier:
    """What was kept, for one figure only; none if the device had worked for less before."""
    found = getattr(run, "earlier", None)
    if not isinstance(found, Earlier):
        return Earlier()
    run.earlier = None  # type: ignore[attr-defined]
    return found if found.load_seconds >= least_load_seconds else Earlier()


def latest_windows(run: Run) -> list[Window]:
    """The latest windows of a run that is still warm from them, oldest first."""
    windows = [window for window in getattr(run, "latest", ()) if window.valid]
    if not windows or any(window.celsius is not None for window in windows):
        return []
    ended = windows[-1].started + windows[-1].seconds
    return windows if abs(real_time.unix_seconds() - ended) <= WARM_SECONDS else []


def require_run(run: object) -> None:
    """Raise `EnergyError` unless `run` has all that a run must have."""
    needed = ("id", "digest", "padding_overhead", "window")
    missing = [f"`{name}`" for name in needed if not hasattr(run, name)]
    if missing:
        raise EnergyError(
            f"`{type(run).__name__}` cannot be gated, since it has no {', '.join(missing)}; give "
            f"what `finetune` returns, or an object with `id`, `digest`, `padding_overhead` (both "
            f"may be None) and `window()`"
        )


def _checked(window: object, identifier: str) -> Window:
    """A user's window with builtin numbers, which reports and xdist need."""
    if not isinstance(window, Window):
        raise EnergyError(
            f"`window()` of `{identifier}` returned {type(window).__name__}, no window; return "
            f"`replace(w.record, tokens=…, real_tokens=…)`"
        )
    if not window.tokens > 0 or (window.valid and not window.seconds > 0):
        raise EnergyError(
            f"`{identifier}` measured a window of {window.tokens} tokens in "
            f"{window.seconds:.3g} s; set `tokens` to what it processed"
        )
    return replace(
        window,
        seconds=float(window.seconds),
        tokens=int(window.tokens),
        real_tokens=int(window.real_tokens),
        loss=None if window.loss is None else float(window.loss),
    )


@dataclass(frozen=True)
class Summary:
    """What windows say together: mean with its 95 % half-width, and how they vary."""

    mean: float
    uncertainty: float
    cv: float
    autocorrelation: float
    windows: int
    mean_watts: float | None = None
    tokens_per_second: float | None = None
    begin_celsius: float | None = None
    end_celsius: float | None = None
    load_seconds: float | None = None
    median: float | None = None
    mad: float | None = None
    """Median distance from the median, over it."""


def without_outliers(summary: Summary, values: Sequence[float]) -> Summary:
    """The summary as it is stored: windows (J/token) far out count as far as noise goes."""
    tamed, middle = typical(values), median(values)
    mean = fmean(tamed)
    return replace(
        summary,
        mean=mean,
        cv=stdev(tamed) / mean if len(tamed) > 1 else 0.0,
        autocorrelation=autocorrelation(tamed),
        median=middle,
        mad=median_distance(values) / middle,
    )


def summarise(windows: Sequence[Window]) -> Summary:
    """Sum up windows of one run, in J/token; the half-width joins spread and meter uncertainty."""
    values = [window.joules_per_token for window in windows]
    mean, sd = fmean(values), stdev(values) if len(values) > 1 else 0.0
    meter = fmean(window.uncertainty_joules / window.tokens for window in windows)
    seconds = sum(window.seconds for window in windows)
    return Summary(
        mean=mean,
        uncertainty=math.hypot(NORMAL_95 * sd, meter) / math.sqrt(len(values)),
        cv=sd / mean,
        autocorrelation=autocorrelation(values),
        windows=len(values),
        mean_watts=sum(window.joules for window in windows) / seconds,
        tokens_per_second=sum(window.tokens for window in windows) / seconds,
        begin_celsius=windows[0].celsius,
        end_celsius=windows[-1].celsius,
    )


def summarise_pairs(pairs: Sequence[tuple[Window, Window]]) -> Summary:
    """What the other of pairs (base, other) saves; `cv` is the SD of the pairs' log ratios."""
    ratios = [math.log(b.joules_per_token / a.joules_per_token) for a, b in pairs]
    theta = fmean(ratios)
    sd = stdev(ratios) if len(ratios) > 1 else 0.0
    return Summary(
        mean=1 - math.exp(theta),
        uncertainty=math.exp(theta) * NORMAL_95 * sd / math.sqrt(len(ratios)),
        cv=sd,
        autocorrelation=autocorrelation(ratios),
        windows=len(ratios),
    )
