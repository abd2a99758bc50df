"""What `pytest-energy qualify` found of a card's counter, as baseline files keep it; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pytest_energy.documents import Range
from pytest_energy.meters.sensors import Feed, Qualified, Sensor
from pytest_energy.qualify import Qualification, Source

LONGEST_SECONDS = 60.0
LARGEST = 1e6
FIGURES = ("period", "window", "window_doubt", "lag", "lag_doubt")
"""What is kept of a counter and of a power reading; `doubt` is a half-width."""

_Seconds = Annotated[float, Range(0.0, LONGEST_SECONDS, words="0 to 60 s")]
_Lag = Annotated[float, Range(-LONGEST_SECONDS, LONGEST_SECONDS, words="-60 to 60 s")]
_Figure = Annotated[float, Range(0.0, LARGEST, words="what a card can have")]

KINDS: dict[str, Any] = {
    "driver": str,
    "date": str,
    "feed": Feed,
    "sees_all": bool,
    **{
        f"{source}_{each}_seconds": _Lag if each == "lag" else _Seconds
        for source in ("counter", "reading")
        for each in FIGURES
    },
    "quantum_joules": _Figure,
    "idle_watts": _Figure,
    "loaded_watts": _Figure,
    "note": str,
}
NEEDED = ("driver", "date", "feed", "sees_all")


@dataclass(frozen=True)
class StoredSensor:
    """What feeds a card's counter by an experiment under a driver, and the figures beside it.

    `sees_all`: the counter surely misses nothing of what the card draws. `figures` go by the names
    of `KINDS`; what the card does not have is left out.
    """

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


def _named(name: str, source: Source | None) -> dict[str, float | None]:
    if source is None:
        return {}
    told = dict(zip(FIGURES, source.figures, strict=True))
    return {f"{name}_{each}_seconds": min(value, LONGEST_SECONDS) for each, value in told.items()}


def from_table(values: Mapping[str, Any]) -> StoredSensor:
    """The sensor that a table of `KINDS` states; `ValueError` says what is wrong with it."""
    missing = [name for name in NEEDED if name not in values]
    if missing:
        raise ValueError(f"has no `{missing[0]}`; qualify the card anew, or remove the table")
    if values["sees_all"] and "counter_period_seconds" not in values:
        raise ValueError("has no `counter_period_seconds`; qualify the card anew")
    figures = {name: values[name] for name in values if name not in (*NEEDED, "note")}
    driver, date, feed, sees_all = (values[name] for name in NEEDED)
    return StoredSensor(driver, date, feed, sees_all, figures)


def as_table(stored: StoredSensor) -> dict[str, Any]:
    """The same in the order of `KINDS`, figures to six digits; the date is still text."""
    values = {name: getattr(stored, name) for name in NEEDED}
    figures = {name: float(f"{value:.6g}") for name, value in stored.figures.items()}
    return {name: (values | figures)[name] for name in KINDS if name in values | figures}
