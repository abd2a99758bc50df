"""When a counter ticks: a line through the ticks seen, and how far it can be trusted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from ctypes import c_ulonglong
from itertools import pairwise
from math import ceil, gcd, sqrt
from statistics import median
from typing import NamedTuple

from pytest_energy.clocks import real_time
from pytest_energy.meters.nvml.card import Card
from pytest_energy.meters.nvml.two_powers import TwoPowers
from pytest_energy.meters.protocol import LIMIT_MARGIN, STANDS_STILL, fault

DRIFT = 5e-6
"""How much two oscillators drift apart while the temperature changes, so that a phase ages."""
REMEMBERED = 24
SURELY = 2.5
"""Standard deviations that a tick is expected within."""
SHARPEST_SECONDS = 1e-5
WIDEST_SHARE = 1 / 3
"""A tick that may be off by more of a period than this could be the one before or after."""


class _Seen(NamedTuple):
    number: int
    seconds: float
    half_width: float


class TickClock:
    """Period and phase of a counter's ticks; `seen` are their times and half-widths (s)."""

    def __init__(self, seen: Sequence[tuple[float, float]]) -> None:
        times = [seconds for seconds, _ in seen]
        self.period_seconds = median(later - earlier for earlier, later in pairwise(times))
        self.jitter_seconds = 0.0
        """Standard deviation of the ticks about the line (s)."""
        self._mean_index = self._mean_seconds = self._weight = self._spread = 0.0
        self._origin = 0.0
        """When tick 0 was due (s)."""
        self._seen: deque[_Seen] = deque(maxlen=REMEMBERED)
        for seconds, half_width in seen[-REMEMBERED:]:
            self.saw(seconds, half_width)

    def latest(self, now: float) -> float:
        """When the last tick up to `now` was due (s)."""
        return now - (now - self._origin) % self.period_seconds

    def following(self, now: float) -> float:
        """When the first tick after `now` is due (s)."""
        return self.latest(now) + self.period_seconds

    def doubt(self, at: float) -> float:
        """How far a tick due at `at` may be off (s)."""
        widest = WIDEST_SHARE * self.period_seconds
        if not self._spread:
            return widest
        off = SURELY * (self.jitter_seconds + self._line_doubt(at))
        return off if off < widest else widest

    def missed(self) -> None:
        """Trust predictions less: a tick came when none was due."""
        self.jitter_seconds = min(2 * self.jitter_seconds + SHARPEST_SECONDS, self.period_seconds)

    def saw(self, seconds: float, half_width: float) -> None:
        """Take a tick into account that was seen at `seconds`, give or take `half_width`."""
        index = 0
        if self._seen:
            index = round((seconds - self._mean_seconds) / self.period_seconds + self._mean_index)
            if index <= self._seen[-1].number:
                return
            if self._spread and self._line_doubt(seconds) > WIDEST_SHARE * self.period_seconds:
                self._seen.clear()
        self._seen.append(_Seen(index, seconds, max(half_width, SHARPEST_SECONDS)))
        self._fit()

    def _line_doubt(self, at: float) -> float:
        """Standard error of the line at a time (s)."""
        far = (at - self._mean_seconds) / self.period_seconds
        ahead = at - self._seen[-1].seconds
        drift = ahead * DRIFT if ahead > 0 else 0.0
        return sqrt(1 / self._weight + far * far / self._spread) + drift

    def _fit(self) -> None:
        """Draw the line: least squares, each tick weighted by how sharply it was seen."""
        jitter = self.jitter_seconds
        weights = [1 / (tick.half_width**2 + jitter**2) for tick in self._seen]
        weighted = list(zip(weights, self._seen, strict=True))
        self._weight = sum(weights)
        self._mean_index = sum(w * tick.number for w, tick in weighted) / self._weight
        self._mean_seconds = sum(w * tick.seconds for w, tick in weighted) / self._weight
        # Others ask meanwhile: nobody may find a spread of zero that was not there before.
        spread = 0.0
        if len(weighted) > 1:
            since = [(w, t.number - self._mean_index, t.seconds) for w, t in weighted]
            spread = sum(w * off**2 for w, off, _ in since)
            together = sum(w * off * (seconds - self._mean_seconds) for w, off, seconds in since)
            self.period_seconds = together / spread
        period = self.period_seconds
        self._origin = origin = self._mean_seconds - self._mean_index * period
        self._spread = spread
        # What the line does not explain beyond the width of each look is the counter's own.
        offs = [t.seconds - origin - t.number * period for t in self._seen]
        excess = [off**2 - t.half_width**2 for off, t in zip(offs, self._seen, strict=True)]
        squares = sum(w * max(0.0, e) for w, e in zip(weights, excess, strict=True))
        small_sample = len(weights) / max(1, len(weights) - 2)
        jitter = sqrt(squares / self._weight * small_sample)
        self.jitter_seconds = min(jitter, self.period_seconds)


WRAP_BITS = 32
"""Some drivers keep the millijoules in 32 bits; at 300 W they wrap every four hours."""
STILL_PERIODS = 5.0


class Tick(NamedTuple):
    """An update of the counter: when it came (s, give or take), the joules before and after."""

    seconds: float
    half_width: float
    joules_before: float
    joules: float


class Counter:
    """Cumulative joules of one card.

    `clock` is None if ticks are too close, or too far apart, to be waited for; their
    `period_seconds` is a bound then. `idle_spread_watts`: how much its power differed from tick to
    tick before anything was metered. `at_rest`: what it was then, and that of the card's readings;
    None if they do not tell. `apart_at_rest`: the same if they disagreed, and no later look has
    said so as yet. `call_seconds`: how long a call took then. `rest_watts`: its power when it was
    last known to rest. `sees_all`: no look of the sensor that may feed it misses anything.
    `lag_seconds`: how late it is known to show joules, give or take `lag_doubt_seconds`.
    """

    def __init__(self, card: Card) -> None:
        self.card = card
        self.domain = card.domain
        self.clock: TickClock | None = None
        self.period_seconds = self.call_seconds = 0.0
        self.idle_spread_watts = self.rest_watts = 0.0
        self.sees_all = True
        self.lag_seconds = self.lag_doubt_seconds = 0.0
        self.at_rest: TwoPowers | None = None
        self.apart_at_rest: TwoPowers | None = None
        self.last_tick: Tick | None = None
        self.falls = 0
        """How often it fell back, or rose after that: it was reset, or the driver went wrong."""
        self._has_fallen = self._was_reset = False
        self.failures = 0
        self.lost: str | None = None
        """What the driver said if it did not answer at the last reading."""
        self._lock = threading.Lock()
        self._shown = c_ulonglong()
        self._read = card.energy_into(self._shown)
        if code := self._read():
            raise card.lost(code)
        self._raw = self._shown.value
        self.moved_at = real_time.monotonic()
        """When it was last seen to move (s)."""
        self._millijoules = self._quantum_millijoules = 0
        self.shown_joules = 0.0
        """As last read (J)."""

    def joules(self) -> float:
        """Joules since the counter was opened (J); a lost card keeps its last figure."""
        # Read under the lock: of two threads around a tick, the later must not keep the older.
        with self._lock:
            if code := self._read():
                self.lost = str(self.card.lost(code))
                self.failures += 1
                return self.shown_joules
            self.lost = None
            further = self._shown.value - self._raw
            # A fall of no more than a step is one of rounding: what comes next is counted from
            # the highest.
            if further and not -self._quantum_millijoules <= further < 0:
                self._moved(further)
            return self.shown_joules

    def _moved(self, further: int) -> None:
        """Take a change of the driver's figure (mJ)."""
        now = real_time.monotonic()
        self._raw += further
        if further < 0:
            further = self._after_fall(further, now - self.moved_at)
        elif self._has_fallen:
            # A rise that may make good for the fall is no work's. After a reset it is the work's,
            # unless no work can draw so much: then the figure was wrong for a moment.
            was_reset, self._has_fallen = self._was_reset, False
            self.falls += not was_reset or further > self._most_millijoules(now - self.moved_at)
        else:
            self._quantum_millijoules = gcd(self._quantum_millijoules, further)
        self._millijoules += further
        self.shown_joules, self.moved_at = self._millijoules / 1000, now

    @property
    def resolution_joules(self) -> float:
        """The step that all changes seen so far are multiples of (J)."""
        return self._quantum_millijoules / 1000

    def read_now(self) -> tuple[float, float]:
        """The time just before reading (s), after which ticks may be unseen, and the joules (J)."""
        return real_time.monotonic(), self.joules()

    @property
    def lag_periods(self) -> int:
        """So many more ticks have to come until joules of now are shown."""
        return ceil(self.lag_seconds / self.period_seconds) if self.period_seconds else 0

    def renewed_before(self, seconds: float) -> float:
        """When a reading at that time was last renewed, taken that this goes with the ticks (s)."""
        return seconds if self.clock is None else self.clock.latest(seconds)

    def _after_fall(self, fell: int, seconds: float) -> int:
        """What was drawn (mJ) where the figure fell by so many (below 0) in so many seconds.

        A reset leaves what was drawn since. If that is more than the card can have drawn, or than
        what it fell by, it was no reset. The figure is wrong now, or was before, and the difference
        goes when it rises again.
        """
        most = self._most_millijoules(seconds)
        wrapped = fell + (1 << WRAP_BITS)
        if 0 <= wrapped <= most:
            return wrapped
        self.falls += 1
        self._has_fallen, self._was_reset = True, self._raw <= min(most, -fell)
        return self._raw if self._was_reset else fell

    def _most_millijoules(self, seconds: float) -> float:
        """What the card can have drawn at most in so many seconds (mJ)."""
        # The counter lags by up to a period, hence a second more than has passed.
        return 1000 * LIMIT_MARGIN * self.card.device.most_watts * (seconds + 1.0)


def stands_still(counter: Counter) -> str | None:
    """Say so if the counter has not moved in five periods although the card draws power."""
    counter.joules()
    # Its figure was seen first at a look, and came with the tick before that.
    seconds = real_time.monotonic() - counter.renewed_before(counter.moved_at)
    if counter.clock is None or counter.lost or seconds <= STILL_PERIODS * counter.period_seconds:
        return None
    watts = counter.card.sharpest_watts()
    if watts is not None and watts <= 0:
        return None
    ticked = f"that of `{counter.domain}` ticked every {1000 * counter.period_seconds:.0f} ms"
    return fault(STANDS_STILL, f"{ticked}, and stopped while the card draws power")
