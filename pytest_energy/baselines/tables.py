"""What a baseline file keeps beside sessions: calibrations, sensors, what is acknowledged; pure.

Each says what is wrong with its table; in tables that are to be written days are still text.
"""

from __future__ import annotations

import datetime
import math
import platform
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pytest_energy.documents import SMALLEST, PositiveCount, Range
from pytest_energy.errors import EnergyError
from pytest_energy.meters.sensors import Feed, Qualified, Sensor
from pytest_energy.qualify import Qualification, Source
from pytest_energy.stats.distributions import line
from pytest_energy.units import FRACTION, LARGEST_LEVELS, difference

if TYPE_CHECKING:
    from pytest_energy.metering.hardware import Hardware

LONGEST_DAYS = 366
"""An acknowledgement is for a while. What is to stay becomes the baseline."""

LONGEST_TEXT = 500
"""Characters of a reason, or of a name."""


@dataclass(frozen=True)
class Acknowledgement:
    """A figure may be worse than its baseline by `up_to` until the end of a day.

    `up_to` is a fraction, of savings points of the saved one. `until` and `date`, the day of the
    acknowledgement, are ISO days; `by` is empty if nobody is known.
    """

    DAYS = ("until", "date")
    NEEDED = ("metric", "id", "up_to", "until", "reason")

    metric: str
    id: str
    up_to: float
    until: str
    reason: str
    by: str = ""
    date: str = ""

    def holds_on(self, day: datetime.date) -> bool:
        """Whether it still counts on a day (UTC)."""
        return day <= datetime.date.fromisoformat(self.until)

    @property
    def limit(self) -> str:
        """How much is acknowledged and until when, such as `4 % until 2027-01-31`."""
        unit = FRACTION if self.metric == "savings" else ""
        return f"{difference(self.up_to, unit, signed=False)} until {self.until}"

    @property
    def sentence(self) -> str:
        """The limit, who acknowledged it, and why."""
        by = f" by {self.by}" if self.by else ""
        return f"up to {self.limit}{by} ({self.reason})"

    @classmethod
    def faults_of(cls, values: Mapping[str, Any], given: Container[str]) -> Iterator[str]:
        """All that is wrong with values of a table; names that are `given` are not missed."""
        for name in cls.NEEDED:
            if name not in given:
                yield f"has no `{name}`; acknowledge it anew, or remove the table"
        up_to, most = values.get("up_to"), LARGEST_LEVELS["tolerance"]
        if up_to is not None and not 0 < up_to <= most:
            fraction = f"a fraction above 0 and at most {most:g}, such as 0.04 for 4 %"
            yield f"has `up_to` {up_to:g}; write {fraction}"
        for name in cls.DAYS:
            if not _is_day(values.get(name)):
                yield f"has a `{name}` that is no day such as 2027-01-31"
        for name in ("reason", "by"):
            if len(values.get(name, "")) > LONGEST_TEXT:
                yield f"has a `{name}` of more than {LONGEST_TEXT} characters"
        if not values.get("reason", "said elsewhere").strip():
            yield "has an empty `reason`; say why, so that others know"

    def as_table(self) -> dict[str, Any]:
        """The same without what is empty."""
        return {name: value for name, value in vars(self).items() if value != ""}


def _is_day(text: str | None) -> bool:
    try:
        return text is None or bool(datetime.date.fromisoformat(text))
    except ValueError:
        return False


LEAST_PAIRS = 3
LEAST_SPREAD = 0.05
"""Device watts must range over this share of their largest, or a line through them says nothing."""
LEAST_WATTS = 0.001
LEAST_R_SQUARED = 0.9
COARSEST_SLOPE = 0.5
"""The widest half-width of a slope, relative, that is still one."""
LARGEST_FIGURE = 1e9
MOST_SLOPE = 2.0
"""Of a watt of a device, no supply and no fans that turn with its load lose another one."""


@dataclass(frozen=True)
class Calibration:
    """Wall watts = `offset_watts` + `slope` x device watts; 95 % intervals of both (low, high).

    The offset is what the rest of the machine draws at the wall; the slope is the power-loss
    coefficient. `residuals` (W, wall less fit) belong to the pairs in order; none once stored.
    """

    offset_watts: float
    slope: float
    offset_interval: tuple[float, float]
    slope_interval: tuple[float, float]
    r_squared: float
    count: int
    residuals: tuple[float, ...] = ()

    def wall_joules(self, joules: float, seconds: float) -> float:
        """Joules at the wall (J) for a device's joules over so many seconds."""
        return self.offset_watts * seconds + self.slope * joules


def fit(pairs: Sequence[tuple[float, float]]) -> Calibration:
    """Least squares through (device watts, wall watts), intervals by Student's t.

    Raises `EnergyError` for fewer than three pairs, figures that are no watts, or no spread.
    """
    if len(pairs) < LEAST_PAIRS:
        raise EnergyError(
            f"{len(pairs)} pairs make no calibration; measure at least {LEAST_PAIRS}, at "
            f"several loads"
        )
    if not all(math.isfinite(watts) and watts >= 0 for pair in pairs for watts in pair):
        raise EnergyError("`pairs` hold a figure that is no number of watts from 0; drop that pair")
    device, wall = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if max(device) - min(device) <= max(LEAST_SPREAD * max(device), LEAST_WATTS):
        raise EnergyError(
            f"device watts have no spread ({min(device):.4g} to {max(device):.4g} W), so they fix "
            "no slope; pair windows from idle to full load"
        )
    found = line(device, wall)
    return Calibration(
        offset_watts=found.intercept,
        slope=found.slope,
        offset_interval=found.intercept_interval,
        slope_interval=found.interval,
        r_squared=found.r_squared if max(wall) > min(wall) else 0.0,
        count=len(pairs),
        residuals=found.residuals,
    )


def require_plausible(fitted: Calibration) -> None:
    """Raise `EnergyError` for a fit that no machine has; it says what to check."""
    wrong = _implausible(fitted)
    if wrong is not None:
        raise EnergyError(f"not stored: {wrong}")


def _implausible(fitted: Calibration) -> str | None:
    slope, (low, high) = fitted.slope, fitted.slope_interval
    if fitted.r_squared < LEAST_R_SQUARED or high - low > 2 * COARSEST_SLOPE * slope:
        return (
            f"wall watts do not surely rise with device watts: slope {slope:.3g} (95 %: {low:.3g} "
            f"to {high:.3g}), R² {fitted.r_squared:.3f}; see that the wall meter is this "
            "machine's, and that both meters' clocks agree. Measure more or longer windows while "
            "nothing else runs"
        )
    if slope < 1:
        return (
            f"wall watts rise by {slope:.3g} of device watts, and it must be 1 or more; see that "
            "all of this machine's power supplies are behind the wall meter, and that it reports "
            "watts. Device watts have to be measured, not modelled"
        )
    if slope > MOST_SLOPE:
        return (
            f"wall watts rise by {slope:.3g} of device watts, and it must be {MOST_SLOPE:g} or "
            "less; see that the load runs on the metered devices alone, and that nothing else is "
            "behind the wall meter"
        )
    if fitted.offset_interval[1] < 0:
        return (
            f"without the device the wall would give {fitted.offset_watts:.3g} W, surely below 0; "
            "see that all of this machine's power supplies are behind the wall meter, and pair "
            "windows from idle to full load"
        )
    return None


_Figure = Annotated[float, Range(-LARGEST_FIGURE, LARGEST_FIGURE, words="what a machine can have")]


@dataclass(frozen=True)
class StoredCalibration:
    """How a device's joules become joules at the wall: when it was fitted, on which wall meter."""

    KINDS: ClassVar[dict[str, Any]] = {
        "offset_watts": _Figure,
        "offset_watts_low": _Figure,
        "offset_watts_high": _Figure,
        "slope": Annotated[float, Range(SMALLEST, LARGEST_FIGURE, words="above 0")],
        "slope_low": _Figure,
        "slope_high": _Figure,
        "r_squared": _Figure,
        "pairs": PositiveCount,
        "date": str,
        "wall": str,
        "note": str,
    }

    fit: Calibration
    date: str
    wall: str

    @classmethod
    def from_table(cls, values: Mapping[str, Any]) -> StoredCalibration:
        """The calibration that a table states; `ValueError` says what is wrong with it."""
        missing = [name for name in cls.KINDS if name not in values and name != "note"]
        if missing:
            raise ValueError(f"has no `{missing[0]}`; fit it anew, or remove the table")
        offset, slope = (
            (values[f"{name}_low"], values[f"{name}_high"]) for name in ("offset_watts", "slope")
        )
        for name, (low, high) in (("offset_watts", offset), ("slope", slope)):
            if not low <= values[name] <= high:
                around = f"`{name}_low` to `{name}_high`"
                raise ValueError(f"has its `{name}` outside {around}; fit it anew")
        levels, told = (values["offset_watts"], values["slope"]), values["r_squared"]
        fit = Calibration(*levels, offset, slope, told, values["pairs"])
        return cls(fit, values["date"], values["wall"])

    def as_table(self) -> dict[str, Any]:
        """The figures in the order of `KINDS`, to six digits."""
        fit = self.fit
        figures = (fit.offset_watts, *fit.offset_interval, fit.slope, *fit.slope_interval)
        rounded = [float(f"{figure:.6g}") for figure in (*figures, fit.r_squared)]
        return dict(zip(self.KINDS, (*rounded, fit.count, self.date, self.wall), strict=False))


def device_key(hardware: Hardware) -> str | None:
    """What a calibration goes by: the devices' UUIDs, of a CPU with its host; None without any."""
    if hardware.key == "cpu" and hardware.uuids:
        return f"{hardware.uuids}@{platform.node()}"
    return hardware.device


LONGEST_SECONDS = 60.0
LARGEST = 1e6
FIGURES = ("period", "window", "window_doubt", "lag", "lag_doubt")
"""What is kept of a counter and of a power reading; `doubt` is a half-width."""

_Seconds = Annotated[float, Range(0.0, LONGEST_SECONDS, words="0 to 60 s")]
_Lag = Annotated[float, Range(-LONGEST_SECONDS, LONGEST_SECONDS, words="-60 to 60 s")]
_CardFigure = Annotated[float, Range(0.0, LARGEST, words="what a card can have")]


@dataclass(frozen=True)
class StoredSensor:
    """What feeds a card's counter by an experiment under a driver, and the figures beside it.

    `sees_all`: the counter surely misses nothing of what the card draws. `figures` go by the names
    of `KINDS`; what the card does not have is left out.
    """

    KINDS: ClassVar[dict[str, Any]] = {
        "driver": str,
        "date": str,
        "feed": Feed,
        "sees_all": bool,
        **{
            f"{source}_{each}_seconds": _Lag if each == "lag" else _Seconds
            for source in ("counter", "reading")
            for each in FIGURES
        },
        "quantum_joules": _CardFigure,
        "idle_watts": _CardFigure,
        "loaded_watts": _CardFigure,
        "note": str,
    }
    NEEDED = ("driver", "date", "feed", "sees_all")

    driver: str
    date: str
    feed: Feed
    sees_all: bool
    figures: Mapping[str, float]

    @classmethod
    def of(cls, found: Qualification) -> StoredSensor:
        """What is kept of a qualification."""
        counter, readings = found.counter, found.readings
        figures = {
            **_named("counter", counter),
            **_named("reading", readings),
            "quantum_joules": found.quantum_joules,
            "idle_watts": found.idle_watts,
            "loaded_watts": found.loaded_watts,
        }
        told = {name: value for name, value in figures.items() if value is not None}
        return cls(found.driver, found.date, found.feed, found.sees_all, told)

    @property
    def qualified(self) -> Qualified:
        """What windows go by."""
        counter, readings = (self._sensor(name) for name in ("counter", "reading"))
        return Qualified.of((self.driver, self.date), self.feed, self.sees_all, counter, readings)

    def _sensor(self, name: str) -> Sensor | None:
        """One of the card's two sources."""
        period, *others = (self.figures.get(f"{name}_{each}_seconds", 0.0) for each in FIGURES)
        return Sensor.found(period, *others) if period else None

    @classmethod
    def from_table(cls, values: Mapping[str, Any]) -> StoredSensor:
        """The sensor that a table states; `ValueError` says what is wrong with it."""
        missing = [name for name in cls.NEEDED if name not in values]
        if missing:
            raise ValueError(f"has no `{missing[0]}`; qualify the card anew, or remove the table")
        if values["sees_all"] and "counter_period_seconds" not in values:
            raise ValueError("has no `counter_period_seconds`; qualify the card anew")
        figures = {name: values[name] for name in values if name not in (*cls.NEEDED, "note")}
        driver, date, feed, sees_all = (values[name] for name in cls.NEEDED)
        return cls(driver, date, feed, sees_all, figures)

    def as_table(self) -> dict[str, Any]:
        """The same in the order of `KINDS`, figures to six digits."""
        values = {name: getattr(self, name) for name in self.NEEDED}
        figures = {name: float(f"{value:.6g}") for name, value in self.figures.items()}
        return {name: (values | figures)[name] for name in self.KINDS if name in values | figures}


def _named(name: str, source: Source | None) -> dict[str, float | None]:
    if source is None:
        return {}
    told = dict(zip(FIGURES, source.figures, strict=True))
    return {f"{name}_{each}_seconds": min(value, LONGEST_SECONDS) for each, value in told.items()}
