"""Joules of NVIDIA GPUs: the energy counter where there is one, integrated power where not."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from pytest_energy.errors import EnergyError, MeterUnavailableError
from pytest_energy.meters.nvml.card import DeviceLostError
from pytest_energy.meters.nvml.counter import Counter
from pytest_energy.meters.nvml.learning import learn, observe, tune
from pytest_energy.meters.nvml.power import SAMPLE_SECONDS, Integrator
from pytest_energy.meters.nvml.visible import initialised_driver, require_power, visible_cards
from pytest_energy.meters.nvml.watch import Watch
from pytest_energy.meters.nvml.window import NvmlSpan
from pytest_energy.meters.protocol import Conditions, Device, Method, Reading

RESOLUTION_JOULES = 0.001


class NvmlMeter:
    """Cumulative joules of every GPU that CUDA would see, one domain each."""

    name = "nvml"

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._nvml = initialised_driver()
        try:
            self._cards = visible_cards(self._nvml, environment)
            self._counters = _ticking_counters([Counter(c) for c in self._cards if c.has_counter()])
            counted = {counter.domain for counter in self._counters}
            uncounted = [card for card in self._cards if card.domain not in counted]
            for card in uncounted:
                require_power(card)
        except EnergyError as error:
            self._nvml.nvmlShutdown()
            if isinstance(error, DeviceLostError):
                raise MeterUnavailableError(f"meter `nvml`: {error}") from None
            raise
        self._integrators = [Integrator(card) for card in uncounted]
        self.devices: tuple[Device, ...] = tuple(card.device for card in self._cards)
        self.method: Method = "integrated" if uncounted else "counter"
        self.update_period_seconds = max(
            (counter.period_seconds for counter in self._counters), default=SAMPLE_SECONDS
        )
        self.resolution_joules = RESOLUTION_JOULES
        self._watch = Watch(self._cards, self._counters)
        self._closed = False

    def read(self) -> Reading:
        """Cumulative joules of each GPU since the meter was opened (J)."""
        self._check_open()
        sources: dict[str, Counter | Integrator] = {c.domain: c for c in self._counters}
        sources |= {integrator.domain: integrator for integrator in self._integrators}
        joules = {card.domain: sources[card.domain].joules() for card in self._cards}
        lost = [source.lost for source in sources.values() if source.lost is not None]
        if lost:
            raise DeviceLostError(lost[0])
        return Reading(time.monotonic(), joules)

    def conditions(self) -> Conditions:
        """What is wrong with the GPUs now, and their temperatures and clocks."""
        self._check_open()
        now = time.monotonic()
        self._watch.look()
        return Conditions(self._watch.faults_since(now), self._watch.notes())

    def begin(self) -> NvmlSpan:
        """Begin a window on the counters' next tick."""
        self._check_open()
        return NvmlSpan(self._cards, self._counters, self._integrators, self._watch)

    def close(self) -> None:
        """Stop the threads and release the driver; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._watch.close()
        for integrator in self._integrators:
            integrator.close()
        self._nvml.nvmlShutdown()

    def _check_open(self) -> None:
        if self._closed:
            raise EnergyError("meter `nvml` is closed: open another one")


def probe() -> tuple[Method, str]:
    """How the visible GPUs would be metered; `MeterUnavailableError` says why they cannot be."""
    nvml = initialised_driver()
    try:
        cards = visible_cards(nvml, os.environ)
        uncounted = [card for card in cards if not card.has_counter()]
        for card in uncounted:
            require_power(card)
        names = ", ".join(f"{card.domain} {card.device.name}" for card in cards)
    finally:
        nvml.nvmlShutdown()
    if uncounted:
        return "integrated", f"power of {names}, integrated in the background"
    return "counter", f"energy counter of {names}"


def _ticking_counters(counters: list[Counter]) -> list[Counter]:
    """Those that were seen to move, with what was learned about them."""
    seen = observe(counters)
    for counter in counters:
        learn(counter, seen[counter.domain])
    tune(counters)
    return [counter for counter in counters if seen[counter.domain].ticks]
