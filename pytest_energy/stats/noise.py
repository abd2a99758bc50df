"""The noise of windows and sessions: what is kept of them, and what sessions and days differ by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median, variance

from pytest_energy.errors import EnergyError
from pytest_energy.stats.distributions import (
    heavy_tail,
    unbiased_autocorrelation,
    variance_inflation,
)


@dataclass(frozen=True)
class _Session:
    """What is kept of `count` windows or pairs; `autocorrelation` is at lag 1, `device` a name.

    `day` says how many days before the run that is judged it was recorded, 0 on the same. Sessions
    of one day tell nothing of how days differ. None: not known, taken for a day of its own.
    """

    mean: float
    variation: float
    count: int
    autocorrelation: float = 0.0
    device: str | None = None
    day: int | None = None

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
"""What the other entries' spread is worth at most: they share card and days, so are not new."""

LEAST_DEGREES = 4.0
"""Degrees of freedom that an assumed spread tops up to, if days are too few to say."""

ASSUMED_BETWEEN = 0.01
"""Standard deviation, relative, that days are taken to have: the noisy end of what cards show."""

_ASSUMED_DEGREES = 3.0
_ASSUMED_DEVICES = 0.03
_ASSUMED_WITHIN = 0.02
_ASSUMED_AUTOCORRELATION = 0.5
_WINDOWS_THAT_CORRELATE = 5  # fewer say nothing about autocorrelation
_FLOOR = 0.001  # within-session standard deviation that no meter beats
OUTLYING = 4.0
"""SD from its session's median beyond which a window counts as that far off."""

_TAIL = 0.016  # SD beyond B that a session far out is granted: Student's t with 3 degrees has it

_Known = tuple[float, float]
"""A variance, and the degrees of freedom that it is known from."""


@dataclass(frozen=True)
class Pooled:
    """Variances shared by the entries of one file, and what each is worth in degrees of freedom.

    `tau2` is that between days, `same_day` that between sessions of one day, `sw2` of windows.
    """

    tau2: float
    degrees: float = POOLED_DEGREES
    sw2: float | None = None
    same_day: _Known = (0.0, 0.0)


_NOTHING_POOLED = Pooled(0.0, degrees=0.0)


@dataclass(frozen=True)
class Spread:
    """Noise of a baseline on the log scale; variances are of ln(J/token).

    `between` is the variance of a new session's mean against the baseline's that no number of
    windows reduces (B). `tau2` is that between days (or sessions of the run's own day), known from
    `degrees` degrees of freedom. `tail` is what an outlying session may add to B. `sw2` is that of
    a window within its session, with lag-1 autocorrelation `rho`. The baseline is the mean of
    `days`, on which `sessions` were recorded.
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
    days: int = 1
    tail: float = 0.0

    def between_with(self, more: int) -> float:
        """B if sessions of `more` days were added that spread as these do."""
        degrees = max(self.degrees + more, LEAST_DEGREES)
        return _between(self.tau2, self.noise, degrees, self.days + more)


def limited(logs: Sequence[float], known: Spread) -> list[float]:
    """Logarithms of a session's windows, those far from their median pulled in to 4 SD from it.

    The SD is the baseline's, of which single windows say nothing: then none is.
    """
    if not known.within_degrees:
        return list(logs)
    middle, reach = median(logs), OUTLYING * math.sqrt(known.sw2)
    return [min(max(log, middle - reach), middle + reach) for log in logs]


@dataclass(frozen=True)
class _Reference:
    """What a run is compared with: a level, B, and what B rests on; some names are `Spread`'s."""

    centre: float
    between: float
    tau2: float
    degrees: float
    sessions: int
    days: int
    assumed: bool


def pool(entries: Sequence[Sequence[Session]]) -> Pooled | None:
    """Join what other entries of the same file know; None if none has two sessions."""
    entries = [entry for entry in entries if entry]
    tau2, degrees = _joined(map(_between_days, entries))
    same_day, same_day_degrees = _joined(map(_within_day, entries))
    if degrees + same_day_degrees <= 0:
        return None
    rows = [_within(entry)[:2] for entry in entries]
    windows = sum(within for _, within in rows)
    sw2 = sum(sw2 * within for sw2, within in rows) / windows if windows else None
    near = max(same_day, 0.0), min(POOLED_DEGREES, same_day_degrees)
    return Pooled(max(tau2, 0.0), min(POOLED_DEGREES, degrees), sw2, near)


def spread(
    sessions: Sequence[Session],
    *,
    pooled: Pooled | None = None,
    device: str | None = None,
    settled: bool = False,
) -> Spread:
    """The noise that a new session on `device` will meet; raises `EnergyError` without sessions.

    A device that the sessions know is compared with its own; one that they do not is compared
    with the mean of devices, and devices differ more than sessions do. If sessions of the run's
    own day say more than all days do, it is compared with these. `settled`: pairs can follow, so
    what an outlying session may be is left to them.
    """
    if not sessions:
        raise EnergyError("`sessions` is empty; record a baseline with `--energy-update=new`")
    groups = _by_device(sessions)
    sw2, within_degrees, rho = _within(sessions)
    others = pooled or _NOTHING_POOLED
    if not within_degrees:
        sw2 = others.sw2 or _ASSUMED_WITHIN**2
    sw2 = max(sw2, _FLOOR**2)
    noise = fmean(_noise(session, sw2, rho) for session in sessions)
    everywhere = len(groups) == 1 and (device is None or None in groups)
    own = sessions if everywhere else _own(groups, device)
    days = _joined([_between_days(sessions), (others.tau2, others.degrees)])
    if own:
        reference = _of_days(_by_day(own), days, noise)
        today = [session for session in own if session.day == 0]
        if today:
            near = _joined([_within_day(sessions), others.same_day])
            of_today = _of_days([[session] for session in today], near, noise)
            if of_today.between <= reference.between:
                reference = replace(of_today, days=1)
    else:
        reference = _of_devices(list(groups.values()), days, noise)
    return Spread(
        **vars(reference),
        noise=noise,
        sw2=sw2,
        within_degrees=within_degrees,
        rho=rho,
        device_known=bool(own),
        tail=_TAIL**2 if settled else 0.0,
    )


def _own(groups: dict[str | None, list[Session]], device: str | None) -> Sequence[Session]:
    """A device's sessions; those of which nobody noted the device are taken for its own."""
    if device is None or device not in groups:
        return []
    return [*groups.get(None, ()), *groups[device]]


def _of_days(days: Sequence[Sequence[Session]], known: _Known, noise: float) -> _Reference:
    """The mean of days on a device that they are from."""
    tau2, degrees = _topped_up(*known, ASSUMED_BETWEEN**2)
    return _Reference(
        centre=fmean(map(_level, days)),
        between=_between(tau2, noise, degrees, len(days)),
        tau2=tau2,
        degrees=degrees,
        sessions=sum(map(len, days)),
        days=len(days),
        assumed=known[1] < LEAST_DEGREES,
    )


def _of_devices(groups: Sequence[Sequence[Session]], known: _Known, noise: float) -> _Reference:
    """The mean of devices; how one more device varies about it is on top."""
    by_day = [_by_day(group) for group in groups]
    means = [fmean(map(_level, days)) for days in by_day]
    share = fmean(1 / len(days) for days in by_day)
    every = _of_days([day for days in by_day for day in days], known, noise)
    devices2 = max(_variance(means) - (every.tau2 + noise) * share, 0.0)
    devices2, degrees = _topped_up(devices2, len(means) - 1, _ASSUMED_DEVICES**2)
    further = heavy_tail(degrees) * devices2 * (1 + 1 / len(means))
    return replace(
        every,
        centre=fmean(means),
        between=_between(every.tau2, noise, every.degrees, len(means) / share) + further,
        assumed=every.assumed or len(means) - 1 < LEAST_DEGREES,
    )


def _by_device(sessions: Sequence[Session]) -> dict[str | None, list[Session]]:
    groups: dict[str | None, list[Session]] = {}
    for session in sessions:
        groups.setdefault(session.device, []).append(session)
    return groups


def _by_day(sessions: Sequence[Session]) -> list[list[Session]]:
    days: dict[object, list[Session]] = {}
    for session in sessions:
        days.setdefault(object() if session.day is None else session.day, []).append(session)
    return list(days.values())


def _level(sessions: Sequence[Session]) -> float:
    return fmean(session.log_mean for session in sessions)


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


def _between_days(sessions: Sequence[Session]) -> _Known:
    """The variance of a session on another day, same device, which may come out negative.

    Days are what is independent: of each the mean counts, however many sessions it has.
    """
    within_day = max(_within_day(sessions)[0], 0.0)
    parts = []
    for group in _by_device(sessions).values():
        days = _by_day(group)
        noise = _mean_noise(group, sessions)
        share = fmean(1 / len(day) for day in days)
        found = _variance([_level(day) for day in days]) - noise * share
        parts.append((found + (1 - share) * within_day, len(days) - 1.0))
    return _joined(parts)


def _within_day(sessions: Sequence[Session]) -> _Known:
    """The variance between sessions of one day and device, which may come out negative."""
    days = [day for group in _by_device(sessions).values() for day in _by_day(group)]
    return _joined(
        (_variance([s.log_mean for s in day]) - _mean_noise(day, sessions), len(day) - 1.0)
        for day in days
    )


def _mean_noise(some: Sequence[Session], sessions: Sequence[Session]) -> float:
    """What windows leave in the means of some of the sessions."""
    sw2, _, rho = _within(sessions)
    return fmean(_noise(session, max(sw2, _FLOOR**2), rho) for session in some)


def _noise(session: Session, sw2: float, rho: float) -> float:
    return sw2 * variance_inflation(session.count, rho) / session.count


def _between(tau2: float, noise: float, degrees: float, days: float) -> float:
    # What is known from few degrees of freedom is the spread of the days' means, tau2 + noise,
    # so its tail is widened as a whole; only then the noise of this session's part comes off.
    return heavy_tail(degrees) * (tau2 + noise) * (1 + 1 / days) - noise


def _joined(parts: Iterable[_Known]) -> _Known:
    """Variances of the same thing, weighed by their degrees of freedom."""
    rows = [part for part in parts if part[1] > 0]
    degrees = float(sum(own for _, own in rows))
    return (sum(found * own for found, own in rows) / degrees if rows else 0.0), degrees


def _topped_up(found: float, degrees: float, assumed: float) -> _Known:
    """A variance, not below 0, joined with an assumed one."""
    extra = min(_ASSUMED_DEGREES, max(LEAST_DEGREES - degrees, 0.0))
    found = max(found, 0.0)
    if not extra:
        return found, degrees
    return (degrees * found + extra * assumed) / (degrees + extra), degrees + extra


def _variance(values: Sequence[float]) -> float:
    return variance(values) if len(values) > 1 else 0.0
