"""One window over all visible cards: counters, integrators and what was seen beside them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError, MeterUnavailableError
from pytest_energy.meters.nvml.card import DeviceLostError
from pytest_energy.meters.nvml.counter import RESOLUTION_JOULES, Counter
from pytest_energy.meters.nvml.counter_span import (
    CardJoules,
    CounterSpan,
    aligned_spans,
    wait_for_ends,
)
from pytest_energy.meters.nvml.monitor import FRESH_SECONDS, Monitor, Sample, implausible
from pytest_energy.meters.nvml.power_integrator import (
    SAMPLE_SECONDS,
    IntegratorSpan,
    PowerIntegrator,
)
from pytest_energy.meters.nvml.ticks import calibrate
from pytest_energy.meters.nvml.visible import initialised_driver, require_power, visible_cards
from pytest_energy.meters.protocol import (
    Conditions,
    Device,
    Measured,
    PowerTrace,
    Reading,
    power_trace,
)
from pytest_energy.outcomes import Method


class NvmlSpan:
    """A window that has begun: everything is aligned and marked when this is made."""

    def __init__(self, meter: NvmlMeter) -> None:
        self._cards, self._monitor = meter.cards, meter.monitor
        # What the thread saw last counts as seen at the beginning.
        self._monitored_since = real_time.monotonic() - FRESH_SECONDS
        self._counted = aligned_spans(meter.counters)
        self._integrated = [IntegratorSpan(integrator) for integrator in meter.integrators]
        self._parts: tuple[CounterSpan | IntegratorSpan, ...] = (*self._counted, *self._integrated)
        self.work_started(real_time.monotonic())

    def work_started(self, started: float) -> None:
        """Leave out what lies before `started`, which is now; the ticks stay those that were."""
        self.started = started
        for part in self._parts:
            part.work_started(started)

    def end(self, ended: float) -> Measured:
        """Joules of the work, which ended a moment ago; waits for the counters' next ticks."""
        for part in self._parts:
            part.work_ended(ended)
        self._monitor.glance()
        wait_for_ends(self._counted)
        found = {part.domain: part.result() for part in self._parts}
        notes = self._monitor.notes()
        notes["waited_seconds"] = real_time.monotonic() - ended
        if self._counted:
            periods = [span.counter.period_seconds for span in self._counted]
            notes["update_period_seconds"] = max(periods)
        samples = self._monitor.samples_since(self._monitored_since)
        return Measured(
            {card.domain: found[card.domain].joules for card in self._cards},
            sum([card.uncertainty_joules for card in found.values()]),
            tuple(self._faults(found, samples, ended)),
            notes,
            partial(self._power, samples, ended),
        )

    def _power(self, samples: dict[str, list[Sample]], ended: float) -> dict[str, PowerTrace]:
        seen = {
            domain: [(at, watts) for at, _, watts, *_ in reversed(looks) if watts is not None]
            for domain, looks in samples.items()
        }
        seen |= {span.domain: span.power() for span in self._integrated}
        traces = {name: power_trace(points, self.started, ended) for name, points in seen.items()}
        return {domain: trace for domain, trace in traces.items() if trace}

    def _faults(
        self, found: Mapping[str, CardJoules], samples: dict[str, list[Sample]], ended: float
    ) -> list[str]:
        faults = [found[card.domain].fault for card in self._cards]
        faults += self._monitor.faults_since(self._monitored_since)
        seconds = max(ended - self.started, 1e-6)
        for card in self._cards:
            mean_watts = found[card.domain].joules / seconds
            limit_watts = card.device.power_limit_watts
            faults += implausible(samples[card.domain], card.domain, mean_watts, limit_watts)
        return list(dict.fromkeys([fault for fault in faults if fault is not None]))


class NvmlMeter:
    """Cumulative joules of every GPU that CUDA would see, one domain each."""

    name = "nvml"

    def __init__(self) -> None:
        self._nvml = initialised_driver()
        try:
            self.cards = visible_cards(self._nvml)
            self.counters = calibrate([Counter(c) for c in self.cards if c.has_counter()])
            counted = {counter.domain for counter in self.counters}
            uncounted = [card for card in self.cards if card.domain not in counted]
            require_power(uncounted)
        except EnergyError as error:
            self._nvml.nvmlShutdown()
            if isinstance(error, DeviceLostError):
                raise MeterUnavailableError(f"meter `nvml`: {error}") from None
            raise
        self.integrators = [PowerIntegrator(card) for card in uncounted]
        self.devices: tuple[Device, ...] = tuple(card.device for card in self.cards)
        self.method: Method = "integrated" if uncounted else "counter"
        periods = [counter.period_seconds for counter in self.counters]
        self.update_period_seconds = max(periods, default=SAMPLE_SECONDS)
        self.resolution_joules = RESOLUTION_JOULES
        self.monitor = Monitor(self.cards, self.counters)
        self._closed = False

    def read(self) -> Reading:
        """Cumulative joules of each GPU since the meter was opened (J)."""
        self._check_open()
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
        self._check_open()
        now = real_time.monotonic()
        self.monitor.look()
        return Conditions(self.monitor.faults_since(now), self.monitor.notes())

    def begin(self) -> NvmlSpan:
        """Begin a window on the counters' next tick."""
        self._check_open()
        return NvmlSpan(self)

    def close(self) -> None:
        """Stop the threads and release the driver; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self.monitor.close()
        for integrator in self.integrators:
            integrator.close()
        self._nvml.nvmlShutdown()

    def _check_open(self) -> None:
        if self._closed:
            raise EnergyError("meter `nvml` is closed: open another one")


def probe() -> tuple[Method, str]:
    """How the visible GPUs would be metered; `MeterUnavailableError` says why they cannot be."""
    nvml = initialised_driver()
    try:
        cards = visible_cards(nvml)
        uncounted = [card for card in cards if not card.has_counter()]
        require_power(uncounted)
        names = ", ".join(f"{card.domain} {card.device.name}" for card in cards)
    finally:
        nvml.nvmlShutdown()
    if uncounted:
        return "integrated", f"power of {names}, integrated in the background"
    return "counter", f"energy counter of {names}"
