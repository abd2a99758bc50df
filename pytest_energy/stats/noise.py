"""The noise of windows and sessions: whether windows are steady, and what sessions differ by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, variance

from pytest_energy.errors import EnergyError
from pytest_energy.stats.distributions import (
    heavy_tail,
    unbiased_autocorrelation,
    variance_inflation,
)

STEADY = 0.01
"""Relative step between windows below which they count as equal; sensors repeat no better."""

WARM_UP_LIMIT = 8
"""Warm-up windows after which measuring begins, steady or not; fewer if nothing can fail."""


def autocorrelation(values: Sequence[float]) -> float:
    """Lag-1 autocorrelation; 0 for fewer than 4 values or no spread."""
    if len(values) < 4:
        return 0.0
    mean = fmean(values)
    deviations = [value - mean for value in values]
    total = sum(d * d for d in deviations)
    if total == 0:
        return 0.0
    return sum(a * b for a, b in pairwise(deviations)) / total


def halves_agree(values: Sequence[float], relative: float) -> bool:
    """Whether the means of the first and second half differ by no more than a fraction."""
    middle = len(values) // 2
    first, second = fmean(values[:middle]), fmean(values[middle:])
    return abs(math.log(second / first)) <= relative


def is_stationary(values: Sequence[float]) -> bool:
    """Whether warm-up windows, oldest first, have become steady in J/token; one never suffices.

    They have when the last two differ by at most 1 % and the last three do not climb or fall by
    more than that together, or when the last three turn back: noise does, warming up does not.
    """
    if len(values) < 2:
        return False
    logs = [math.log(value) for value in values[-3:]]
    steps = [after - before for before, after in pairwise(logs)]
    if len(steps) == 2 and steps[0] * steps[1] < 0:
        return True
    return abs(steps[-1]) <= STEADY and abs(sum(steps)) <= STEADY


@dataclass(frozen=True)
class _Session:
    """What is kept of `count` windows or pairs; `autocorrelation` is at lag 1, `device` a UUID."""

    mean: float
    variation: float
    count: int
    autocorrelation: float = 0.0
    device: str | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.variation) and self.variation >= 0):
            raise EnergyError(
                f"`cv` is {self.variation}, but must be 0 or more; record the session again"
            )
        if self.count < 1:
            raise EnergyError(
                f"a session of {self.count} windows says nothing; record at least one"
            )
        if not -1 <= self.autocorrelation <= 1:
            raise EnergyError(
                f"`autocorrelation` is {self.autocorrelation}, but lies between -1 and 1; record "
                f"again"
            )


@dataclass(frozen=True)
class SessionStats(_Session):
    """A session of windows: `mean` in J/token, `variation` their SD (n - 1) over the mean."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and self.mean > 0):
            raise EnergyError(
                f"`mean` is {self.mean}, but must be positive and finite; record it again"
            )
        super().__post_init__()

    @property
    def log_mean(self) -> float:
        """Mean of ln(J/token)."""
        return math.log(self.mean) - self.log_variance / 2

    @property
    def log_variance(self) -> float:
        """Variance of ln(J/token) within the session."""
        return math.log1p(self.variation**2)


@dataclass(frozen=True)
class PairStats(_Session):
    """A session of pairs: `mean` is the saved fraction, `variation` the SD of their log ratios."""

    def __post_init__(self) -> None:
        if not self.mean < 1.0 or not math.isfinite(self.mean):
            raise EnergyError(
                f"`mean` is {self.mean}, but a saved fraction is below 1; record savings as "
                f"1 - E(other) / E(base)"
            )
        super().__post_init__()

    @property
    def log_mean(self) -> float:
        """Mean log ratio, ln(1 - saved fraction)."""
        return math.log1p(-self.mean)

    @property
    def log_variance(self) -> float:
        """Variance of the log ratios within the session."""
        return self.variation**2


Session = SessionStats | PairStats

POOLED_DEGREES = 8.0
"""What the other entries' spread is worth at most: they share card and sessions, so are not new."""

LEAST_DEGREES = 4.0
"""Degrees of freedom that an assumed spread tops up to, if sessions are too few to say."""

_ASSUMED_DEGREES = 3.0
_ASSUMED_BETWEEN = 0.01  # standard deviations, relative: the noisy end of what cards show
_ASSUMED_DEVICES = 0.03
_ASSUMED_WITHIN = 0.02
_ASSUMED_AUTOCORRELATION = 0.5
_WINDOWS_THAT_CORRELATE = 5  # fewer say nothing about autocorrelation
_FLOOR = 0.001  # within-session standard deviation that no meter beats


@dataclass(frozen=True)
class Pooled:
    """Variances shared by the entries of one file, and what the between-session one is worth."""

    tau2: float
    degrees: float = POOLED_DEGREES
    sw2: float | None = None


@dataclass(frozen=True)
class Spread:
    """Noise of a baseline on the log scale; variances are of ln(J/token).

    `between` is the variance of a new session's mean against the baseline's that no number of
    windows reduces (B), `tau2` that between sessions, known from `degrees` degrees of freedom;
    `sw2` is that of a window within its session, with lag-1 autocorrelation `rho`.
    """

    centre: float
    between: float
    tau2: float
    degrees: float
    noise: float
    sw2: float
    within_degrees: float
    rho: float
    sessions: int
    assumed: bool
    device_known: bool

    def between_with(self, more: int) -> float:
        """B if `more` sessions were added that spread as these do."""
        degrees = max(self.degrees + more, LEAST_DEGREES)
        return _between(self.tau2, self.noise, degrees, self.sessions + more)


def pool(entries: Sequence[Sequence[Session]]) -> Pooled | None:
    """Join what other entries of the same file know; None if none has two sessions."""
    rows = [(*_within(entry), *_raw_tau2(entry)) for entry in entries if entry]
    degrees = sum(own for *_, own in rows)
    if degrees <= 0:
        return None
    tau2 = sum(tau2 * own for *_, tau2, own in rows) / degrees
    windows = sum(within for _, within, *_ in rows)
    sw2 = sum(sw2 * within for sw2, within, *_ in rows) / windows if windows else None
    return Pooled(max(tau2, 0.0), min(POOLED_DEGREES, degrees), sw2)


def spread(
    sessions: Sequence[Session], *, pooled: Pooled | None = None, device: str | None = None
) -> Spread:
    """The noise that a new session on `device` will meet; raises `EnergyError` without sessions.

    A device that the sessions know is compared with its own; one that they do not is compared
    with the mean of devices, and devices differ more than sessions do.
    """
    if not sessions:
        raise EnergyError("`sessions` is empty; record a baseline with `--energy-update=new`")
    groups = _by_device(sessions)
    sw2, within_degrees, rho = _within(sessions)
    if not within_degrees:
        sw2 = pooled.sw2 if pooled and pooled.sw2 else _ASSUMED_WITHIN**2
    sw2 = max(sw2, _FLOOR**2)
    noise = fmean(_noise(session, sw2, rho) for session in sessions)
    own_device = device is not None and device in groups
    everywhere = len(groups) == 1 and (device is None or None in groups)
    tau2, degrees = _raw_tau2(sessions)
    if pooled is not None:
        tau2 = (degrees * tau2 + pooled.degrees * pooled.tau2) / (degrees + pooled.degrees)
        degrees += pooled.degrees
    assumed = degrees < LEAST_DEGREES
    tau2, degrees = _topped_up(max(tau2, 0.0), degrees, _ASSUMED_BETWEEN**2)
    if own_device or everywhere:
        chosen = groups[device] if own_device else sessions
        centre, count = fmean(s.log_mean for s in chosen), len(chosen)
        between = _between(tau2, noise, degrees, count)
    else:
        centre, worth, devices2 = _of_devices(list(groups.values()), tau2 + noise)
        count, assumed = len(sessions), assumed or len(groups) - 1 < LEAST_DEGREES
        between = _between(tau2, noise, degrees, worth) + devices2
    return Spread(
        centre=centre,
        between=between,
        tau2=tau2,
        degrees=degrees,
        noise=noise,
        sw2=sw2,
        within_degrees=within_degrees,
        rho=rho,
        sessions=count,
        assumed=assumed,
        device_known=own_device or everywhere,
    )


def _of_devices(groups: Sequence[Sequence[Session]], own: float) -> tuple[float, float, float]:
    """The mean of devices, how many sessions it is worth, and how one more device varies about it.

    The last is a variance, as is `own`, that of sessions' means on one device.
    """
    means = [fmean(s.log_mean for s in group) for group in groups]
    share = fmean(1 / len(group) for group in groups)
    devices2 = max(_variance(means) - own * share, 0.0)
    devices2, known = _topped_up(devices2, len(means) - 1, _ASSUMED_DEVICES**2)
    return fmean(means), len(means) / share, heavy_tail(known) * devices2 * (1 + 1 / len(means))


def _by_device(sessions: Sequence[Session]) -> dict[str | None, list[Session]]:
    groups: dict[str | None, list[Session]] = {}
    for session in sessions:
        groups.setdefault(session.device, []).append(session)
    return groups


def _within(sessions: Sequence[Session]) -> tuple[float, float, float]:
    """Within-session variance, its degrees of freedom, and the windows' autocorrelation."""
    long = [s for s in sessions if s.count >= _WINDOWS_THAT_CORRELATE]
    rho = _ASSUMED_AUTOCORRELATION
    if long:
        total = sum(s.count * unbiased_autocorrelation(s.autocorrelation, s.count) for s in long)
        rho = min(max(total / sum(s.count for s in long), 0.0), 0.9)
    degrees = sum(s.count - 1 for s in sessions)
    if not degrees:
        return 0.0, 0.0, rho
    squares = sum((s.count - 1) * s.log_variance for s in sessions)
    return squares / sum(s.count - variance_inflation(s.count, rho) for s in sessions), degrees, rho


def _raw_tau2(sessions: Sequence[Session]) -> tuple[float, float]:
    """Between-session variance on one device, which may come out negative, and its degrees."""
    sw2, _, rho = _within(sessions)
    groups = [group for group in _by_device(sessions).values() if len(group) > 1]
    degrees = float(sum(len(group) - 1 for group in groups))
    if not degrees:
        return 0.0, 0.0
    squares = sum((len(group) - 1) * _variance([s.log_mean for s in group]) for group in groups)
    noise = fmean(_noise(s, max(sw2, _FLOOR**2), rho) for group in groups for s in group)
    return squares / degrees - noise, degrees


def _noise(session: Session, sw2: float, rho: float) -> float:
    return sw2 * variance_inflation(session.count, rho) / session.count


def _between(tau2: float, noise: float, degrees: float, sessions: float) -> float:
    # What is known from few degrees of freedom is the spread of the sessions' means, tau2 + noise,
    # so its tail is widened as a whole; only then the noise of this session's part comes off.
    return heavy_tail(degrees) * (tau2 + noise) * (1 + 1 / sessions) - noise


def _topped_up(variance: float, degrees: float, assumed: float) -> tuple[float, float]:
    extra = min(_ASSUMED_DEGREES, max(LEAST_DEGREES - degrees, 0.0))
    if not extra:
        return variance, degrees
    return (degrees * variance + extra * assumed) / (degrees + extra), degrees + extra


def _variance(values: Sequence[float]) -> float:
    return variance(values) if len(values) > 1 else 0.0
