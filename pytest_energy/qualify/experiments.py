"""The experiments on one card: what is switched when, what is read meanwhile, and what follows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import attrgetter
from statistics import fmean, median, pstdev
from typing import Final, NamedTuple

from pytest_energy.errors import EnergyError
from pytest_energy.meters.sensors import Feed, Qualified
from pytest_energy.qualify import PART, Beat, Curve, Qualification, Source
from pytest_energy.qualify.renewals import (
    LEAST,
    Renewal,
    call_seconds,
    levels,
    powers,
    quantum_joules,
    renewals,
    rhythm,
    shown,
)
from pytest_energy.qualify.response import (
    Edge,
    Points,
    Response,
    after_edges,
    beat,
    fit,
    fit_levels,
    scatters,
)
from pytest_energy.qualify.switching import Looks, SwitchedCard

IDLE_SECONDS: Final = 2.5
WARM_SECONDS: Final = 5.0
STEADY_SECONDS: Final = 4.0
EDGES: Final = 96
COARSE_EDGES: Final = 288
GRAIN: Final = 0.1
"""A counter whose step is a larger share of the load, as power, is shown more edges."""
LEVEL_SECONDS: Final = 0.25
"""Between two edges, and up to a period more."""
LONGEST_LEVEL_SECONDS: Final = 2 * LEVEL_SECONDS
GOLDEN: Final = 0.618034
"""Multiples of it, without their whole parts, lie evenly between 0 and 1."""
BEATS: Final = (0.8, 0.93, 1.0, 1.07, 1.25)
"""Square loads of so many periods of the source."""
BEAT_SECONDS: Final = 3.0
LEAST_POINTS: Final = 10
USUAL_SECONDS: Final = 0.1
"""A period, if none was seen yet."""
COARSE: Final = 1.2
"""A step of the counter as power that is so many times what a fit leaves over explains most of it.

Of a step alone, 2.4 times would be left.
"""
LEAST_LOOKS: Final = 2
"""So many looks have to fall into a period."""
LEAST_SWING: Final = 1.2
"""A load that draws less than so many times what the card draws at rest shows nothing."""
NEAR_LIMIT: Final = 0.9
"""Of its power limit: a card that draws more is taken to be held back by it."""
MILD_SECONDS: Final = 2.0
LEAST_MILD_SWING: Final = 1.5
"""The same of a milder load, in place of which there is the full one."""
SECONDS: Final = 100
"""About how long it all takes."""
SAME_PERIOD: Final = 0.02
SAME_IF_ASKED: Final = 0.1
"""Readings that are renewed when they are asked for are up to one look late."""
ECHO: Final = 0.3
"""A counter that is apart from the readings by less than this share of their scatter adds them."""
NO_ECHO: Final = 0.7
GRAINS: Final = 2
"""Readings that scatter by less than so many of the counter's steps cannot be told apart by it."""
MOST_LATE: Final = 3
LEAST_PAIRS: Final = 10


class _Levels(NamedTuple):
    """Even work and rest: what was read of the work, and the mean powers (W)."""

    looks: Looks
    idle_watts: float
    loaded_watts: float
    mild: bool = False


class _Seen(NamedTuple):
    """A source, what was fitted to it, and whether it is the counter."""

    source: Source
    response: Response
    is_counter: bool

    def points(self, looks: Looks) -> Points:
        """When it was renewed, and the power that it showed (W)."""
        if self.is_counter:
            seen = renewals(looks.energy)
            return powers(seen, rhythm(seen)) if len(seen) >= LEAST else []
        return shown(renewals(looks.power), is_even=self.source.is_even)


def qualified(card: SwitchedCard, say: Callable[[str], None]) -> Qualification:
    """What a card's counter and readings can do; `say` is told what is measured now.

    Raises `EnergyError` if the card shows nothing of the load, or does not answer.
    """
    say("1 of 4: idle, then even work")
    full = _levels(card)
    levels = _switchable(card, full)
    sharp = bool(full.looks.power) and card.is_sharp()
    milder = " (milder work: the card is at its power limit)" if levels.mild else ""
    say(f"2 of 4: work that is switched on and off{milder}")
    edges, looks = _stepped(card, levels, sharp)
    counter = _seen(edges, looks, is_counter=True)
    readings = _seen(edges, looks, is_counter=False) if sharp else None
    seen = counter or readings
    if seen is None:
        raise EnergyError(
            f"neither a counter nor a power reading of `{card.device.domain}` is renewed in a "
            "rhythm that can be seen: nothing changes, or it changes at every look"
        )
    responses = [each.response for each in (counter, readings) if each]
    say("3 of 4: square loads about as long as the period")
    steps = [share * seen.source.period_seconds for share in BEATS]
    beating = (_beat(card, step, seen, mild=levels.mild) for step in steps)
    beats = tuple(each for each in beating if each)
    quantum = _quantum(looks)
    read_watts = fmean(each.value for each in full.looks.power) if full.looks.power else 0.0
    both = full.looks.energy and read_watts
    grain = quantum / seen.source.period_seconds
    scattered = scatters(beats, grain / seen.response.swing_watts)
    same = None
    if counter and readings:
        counted, again = counter.points(full.looks), renewals(full.looks.power)
        same = echo(counted, again, readings.source.period_seconds, grain)
    by_counter, by_readings = (each.source if each else None for each in (counter, readings))
    swung = len(beats) == len(BEATS) and not scattered
    sees_all = by_counter is not None and by_counter.sees_all and swung
    say("4 of 4: windows of even work")
    feed = feed_of(by_counter, by_readings, same, scattered) if looks.energy else "no counter"
    sensors = (each.sensor if each else None for each in (by_counter, by_readings))
    taken = Qualified.of((card.device.driver or "", card.date), feed, sees_all, *sensors)
    even = card.even_work(taken)
    return Qualification(
        name=card.device.name,
        uuid=card.device.uuid or "",
        driver=card.device.driver or "",
        date=card.date,
        took_seconds=card.took_seconds(),
        feed=feed,
        sees_all=sees_all,
        idle_watts=full.idle_watts,
        loaded_watts=full.loaded_watts,
        energy_call_seconds=call_seconds(looks.energy) if looks.energy else None,
        power_call_seconds=call_seconds(looks.power) if looks.power else None,
        quantum_joules=quantum if looks.energy else None,
        counter_to_readings=full.loaded_watts / read_watts if both else None,
        counter=by_counter,
        readings=by_readings,
        rise_seconds=min((each.rise_seconds for each in responses), key=attrgetter("doubt")),
        fall_seconds=min((each.fall_seconds for each in responses), key=attrgetter("doubt")),
        beats=beats,
        even_work=even,
        mild=levels.mild,
        counter_curve=_curve(edges, counter, looks, levels),
        readings_curve=_curve(edges, readings, looks, levels),
    )


def _curve(edges: list[Edge], seen: _Seen | None, looks: Looks, levels: _Levels) -> Curve | None:
    """What a source showed between two edges, from the first of them on."""
    if seen is None:
        return None
    rest, swing = levels.idle_watts, levels.loaded_watts - levels.idle_watts
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for edge, at, watts in after_edges(edges, seen.points(looks), LONGEST_LEVEL_SECONDS):
        share = round((watts - rest) / swing, 5)
        found[edge.on].append((round(at - edge.seconds, 5), share))
    return Curve(*(tuple(sorted(found[on])) for on in (True, False)))


def _levels(card: SwitchedCard) -> _Levels:
    rest = _watts(card.idle(IDLE_SECONDS))
    looks = card.worked(WARM_SECONDS, STEADY_SECONDS)
    loaded = _watts(looks)
    if rest is None or loaded is None:
        raise EnergyError("the card gives neither joules nor watts, so nothing can be found of it")
    if loaded < LEAST_SWING * rest:
        raise EnergyError(
            f"the card draws {loaded:.0f} W under load and {rest:.0f} W at rest: too little of a "
            "difference to see by; see that nothing else runs on it"
        )
    return _Levels(looks, rest, loaded)


def _switchable(card: SwitchedCard, full: _Levels) -> _Levels:
    """The levels between which work is switched: below the power limit, if the card can do so.

    At its limit a card draws more for some 100 ms, until the driver has slowed it down, and then
    goes up and down.
    """
    limit_watts = card.device.power_limit_watts
    if limit_watts is None or full.loaded_watts < NEAR_LIMIT * limit_watts:
        return full
    looks = card.worked(MILD_SECONDS, STEADY_SECONDS, mild=True)
    watts = _watts(looks) or 0.0
    enough = LEAST_MILD_SWING * full.idle_watts < watts < full.loaded_watts
    return _Levels(looks, full.idle_watts, watts, mild=True) if enough else full


def _watts(looks: Looks) -> float | None:
    """Mean power by the counter from renewal to renewal, or else by the readings (W)."""
    seen = renewals(looks.energy)
    if len(seen) > 1:
        return (seen[-1].value - seen[0].value) / (seen[-1].seconds - seen[0].seconds)
    return fmean(each.value for each in looks.power) if looks.power else None


def _stepped(card: SwitchedCard, found: _Levels, sharp: bool) -> tuple[list[Edge], Looks]:
    """Edges at many phases between two renewals, and what was read meanwhile."""
    even = found.looks
    seen = [renewals(looks) for looks in (even.energy, even.power if sharp else [])]
    periods = [rhythm(each).period_seconds for each in seen if len(each) >= LEAST]
    period = max(periods, default=USUAL_SECONDS)
    known_joules = _quantum(even) if len(seen[0]) >= LEAST else 0.0
    is_coarse = known_joules / period > GRAIN * (found.loaded_watts - found.idle_watts)
    edges = range(COARSE_EDGES if is_coarse else EDGES)
    lengths = [LEVEL_SECONDS + period * (i * GOLDEN % 1) for i in edges]
    return card.steps(lengths, mild=found.mild)


def _seen(edges: list[Edge], looks: Looks, *, is_counter: bool) -> _Seen | None:
    """A source and its response; None if it is renewed at every look, or hardly ever."""
    seen = renewals(looks.energy if is_counter else looks.power)
    if len(seen) < LEAST:
        return None
    line = rhythm(seen)
    period = line.period_seconds
    apart = median(b.before - a.before for a, b in pairwise(looks.energy or looks.power))
    if period < LEAST_LOOKS * apart:
        return None
    points = powers(seen, line) if is_counter else shown(seen, is_even=line.is_even)
    # A sensor looks evenly even if what shows it jitters, or is looked at from far apart.
    even = [(line.nearest(at), watts) for at, watts in points] if line.is_even else []
    fits = [fit(edges, each, period) for each in (points, even) if each]
    response = min(fits, key=lambda each: each.left)
    if is_counter and _quantum(looks) / period > COARSE * response.left:
        response = fit_levels(edges, levels(seen, line), period)
    found = response.window_seconds, response.lag_seconds
    source = Source(period, line.jitter_seconds, *found, is_even=line.is_even)
    return _Seen(source, response, is_counter)


def _quantum(looks: Looks) -> float:
    return quantum_joules([look.value for look in looks.energy])


def _beat(card: SwitchedCard, step_seconds: float, seen: _Seen, *, mild: bool) -> Beat | None:
    """What a square load shows; None if the source is renewed too rarely to say."""
    source = seen.source
    lengths = [step_seconds / 2] * (2 * round(BEAT_SECONDS / step_seconds))
    edges, looks = card.steps(lengths, mild=mild)
    since = edges[0].seconds + source.lag_seconds + 3 * source.period_seconds
    points = [each for each in seen.points(looks) if each[0] > since]
    if len(points) < LEAST_POINTS:
        return None
    return beat(edges, points, step_seconds, source, seen.response)


def echo(
    counted: Points, readings: Sequence[Renewal], period_seconds: float, grain_watts: float = 0.0
) -> float | None:
    """How far a counter's power is from the readings, as a share of the readings' scatter.

    Both are of even work. `grain_watts` is one step of the counter as power. At 0 the counter adds
    up the very readings, now or a few periods late. None says that readings scatter too little, or
    are too few.
    """
    times = [each.seconds + period_seconds / 2 for each in readings]
    found = []
    for late in range(MOST_LATE + 1):
        pairs = []
        for at, watts in counted:
            i = bisect_right(times, at - late * period_seconds)
            if 0 < i < len(readings):  # the nearest one
                pairs.append((watts, readings[i].value))
        scatter = pstdev([value for _, value in pairs]) if len(pairs) >= LEAST_PAIRS else 0.0
        if scatter > GRAINS * grain_watts:
            found.append(pstdev([watts - value for watts, value in pairs]) / scatter)
    return min(found, default=None)


def feed_of(
    counter: Source | None, readings: Source | None, echoed: float | None, beats_scatter: bool
) -> Feed:
    """What a counter adds up; unknown unless the experiments agree, or if it has no rhythm."""
    if counter is None:
        return "unknown"
    alike = on_clock = False
    if readings is not None:  # whether they may be its looks, by when they are renewed
        off = abs(readings.period_seconds / counter.period_seconds - 1)
        on_clock = readings.is_even
        alike = off < (SAME_PERIOD if on_clock else SAME_IF_ASKED)
    # Readings on no clock are no counter's looks in any case, so that they are none says nothing.
    other = alike and on_clock and echoed is not None and echoed > NO_ECHO
    same = alike and echoed is not None and echoed < ECHO
    if counter.is_part or (beats_scatter and not counter.sees_all):
        return "unknown" if other else "sensor"
    is_blunt = counter.window_seconds.doubt > (1 - PART) * counter.period_seconds
    if beats_scatter or readings is None or is_blunt:
        return "unknown"
    if same:
        return "unknown" if readings.is_part else "sensor"
    return "true power" if other or (alike and readings.is_part) else "unknown"
