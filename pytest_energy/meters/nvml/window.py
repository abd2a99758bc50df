"""One window over all visible cards: counters, integrators and what was seen beside them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

from pytest_energy.meters.nvml.card import Card
from pytest_energy.meters.nvml.counter import Counter
from pytest_energy.meters.nvml.power import Integrator, IntegratorSpan
from pytest_energy.meters.nvml.span import CardJoules, CounterSpan
from pytest_energy.meters.nvml.watch import FRESH_SECONDS, Sample, Watch, implausible
from pytest_energy.meters.power_trace import power_trace
from pytest_energy.meters.protocol import Measured, PowerTrace


class NvmlSpan:
    """A window that has begun: everything is aligned and marked when this is made."""

    def __init__(
        self,
        cards: Sequence[Card],
        counters: Sequence[Counter],
        integrators: Sequence[Integrator],
        watch: Watch,
    ) -> None:
        self._cards = cards
        self._counters = counters
        self._watch = watch
        # What the thread saw last counts as seen at the beginning.
        self._watched_since = time.monotonic() - FRESH_SECONDS
        self._counted = CounterSpan(counters)
        self._integrated = [IntegratorSpan(integrator) for integrator in integrators]
        self.started = time.monotonic()
        self._counted.work_started(self.started)
        for span in self._integrated:
            span.work_started(self.started)

    def work_started(self, started: float) -> None:
        """Leave out what lies before `started`, which is now; the ticks stay those that were."""
        self.started = started
        self._counted.work_started_later(started)
        for span in self._integrated:
            span.work_started(started)

    def end(self, ended: float) -> Measured:
        """Joules of the work, which ended a moment ago; waits for the counters' next ticks."""
        self._counted.work_ended(ended)
        for span in self._integrated:
            span.work_ended(ended)
        self._watch.glance()
        found = self._counted.end()
        for span in self._integrated:
            found[span.domain] = span.end()
        notes = self._watch.notes()
        notes["waited_seconds"] = time.monotonic() - ended
        if self._counters:
            periods = [counter.period_seconds for counter in self._counters]
            notes["update_period_seconds"] = max(periods)
        samples = {
            card.domain: self._watch.samples_since(self._watched_since, card.domain)
            for card in self._cards
        }
        return Measured(
            {card.domain: found[card.domain].joules for card in self._cards},
            sum([card.uncertainty_joules for card in found.values()]),
            tuple(self._faults(found, samples, ended)),
            notes,
            partial(self._power, samples, ended),
        )

    def _power(self, samples: dict[str, list[Sample]], ended: float) -> dict[str, PowerTrace]:
        seen = {
            domain: [
                (look.seconds, look.watts) for look in reversed(looks) if look.watts is not None
            ]
            for domain, looks in samples.items()
        }
        seen |= {span.domain: span.power() for span in self._integrated}
        traces = {
            domain: power_trace(points, self.started, ended) for domain, points in seen.items()
        }
        return {domain: trace for domain, trace in traces.items() if trace}

    def _faults(
        self, found: Mapping[str, CardJoules], samples: dict[str, list[Sample]], ended: float
    ) -> list[str]:
        faults = [found[card.domain].fault for card in self._cards]
        faults += self._watch.faults_since(self._watched_since)
        seconds = max(ended - self.started, 1e-6)
        for card in self._cards:
            mean_watts = found[card.domain].joules / seconds
            limit_watts = card.device.power_limit_watts
            faults += implausible(samples[card.domain], card.domain, mean_watts, limit_watts)
        return list(dict.fromkeys([fault for fault in faults if fault is not None]))
