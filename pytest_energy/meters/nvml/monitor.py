"""What would invalidate joules: sampled at a window's ends and, by a thread, in between."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import NamedTuple, TypeVar

from pytest_energy.clocks import real_time
from pytest_energy.meters.nvml.card import Card, DeviceLostError
from pytest_energy.meters.nvml.counter import Counter, stands_still
from pytest_energy.meters.process_tree import ProcessTree
from pytest_energy.meters.protocol import CLOCK_JUMP, FOREIGN, IMPLAUSIBLE, THROTTLED, fault

INTERVAL_SECONDS = 0.1
LONGEST_INTERVAL = 1.3
AFTER_TICK = 0.05
"""Looks come by this share of a period after a tick."""
COUNTER_LOOKS = 3
"""Every third look is at everything, the others are at the counters alone."""
FRESH_SECONDS = 1.5 * COUNTER_LOOKS * INTERVAL_SECONDS
"""How old the last look at everything may be; older than this, the thread was held up."""
REMEMBERED = 4096
SLOWDOWNS = {
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
CLOCK_RATIO = 1.3
DISAGREEMENT = 3.0
FEW_SAMPLES = 4


Source = TypeVar("Source", Card, Counter)


class Sample(NamedTuple):
    """One look at one card."""

    seconds: float
    domain: str
    watts: float | None
    reasons: int | None
    sm_megahertz: int | None


class Monitor:
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
        self._thread = threading.Thread(target=self._run, name="pytest-energy-monitor", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Look at every card now."""
        self._each(self._cards, self._record)

    def glance(self) -> None:
        """Look at what can change at any moment: who computes on the cards, and throttling."""
        self._each(self._cards, self._check)

    def faults_since(self, seconds: float) -> tuple[str, ...]:
        """What was wrong at any look since that time."""
        if not self._faults:
            return ()
        with self._lock:
            return tuple(text for text, last in self._faults.items() if last >= seconds)

    def samples_since(self, seconds: float) -> dict[str, list[Sample]]:
        """Looks at each card since that time by its domain, the latest first."""
        with self._lock:
            latest = list(takewhile(lambda look: look.seconds >= seconds, reversed(self._samples)))
        domains = [card.domain for card in self._cards]
        return {domain: [look for look in latest if look.domain == domain] for domain in domains}

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
        while not self._closed.wait(self._delay()):
            looks += 1
            self._each(self._counters, self._look_at_counter)
            if looks % COUNTER_LOOKS == 0:
                self.look()

    def _delay(self) -> float:
        """Until the next look (s), a moment after a tick: no window waits for one then."""
        clock = self._counters[0].clock if self._counters else None
        if clock is None or clock.period_seconds > INTERVAL_SECONDS * LONGEST_INTERVAL:
            return INTERVAL_SECONDS
        now = real_time.monotonic()
        # Nothing guards the clock: one that is being redrawn may tell a wrong time for once.
        due = clock.following(now + INTERVAL_SECONDS - 0.5 * clock.period_seconds)
        delay = due + AFTER_TICK * clock.period_seconds - now
        return min(max(delay, INTERVAL_SECONDS / 2), INTERVAL_SECONDS * LONGEST_INTERVAL)

    def _look_at_counter(self, counter: Counter) -> None:
        if still := stands_still(counter):
            self._found(still)

    def _each(self, sources: Iterable[Source], look_at: Callable[[Source], object]) -> None:
        for source in sources:
            try:
                look_at(source)
            except DeviceLostError as error:  # noqa: PERF203 - the others are looked at, too
                self._found(str(error))

    def _check(self, card: Card) -> int | None:
        """Find throttling and foreign processes; the reasons for the clocks."""
        reasons = card.event_reasons()
        for bit, slowdown in SLOWDOWNS.items():
            if reasons and reasons & bit:
                self._found(fault(THROTTLED, f"{slowdown} of `{card.domain}`"))
        for pid in self._tree.foreign(card.processes() or ()):
            self._found(fault(FOREIGN, f"{pid} computes on `{card.domain}`"))
        return reasons

    def _record(self, card: Card) -> None:
        reasons = self._check(card)
        limits = card.limits()
        for name, value in limits.items():
            if (before := self._limits[card.domain].get(name, value)) != value:
                change = f"{name} of `{card.domain}` went from {before} to {value}"
                self._found(fault(CLOCK_JUMP, change))
        self._limits[card.domain] = limits
        sample = Sample(
            real_time.monotonic(),
            card.domain,
            card.instant_watts(),
            reasons,
            card.sm_clock_megahertz(),
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
            self._faults[text] = real_time.monotonic()


def implausible(
    samples: Sequence[Sample], domain: str, mean_watts: float, limit_watts: float | None
) -> list[str]:
    """What the samples of a window say against its joules; `mean_watts` is the counter's figure."""
    watts = [look.watts for look in samples if look.watts is not None]
    told = [(reasons, clock) for *_, reasons, clock in samples if reasons is not None]
    capped = any(reasons & SOFTWARE_POWER_CAP for reasons, _ in told)
    # Where no other reason is given, the clocks are where the settings put them.
    clocks = [clock for reasons, clock in told if clock and not reasons & ~APPLICATION_CLOCKS]
    faults = []
    highest = max([mean_watts, *watts])
    if capped and limit_watts and highest < NORMAL_SHARE_OF_LIMIT * limit_watts:
        cap = f"software power cap of `{domain}` at {highest:.0f} W"
        faults.append(fault(THROTTLED, f"{cap}, far below its limit of {limit_watts:.0f} W"))
    if clocks and max(clocks) > CLOCK_RATIO * min(clocks):
        jump = f"SM clock of `{domain}` between {min(clocks)} and {max(clocks)} MHz"
        faults.append(fault(CLOCK_JUMP, f"{jump}, and no reason is given"))
    if len(watts) >= FEW_SAMPLES and not (
        min(watts) / DISAGREEMENT <= mean_watts <= max(watts) * DISAGREEMENT
    ):
        counted = f"the counter of `{domain}` says {mean_watts:.0f} W"
        readings = f"its power readings {min(watts):.0f} to {max(watts):.0f} W"
        faults.append(fault(IMPLAUSIBLE, f"{counted}, {readings}"))
    return faults
