"""One window over all visible cards: counters, integrators and what was seen beside them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from random import Random

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.meters.nvml.card import Card, DeviceLostError
from pytest_energy.meters.nvml.counter import Counter
from pytest_energy.meters.nvml.counter_span import (
    CardJoules,
    CounterSpan,
    aligned_spans,
    wait_for_ends,
)
from pytest_energy.meters.nvml.driver import require_power, visible_cards
from pytest_energy.meters.nvml.monitor import FRESH_SECONDS, Monitor, Sample, implausible
from pytest_energy.meters.nvml.part_time import Load, PartTime, Readings
from pytest_energy.meters.nvml.power_integrator import (
    SAMPLE_SECONDS,
    IntegratorSpan,
    PowerIntegrator,
)
from pytest_energy.meters.nvml.ticks import calibrate, look_at_rest_again
from pytest_energy.meters.nvml.two_powers import TwoPowers, in_window
from pytest_energy.meters.protocol import (
    MODULE_SCOPE,
    SOURCES_DISAGREE,
    Conditions,
    Device,
    Measured,
    Opened,
    PowerTrace,
    Reading,
    Unseen,
    fault,
    power_trace,
)
from pytest_energy.meters.sensors import Qualified, Sensor, sensor_for
from pytest_energy.outcomes import Method

SETTLING_SECONDS = 1.0
"""Before a second look; a card that was woken by the opening has come to rest by then."""
MOST_LOOKS = 3
CHANCE = Random()
"""Of its own: tests seed the common one, and sides of an A/B must not begin alike."""


class NvmlSpan:
    """A window that has begun: everything is aligned and marked when this is made."""

    def __init__(self, meter: NvmlMeter) -> None:
        self._meter, self._cards, self._monitor = meter, meter.cards, meter.monitor
        # What the thread saw last counts as seen at the beginning.
        self._monitored_since = real_time.monotonic() - FRESH_SECONDS
        self._counted = aligned_spans(meter.counters, CHANCE.random())
        self._integrated = [IntegratorSpan(integrator) for integrator in meter.integrators]
        self._parts: tuple[CounterSpan | IntegratorSpan, ...] = (*self._counted, *self._integrated)
        self.work_started(real_time.monotonic())
        self._monitor.work_started()

    def work_started(self, started: float) -> None:
        """Leave out what lies before `started`, which is now; the ticks stay those that were."""
        self.started = started
        for part in self._parts:
            part.work_started(started)

    def end(self, ended: float) -> Measured:
        """Joules of the work, which ended a moment ago; waits for the counters' next ticks."""
        for part in self._parts:
            part.work_ended(ended)
        self._monitor.work_ended()
        self._monitor.glance()
        wait_for_ends(self._counted)
        found = {part.domain: part.result() for part in self._parts}
        notes = self._monitor.notes()
        notes["waited_seconds"] = real_time.monotonic() - ended
        if self._counted:
            periods = [span.counter.period_seconds for span in self._counted]
            notes["update_period_seconds"] = max(periods)
        samples = self._monitor.samples_since(self._monitored_since)
        faults = [card.fault for card in found.values()]
        faults += [self._compared(span, ended, notes) for span in self._counted]
        faults += self._monitor.faults_since(self._monitored_since)
        for card in self._cards:
            mean_watts = found[card.domain].joules / max(ended - self.started, 1e-6)
            faults += implausible(samples[card.domain], card.device, mean_watts)
        return Measured(
            {card.domain: found[card.domain].joules for card in self._cards},
            sum([card.uncertainty_joules for card in found.values()]),
            tuple(dict.fromkeys([each for each in faults if each is not None])),
            notes,
            partial(self._power, samples, ended),
            partial(self._unseen, found, ended),
        )

    def _unseen(
        self, found: Mapping[str, CardJoules], ended: float, step_seconds: float | None
    ) -> Unseen:
        """What the cards' sensors did not see, all together."""
        seconds, joules, faults = max(ended - self.started, 1e-6), 0.0, []
        for part in self._parts:
            card = self._meter.part_time[part.domain]
            if isinstance(part, CounterSpan):
                card.renewed_every(part.counter.period_seconds)
            watts = found[part.domain].joules / seconds
            most_watts = _most_watts(self._meter.by_domain[part.domain], part.rest_watts)
            load = Load(watts, part.rest_watts, seconds, most_watts)
            when = SAMPLE_SECONDS / 2 if isinstance(part, IntegratorSpan) else 0.0
            unseen = card.unseen(load, self._looks(part, ended), step_seconds, when)
            joules += unseen.joules
            faults += [unseen.fault] if unseen.fault else []
            if unseen.remark:
                self._meter.remark(f"{part.domain} steps", f"`{part.domain}`: {unseen.remark}")
        return Unseen(joules, "; ".join(faults) or None)

    def _looks(self, part: CounterSpan | IntegratorSpan, ended: float) -> Readings:
        """What a card's sensor saw of the work, once it drew what it draws."""
        card = self._meter.part_time[part.domain]
        if isinstance(part, IntegratorSpan):
            seen = part.looks()
        elif part.counter.card.is_sharp():
            looks = self._monitor.looks_between(self.started, ended, part.domain)
            seen = [(part.counter.renewed_before(look.seconds), look.watts) for look in looks]
        else:
            seen = []
        since = self.started + card.sensor.lag_seconds + max(card.sensor[:2])
        return [(at - self.started, watts) for at, watts in seen if since <= at <= ended]

    def _power(self, samples: dict[str, list[Sample]], ended: float) -> dict[str, PowerTrace]:
        seen = {
            domain: [(at, watts) for at, watts, *_ in reversed(looks) if watts is not None]
            for domain, looks in samples.items()
        }
        seen |= {span.domain: span.power() for span in self._integrated}
        traces = {name: power_trace(points, self.started, ended) for name, points in seen.items()}
        return {domain: trace for domain, trace in traces.items() if trace}

    def _compared(self, span: CounterSpan, ended: float, notes: dict[str, float]) -> str | None:
        """Hold a counter against its card's power readings: a fault if one of them must be wrong.

        If they are further apart than known sensors, a note has their ratio, and a person is told.
        In a window alone, a load that swings in step with the sensor may look the same; at rest
        none swings. A window too short to tell is as the card was at rest.
        """
        counter, card, domain = span.counter, span.counter.card, span.domain
        looks = self._monitor.looks_between(self.started, ended, domain)
        sharp = card.is_sharp()
        powers = in_window(looks, self.started, counter.period_seconds, sharp=sharp)
        where = "in this window and at rest"
        if powers is None:
            powers, where = counter.at_rest, "at rest"
        elif not powers.agree:
            powers = powers.closer(card.mean_watts())
        if powers is None or powers.agree:
            return None
        notes[f"{domain} counter_to_readings"] = powers.ratio
        self._meter.disagree(domain, "in a window", powers)
        if counter.at_rest is None or not powers.excess == counter.at_rest.excess != 0:
            return None
        said = f"{where} the counter of `{domain}` says {powers}"
        return fault(SOURCES_DISAGREE, f"{said}; {_CHECK}")


def _most_watts(device: Device, rest_watts: float) -> float:
    """What it may draw (W): a module what it draws at rest, and its GPU's limit besides."""
    if device.joules_limit_watts is None and device.power_limit_watts:
        return rest_watts + device.power_limit_watts
    return device.most_watts


_CHECK = "see that the driver is a recent one, and compare with a wall meter"


class NvmlMeter:
    """Cumulative joules of every GPU that CUDA would see, one domain each.

    `qualified` is what experiments found of cards, by UUID; others go by what is published.
    """

    name = "nvml"

    def __init__(self, qualified: Mapping[str, Qualified] | None = None) -> None:
        self.qualified: Mapping[str, Qualified] = qualified or {}
        self.sensors: dict[str, str] = {}
        """How each card's sensor looks and where that comes from, by domain."""
        self.part_time: dict[str, PartTime] = {}
        self._remarks: dict[str, str] = {}
        with ExitStack() as opened:
            self.cards = visible_cards(opened)
            self.counters = calibrate([Counter(c) for c in self.cards if c.has_counter()])
            counted = {counter.domain for counter in self.counters}
            for counter in self.counters:
                sensor = self._sensor_of(counter.card, counter)
                self.part_time[counter.domain].renewed_every(counter.period_seconds)
                counter.sees_all = sensor.sees_all
                counter.lag_seconds = sensor.lag_seconds
                counter.lag_doubt_seconds = sensor.lag_doubt_seconds
            uncounted = [card for card in self.cards if card.domain not in counted]
            require_power(uncounted)
            self.integrators: list[PowerIntegrator] = []
            for card in uncounted:
                self.integrators.append(PowerIntegrator(card, self._sensor_of(card)))
                opened.callback(self.integrators[-1].close)
            self.monitor = Monitor(self.cards, self.counters)
            opened.callback(self.monitor.close)
            self._resources = opened.pop_all()
        self.devices: tuple[Device, ...] = tuple(card.device for card in self.cards)
        self.by_domain = {device.domain: device for device in self.devices}
        self.method: Method = "integrated" if uncounted else "counter"
        periods = [counter.period_seconds for counter in self.counters]
        self.update_period_seconds = max(periods, default=SAMPLE_SECONDS)
        self.resolution_joules = 0.001
        self._open = Opened(self.name)
        self._looks_left = MOST_LOOKS

    def _sensor_of(self, card: Card, counter: Counter | None = None) -> Sensor:
        """The sensor that a card's joules go by, which is kept with what is said of it."""
        period = counter.period_seconds if counter is not None and counter.clock else None
        found = self.qualified.get(card.device.uuid or "")
        known = sensor_for(card.device, found, counted=counter is not None, period_seconds=period)
        readings = sensor_for(card.device, found, counted=False).sensor
        self.part_time[card.domain] = PartTime(known.sensor, readings.window_seconds)
        self.sensors[card.domain] = known.told
        if known.remark:
            self.remark(f"{card.domain} qualified", known.remark)
        return known.sensor

    def read(self) -> Reading:
        """Cumulative joules of each GPU since the meter was opened (J)."""
        self._open.check()
        sources: tuple[Counter | PowerIntegrator, ...] = (*self.counters, *self.integrators)
        found = {source.domain: source.joules() for source in sources}
        for source in sources:
            if source.lost is not None:
                raise DeviceLostError(source.lost)
        return Reading(
            real_time.monotonic(), {card.domain: found[card.domain] for card in self.cards}
        )

    def conditions(self) -> Conditions:
        """What is wrong with the GPUs now, and their temperatures and clocks."""
        self._open.check()
        now = real_time.monotonic()
        self.monitor.look()
        return Conditions(self.monitor.faults_since(now), self.monitor.notes())

    def unused(self) -> tuple[str, ...]:
        """Domains of the GPUs on which no process of ours computes now, if that can be told."""
        self._open.check()
        return self.monitor.unused()

    def begin(self) -> NvmlSpan:
        """Begin a window on the counters' next tick."""
        self._open.check()
        self._look_at_rest_again()
        return NvmlSpan(self)

    def _look_at_rest_again(self) -> None:
        """If sources disagreed when the meter opened, see whether they do now; no window is open.

        The load may have swung then. So only what was seen twice is told.
        """
        apart = [counter for counter in self.counters if counter.apart_at_rest is not None]
        if not apart or not self._looks_left:
            return
        self._looks_left -= 1
        real_time.sleep(SETTLING_SECONDS)
        with suppress(DeviceLostError):  # the window says it
            look_at_rest_again(apart)
        for counter in apart:
            if counter.at_rest is not None and not counter.at_rest.agree:
                self.disagree(counter.domain, "at rest", counter.at_rest)

    def disagree(self, domain: str, where: str, powers: TwoPowers) -> None:
        """Keep that a card's counter and readings are apart."""
        self.remark(
            f"{domain} sources",
            f"{where} the counter of `{domain}` says {powers}, which is further apart than both "
            f"should be, so joules of this card may be wrong; {_CHECK}",
        )

    def remark(self, what: str, text: str) -> None:
        """Keep what a person should know; the first remark on it is enough."""
        self._remarks.setdefault(what, text)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know of the figures: sources that differ, checks left out.

        May look at the cards for some seconds if no window was begun; not to be asked in one.
        """
        with suppress(EnergyError):  # closed: what is known by now
            self._open.check()
            self._look_at_rest_again()
        modules = [
            f"`{card.domain}` ({card.device.name}): the driver counts joules of {MODULE_SCOPE} "
            "together; they are not the GPU's alone, and a CPU meter's must not be added"
            for card in self.cards
            if card.is_module
        ]
        untold = [sentence for card in self.cards for sentence in card.untold()]
        return (*modules, *self._remarks.values(), *untold)

    def close(self) -> None:
        """Stop the threads and release the driver; a second call does nothing."""
        if self._open.close():
            self._resources.close()


def probe() -> tuple[Method, str]:
    """How the visible GPUs would be metered; `MeterUnavailableError` says why they cannot be."""
    with ExitStack() as opened:
        cards = visible_cards(opened)
        uncounted = [card for card in cards if not card.has_counter()]
        require_power(uncounted)
        names = ", ".join(f"{card.domain} {card.device.shown}" for card in cards)
    if uncounted:
        return "integrated", f"power of {names}, integrated in the background"
    return "counter", f"energy counter of {names}"
