"""How a source shows a load that is switched on and off: its lag and its window, by least squares.

The card's power follows the load with a time constant each way. A source that is renewed at `t`
shows the mean power from `t - lag - window` to `t - lag`. After an edge, what is shown goes from
one level to the other over the window. Edges at many phases between two renewals trace it out. A
counter of all that is drawn has a window of its period; one that adds up a sensor's looks has the
sensor's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from math import exp, expm1, inf, log, sqrt
from statistics import fmean, pstdev
from typing import Final, NamedTuple

from pytest_energy.qualify import Beat, Figure, Source
from pytest_energy.stats.distributions import moments

Points = Sequence[tuple[float, float]]
"""When a source was renewed (s), and the power that it showed from then on (W)."""

Shown = Callable[[Sequence[float]], Sequence[float]]
"""What counts of points' powers, or of their shares: these themselves, or sums of them."""

AROUND: Final = 10
"""So many levels before and after one are what it is compared with."""
SHORTEST_SECONDS: Final = 1e-4
LONGEST_SECONDS: Final = 3.0
RISE_SECONDS: Final = 0.005
FALL_SECONDS: Final = 0.03
"""Where time constants are looked for first."""
WINDOWS: Final = (0.1, 0.25, 0.5, 1.0)
LAGS: Final = (0.0, 0.5, 1.0, 1.5)
STARTS: Final = 2
"""So many of these shares of a period, of which windows and lags are tried, are followed up."""
STEPS: Final = 40
CLOSE: Final = 1e-7
MOST_POINTS: Final = 800
PERIODS_AFTER: Final = 6
"""Points this many periods after an edge, or later, show nothing more of it."""


EXCESS: Final = 0.08
"""Scatter beyond what is explained, as a share of the swing, that a counter of all has not."""
MOST_BEATS: Final = 3


class Edge(NamedTuple):
    """A load switched on or off (s)."""

    seconds: float
    on: bool


class Response(NamedTuple):
    """What was fitted; `rest` and `swing` are watts, `left` the SD of what is left (W or J)."""

    lag_seconds: Figure
    window_seconds: Figure
    rise_seconds: Figure
    fall_seconds: Figure
    rest_watts: float
    swing_watts: float
    left: float


class Trajectory:
    """The card's power above rest as a share of the load's, for edges and time constants (s)."""

    def __init__(self, edges: Sequence[Edge], rise: float, fall: float) -> None:
        self._taus = (fall, rise)
        self._times = [edge.seconds for edge in edges]
        self._states: list[tuple[bool, float, float]] = []
        share = joules = 0.0
        on, since = False, edges[0].seconds
        for edge in edges:
            more, share = self._after(on, share, edge.seconds - since)
            joules += more
            on, since = edge.on, edge.seconds
            self._states.append((on, share, joules))

    def _after(self, on: bool, share: float, seconds: float) -> tuple[float, float]:
        """Shares times seconds that pass, and the share that is reached."""
        tau, aim = self._taus[on], float(on)
        away = share - aim
        return aim * seconds - away * tau * expm1(-seconds / tau), aim + away * exp(-seconds / tau)

    def until(self, seconds: float) -> float:
        """Shares times seconds up to a time."""
        i = bisect_right(self._times, seconds) - 1
        if i < 0:
            return 0.0
        on, share, joules = self._states[i]
        return joules + self._after(on, share, seconds - self._times[i])[0]

    def mean(self, until: float, seconds: float) -> float:
        """The mean share of so many seconds up to a time."""
        return (self.until(until) - self.until(until - seconds)) / seconds


def fit(edges: Sequence[Edge], points: Points, period_seconds: float) -> Response:
    """The response that explains the points best.

    `edges` follow one another in time and begin with one that switches on; `period_seconds` is
    how often the source is renewed.
    """
    longest = PERIODS_AFTER * period_seconds
    near = [(at, watts) for _, at, watts in after_edges(edges, points, longest)]
    return _best(edges, near[:: 1 + len(near) // MOST_POINTS], period_seconds, list)


def fit_levels(edges: Sequence[Edge], points: Points, period_seconds: float) -> Response:
    """The same from what a counter shows at every turn (J), for one in coarse steps.

    A step's error is in one level, and in two powers: so levels tell more. Only how they differ
    from those around them counts, since a load that drifts moves all that follow. `rest_watts` is
    not told.
    """

    at, joules = zip(*points, strict=True)
    watts = [(b - a) / period_seconds for a, b in pairwise(joules)]

    def summed(powers: Sequence[float]) -> list[float]:
        return _without_drift([period_seconds * each for each in accumulate(powers)])

    return _best(edges, list(zip(at[1:], watts, strict=True)), period_seconds, summed)


def _best(edges: Sequence[Edge], points: Points, period: float, shown: Shown) -> Response:
    starts = [
        (lag * period, log(w * period), log(RISE_SECONDS), log(FALL_SECONDS))
        for w in WINDOWS
        for lag in LAGS
    ]
    tried = (_Model(edges, points, list(start), shown) for start in starts)
    best = sorted(tried, key=lambda model: model.squares)
    return min((model.fitted() for model in best[:STARTS]), key=lambda m: m.squares).response()


def _without_drift(values: Sequence[float]) -> list[float]:
    """Values less the mean of those around each; the first and the last have too few around."""
    sums, width = [0.0, *accumulate(values)], 2 * AROUND + 1
    return [
        values[i + AROUND] - (sums[i + width] - sums[i]) / width
        for i in range(len(values) - width + 1)
    ]


def after_edges(
    edges: Sequence[Edge], points: Points, longest_seconds: float
) -> Iterator[tuple[Edge, float, float]]:
    """Points that follow an edge by less than so long (s), each with the last edge before it."""
    times = [edge.seconds for edge in edges]
    for at, watts in points:
        i = bisect_right(times, at) - 1
        if i >= 0 and at - times[i] < longest_seconds:
            yield edges[i], at, watts


def scatters(beats: Sequence[Beat], grain: float) -> bool:
    """Whether power under square loads scatters more than a counter of all that is drawn explains.

    `grain` is one step of the counter as a share of the swing.
    """
    beyond = [each.seen**2 - each.if_all_seen**2 - grain**2 / 6 for each in beats]
    return sum(square > EXCESS**2 for square in beyond) >= MOST_BEATS


def beat(
    edges: Sequence[Edge], points: Points, step_seconds: float, source: Source, found: Response
) -> Beat:
    """How the power that a source shows scatters under a square load, and how it would."""
    course = Trajectory(edges, found.rise_seconds, found.fall_seconds)
    period = source.period_seconds
    whole = [course.mean(at - source.lag_seconds, period) for at, _ in points]
    seen = pstdev([watts for _, watts in points]) / found.swing_watts
    return Beat(step_seconds, seen, pstdev(whole))


class _Model:
    """Lag (s) and the logarithms of window, rise and fall, and the best levels for them."""

    def __init__(
        self, edges: Sequence[Edge], points: Points, values: list[float], shown: Shown
    ) -> None:
        self._edges, self._points, self._values = edges, points, values
        self._shown, watts = shown, shown([watts for _, watts in points])
        self._base = shares = self._shares(values)
        (middle, spread), level = moments(shares), fmean(watts)
        together = sum((s - middle) * (w - level) for s, w in zip(shares, watts, strict=True))
        self.swing = together / spread if spread > 1e-12 else 0.0
        self.rest = level - self.swing * middle
        self._left = [w - self.rest - self.swing * s for s, w in zip(shares, watts, strict=True)]
        self.squares = sum(each**2 for each in self._left) if self.swing else inf

    def _shares(self, values: Sequence[float]) -> Sequence[float]:
        lag, window, rise, fall = values[0], *(exp(value) for value in values[1:])
        course = Trajectory(self._edges, rise, fall)
        return self._shown([course.mean(at - lag, window) for at, _ in self._points])

    def fitted(self) -> _Model:
        """The best model near this one: Levenberg's and Marquardt's steps."""
        model, damping = self, 1e-3
        for _ in range(STEPS):
            slopes = model._slopes()
            normal, towards = _normal(slopes, model._left)
            for _ in range(8):
                damped = [
                    [each * (1 + damping * (i == j)) for j, each in enumerate(row)]
                    for i, row in enumerate(normal)
                ]
                step = solved(damped, towards)
                tried = _Model(self._edges, self._points, model._moved(step[2:]), self._shown)
                if tried.squares < model.squares:
                    break
                damping *= 5
            else:
                return model
            gain, model, damping = 1 - tried.squares / model.squares, tried, damping / 5
            if gain < CLOSE:
                break
        return model

    def _moved(self, step: Sequence[float]) -> list[float]:
        lag, *logs = (a + b for a, b in zip(self._values, step, strict=True))
        low, high = log(SHORTEST_SECONDS), log(LONGEST_SECONDS)
        near = [
            min(max(each, now - 1), now + 1)
            for each, now in zip(logs, self._values[1:], strict=True)
        ]
        return [lag, *(min(max(each, low), high) for each in near)]

    def _slopes(self) -> list[list[float]]:
        """What each point changes by with the levels and with each value, point by point."""
        columns = [[1.0] * len(self._base), self._base]
        for i in range(len(self._values)):
            by = 1e-5 if i == 0 else 1e-3
            moved = [v + by * (i == j) for j, v in enumerate(self._values)]
            shares = self._shares(moved)
            pairs = zip(shares, self._base, strict=True)
            columns.append([self.swing * (a - b) / by for a, b in pairs])
        return [list(row) for row in zip(*columns, strict=True)]

    def response(self) -> Response:
        """What it says, with half-widths from the scatter of what is left over."""
        normal, _ = _normal(self._slopes(), self._left)
        variance = self.squares / max(1, len(self._base) - 6)
        size, doubts = range(len(normal)), []
        matrix = [[normal[j][k] + 1e-12 * (j == k) for k in size] for j in size]
        for i in (2, 3, 4, 5):
            column = solved(matrix, [float(i == j) for j in size])
            doubts.append(2 * sqrt(max(0.0, variance * column[i])))
        lag, *logs = self._values
        window, rise, fall = (
            Figure(exp(value), exp(value) * min(doubt, 10.0))
            for value, doubt in zip(logs, doubts[1:], strict=True)
        )
        left = pstdev(self._left)
        return Response(Figure(lag, doubts[0]), window, rise, fall, self.rest, self.swing, left)


def _normal(
    rows: Sequence[Sequence[float]], left: Sequence[float]
) -> tuple[list[list[float]], list[float]]:
    size = range(len(rows[0]))
    normal = [[sum(row[i] * row[j] for row in rows) for j in size] for i in size]
    return normal, [sum(row[i] * v for row, v in zip(rows, left, strict=True)) for i in size]


def solved(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """The solution of linear equations; what nothing depends on is left at 0."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for i in range(size):
        pivot = max(range(i, size), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        if abs(rows[i][i]) < 1e-300:
            continue
        for k in range(size):
            if k != i:
                factor = rows[k][i] / rows[i][i]
                rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
    return [row[-1] / row[i] if abs(row[i]) >= 1e-300 else 0.0 for i, row in enumerate(rows)]
