"""What would invalidate joules: sampled at a window's ends and, by a thread, in between."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_energy.meters.nvml.card import Card, DeviceLostError
from pytest_energy.meters.nvml.counter import Counter, stands_still
from pytest_energy.meters.processes import ProcessTree

INTERVAL_SECONDS = 0.1
COUNTER_LOOKS = 3
"""Looks at the counters alone between two looks at everything."""
REMEMBERED = 4096
THROTTLED = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""NVML's clocks-event reasons that make joules incomparable."""
SOFTWARE_POWER_CAP = 0x04
NORMAL_SHARE_OF_LIMIT = 0.8
"""A card that the driver holds at its power limit draws about that; well below it, it is not."""
APPLICATION_CLOCKS = 0x02
CLOCK_JUMP = 1.3
DISAGREEMENT = 3.0
FEW_SAMPLES = 4


@dataclass(frozen=True)
class Sample:
    """One look at one card."""

    seconds: float
    domain: str
    watts: float | None
    reasons: int | None
    sm_megahertz: int | None


class Watch:
    """Looks at the cards some times a second and keeps what was wrong, with its time."""

    def __init__(self, cards: Sequence[Card], counters: Sequence[Counter]) -> None:
        self._cards = cards
        self._counters = counters
        self._tree = ProcessTree()
        self._limits = {card.domain: card.limits() for card in cards}
        self._faults: dict[str, float] = {}
        self._notes: dict[str, float] = {}
        self._samples: deque[Sample] = deque(maxlen=REMEMBERED)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pytest-energy-watch", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Look at every card now."""
        for card in self._cards:
            self._look_at(card)

    def faults_since(self, seconds: float) -> tuple[str, ...]:
        """What was wrong at any look since that time."""
        with self._lock:
            return tuple(text for text, last in self._faults.items() if last >= seconds)

    def samples_since(self, seconds: float, domain: str) -> list[Sample]:
        """Looks at one card since that time."""
        with self._lock:
            return [s for s in self._samples if s.seconds >= seconds and s.domain == domain]

    def notes(self) -> dict[str, float]:
        """Temperatures and clocks as they were at the last looks, by name with unit."""
        with self._lock:
            return dict(self._notes)

    def close(self) -> None:
        """Stop the thread."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        looks = 0
        while not self._closed.wait(INTERVAL_SECONDS):
            looks += 1
            for counter in self._counters:
                self._look_at_counter(counter)
            if looks % COUNTER_LOOKS == 0:
                self.look()

    def _look_at_counter(self, counter: Counter) -> None:
        try:
            fault = stands_still(counter)
        except DeviceLostError as error:
            fault = str(error)
        if fault is not None:
            self._found(fault)

    def _look_at(self, card: Card) -> None:
        try:
            self._record(card)
        except DeviceLostError as error:
            self._found(str(error))

    def _record(self, card: Card) -> None:
        reasons = card.event_reasons()
        for bit, word in THROTTLED.items():
            if (reasons or 0) & bit:
                self._found(f"throttled: {word} of `{card.domain}`")
        for pid in self._tree.foreign(card.processes() or ()):
            self._found(f"foreign process: {pid} computes on `{card.domain}`")
        limits = card.limits()
        for name, value in limits.items():
            before = self._limits[card.domain].get(name, value)
            if value != before:
                self._found(f"clock jump: {name} of `{card.domain}` went from {before} to {value}")
        self._limits[card.domain] = limits
        sample = Sample(
            time.monotonic(), card.domain, card.instant_watts(), reasons, card.sm_clock_megahertz()
        )
        noted = {
            f"{card.domain} temperature_celsius": card.temperature_celsius(),
            f"{card.domain} sm_megahertz": sample.sm_megahertz,
        }
        with self._lock:
            self._samples.append(sample)
            self._notes.update({k: float(v) for k, v in noted.items() if v is not None})

    def _found(self, text: str) -> None:
        with self._lock:
            self._faults[text] = time.monotonic()


def implausible(
    samples: Sequence[Sample], domain: str, mean_watts: float, limit_watts: float | None
) -> list[str]:
    """What the samples of a window say against its joules; `mean_watts` is the counter's figure."""
    faults = []
    watts = [sample.watts for sample in samples if sample.watts is not None]
    highest = max([mean_watts, *watts])
    capped = any((sample.reasons or 0) & SOFTWARE_POWER_CAP for sample in samples)
    if capped and limit_watts and highest < NORMAL_SHARE_OF_LIMIT * limit_watts:
        faults.append(
            f"throttled: software power cap of `{domain}` at {highest:.0f} W, "
            f"far below its limit of {limit_watts:.0f} W"
        )
    free = [s.sm_megahertz for s in samples if s.sm_megahertz and _unconstrained(s.reasons)]
    if len(free) > 1 and max(free) > CLOCK_JUMP * min(free):
        faults.append(
            f"clock jump: SM clock of `{domain}` between {min(free)} and {max(free)} MHz, "
            "and no reason is given"
        )
    if len(watts) >= FEW_SAMPLES and not (
        min(watts) / DISAGREEMENT <= mean_watts <= max(watts) * DISAGREEMENT
    ):
        faults.append(
            f"implausible: the counter of `{domain}` says {mean_watts:.0f} W, "
            f"its power readings {min(watts):.0f} to {max(watts):.0f} W"
        )
    return faults


def _unconstrained(reasons: int | None) -> bool:
    """Whether the clocks are where the settings put them: neither idle, nor held back."""
    return reasons is not None and not reasons & ~APPLICATION_CLOCKS
