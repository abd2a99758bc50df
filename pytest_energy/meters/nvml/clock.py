"""When a counter ticks: period and phase from ticks seen, and how far that can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

DRIFT = 2e-5
"""How much two oscillators differ at most (20 ppm), so that a phase ages."""
MEMORY = 0.2
MOST_PERIODS = 10_000


class TickClock:
    """Period and phase of a counter's ticks; `seen` are their times and half-widths (s)."""

    def __init__(self, seen: Sequence[tuple[float, float]]) -> None:
        times = [seconds for seconds, _ in seen]
        steps = [later - earlier for earlier, later in pairwise(times)]
        self.period_seconds = median(steps)
        self._first = self._last = times[0]
        self._periods = 0
        self._spread = max(half_width for _, half_width in seen)
        for seconds, half_width in seen[1:]:
            self.saw(seconds, half_width)

    def following(self, now: float) -> float:
        """When the first tick after `now` is due (s)."""
        whole = int((now - self._last) / self.period_seconds) + 1
        return self._last + whole * self.period_seconds

    def doubt(self, at: float) -> float:
        """How far a tick due at `at` may be off (s)."""
        ahead = max(0.0, at - self._last)
        per_period = self._spread / max(1, self._periods)
        return self._spread + ahead * (DRIFT + per_period / self.period_seconds)

    def saw(self, seconds: float, half_width: float) -> None:
        """Take a tick into account that was seen at `seconds`, give or take `half_width`."""
        whole = round((seconds - self._last) / self.period_seconds)
        if whole < 1:
            return
        off = abs(seconds - self._last - whole * self.period_seconds)
        self._spread += MEMORY * (max(off, half_width) - self._spread)
        self._last = seconds
        self._periods += whole
        if off > 0.1 * self.period_seconds or self._periods > MOST_PERIODS:
            self._first, self._periods = seconds, 0
        elif self._periods > 0:
            self.period_seconds = (seconds - self._first) / self._periods
