"""How a card's sensor looks at what it draws, and what an experiment found of that; values only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

Origin = Literal["published", "assumed", "measured", "qualified"]
"""Where a sensor's figures come from.

A paper, the shortest look known, an experiment of this project's on such cards, or one here.
"""
Feed = Literal["sensor", "true power", "unknown", "no counter"]
"""What an energy counter adds up: a sensor's looks, or all that the card draws."""

SEES_ALL: Final = 0.05
"""A window this close to the period, as a share of it, misses nothing that matters."""
LEAST_LAG_SECONDS: Final = 0.002
"""A smaller lag is not told from what a fit leaves over."""
SHORTEST_SHARE: Final = 0.01
"""Of a period: no look is taken to be shorter."""


class Sensor(NamedTuple):
    """How often a value is renewed, and the stretch of true power that it is a mean of (s).

    That stretch ended `lag_seconds` before the renewal, known to `lag_doubt_seconds`.
    """

    period_seconds: float
    window_seconds: float
    origin: Origin = "published"
    lag_seconds: float = 0.0
    lag_doubt_seconds: float = 0.0

    @classmethod
    def found(
        cls, period: float, window: float, window_doubt: float, lag: float, lag_doubt: float
    ) -> Sensor:
        """One as an experiment found it (s); its window is the shorter end of what it may be."""
        late = lag if lag > max(lag_doubt, LEAST_LAG_SECONDS) else 0.0
        shorter = max(window - window_doubt, SHORTEST_SHARE * period)
        return cls(period, shorter, "qualified", late, lag_doubt)

    @property
    def sees_all(self) -> bool:
        """Whether each moment is looked at once, about."""
        return abs(self.window_seconds / self.period_seconds - 1) <= SEES_ALL

    @property
    def is_known(self) -> bool:
        """Whether somebody found out how this card looks."""
        return self.origin != "assumed"

    def renewed_every(self, seconds: float) -> Sensor:
        """The same with the period that was seen just now (s)."""
        if self.origin not in ("qualified", "measured"):
            return self._replace(period_seconds=seconds)
        share = seconds / self.period_seconds
        return self._replace(period_seconds=seconds, window_seconds=share * self.window_seconds)

    def told(self) -> str:
        """How it looks, for a person."""
        look = "looks" if self.is_known else "may look"
        if self.sees_all:
            return f"{look} all the time"
        window, period = 1000 * self.window_seconds, 1000 * self.period_seconds
        return f"{look} {window:.0f} of every {period:.0f} ms"


class Qualified(NamedTuple):
    """What an experiment found of a card, under which driver and when (ISO).

    `counter` is what its counter's joules are made of, None if that could not be told; `readings`
    is the sensor of its power reading, None if that is not known.
    """

    driver: str
    date: str
    counter: Sensor | None = None
    readings: Sensor | None = None

    @classmethod
    def of(
        cls,
        card: tuple[str, str],
        feed: Feed,
        sees_all: bool,
        counter: Sensor | None,
        readings: Sensor | None,
    ) -> Qualified:
        """What windows may go by: of a counter, nothing if it cannot be told what feeds it.

        `card` is its driver and the date; `sees_all`: the counter surely misses nothing.
        """
        if counter is not None and sees_all:
            counter = counter._replace(window_seconds=counter.period_seconds)
        elif feed not in ("sensor", "true power"):
            counter = None
        return cls(*card, counter, readings)


Rows: TypeAlias = tuple[tuple[Any, ...], ...]


def as_rows(qualified: Mapping[str, Qualified]) -> Rows:
    """The same to be sent to another process."""
    return tuple((uuid, *each) for uuid, each in qualified.items())


def from_rows(rows: Iterable[Sequence[Any]]) -> dict[str, Qualified]:
    """What was sent, by UUID."""
    return {
        uuid: Qualified(driver, date, *(each and Sensor(*each) for each in sensors))
        for uuid, driver, date, *sensors in rows
    }
