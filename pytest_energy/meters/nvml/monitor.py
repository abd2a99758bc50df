"""What would make joules invalid: sampled at a window's ends and, by a thread, in between."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import NamedTuple, TypeVar

from pytest_energy.clocks import real_time
from pytest_energy.meters.nvml.card import POWER_LIMIT, Card, DeviceLostError
from pytest_energy.meters.nvml.counter import Counter, stands_still
from pytest_energy.meters.nvml.two_powers import Look
from pytest_energy.meters.process_tree import ProcessTree, program_name
from pytest_energy.meters.protocol import (
    CLOCK_JUMP,
    FOREIGN,
    LIMIT_CHANGED,
    NOT_WATCHED,
    THROTTLED,
    Device,
    fault,
)
from pytest_energy.text import named

INTERVAL_SECONDS = 0.1
LONGEST_INTERVAL = 1.5
AFTER_TICK = 0.05
LONGEST_AFTER_TICK = 0.5
"""Looks come by such a share of a period after a tick, another one each time: a load may swing."""
GOLDEN = 0.618
"""Multiples of it, less their whole part, fill 0 to 1 evenly."""
COUNTER_LOOKS = 3
"""Every third look is at everything; the others, while work is metered, at the counters alone."""
EVERYTHING_SECONDS = COUNTER_LOOKS * INTERVAL_SECONDS
FRESH_SECONDS = LONGEST_INTERVAL * EVERYTHING_SECONDS
"""How old the last look at everything may be; older than this, the thread was held up."""
STALLED_SECONDS = 3.0
"""A window that nothing looked into for so long may hold anything."""
CLOSING_SECONDS = 2.0
"""How long a thread that hangs in the driver is waited for."""
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
NAMED = 3
"""So many foreign processes are named at once."""
NO_PROCESS = 0xFFFFFFFF
"""What drivers give in place of a process id that they do not know."""


Source = TypeVar("Source", Card, Counter)
Seen = TypeVar("Seen", "Sample", Look)


class Sample(NamedTuple):
    """One look at one card."""

    seconds: float
    watts: float | None
    reasons: int | None
    sm_megahertz: int | None


def _since(seconds: float, looks: deque[Seen]) -> list[Seen]:
    """Those of a card's looks that are no older (s), the latest first."""
    return list(takewhile(lambda look: look.seconds >= seconds, reversed(looks)))


class Monitor:
    """Looks at the cards some times a second and keeps what was wrong, with its time."""

    def __init__(self, cards: Sequence[Card], counters: Sequence[Counter]) -> None:
        self._cards = cards
        self._counters = counters
        self._tree = ProcessTree()
        self._limits = {card.domain: card.limits() for card in cards}
        self._programs: dict[int, str] = {}
        self._faults: dict[str, float] = {}
        self._notes: dict[str, float] = {}
        self._samples: dict[str, deque[Sample]] = {
            card.domain: deque(maxlen=REMEMBERED) for card in cards
        }
        self._looks: dict[str, deque[Look]] = {
            counter.domain: deque(maxlen=REMEMBERED) for counter in counters
        }
        self._looked = real_time.monotonic()
        self._overdue = (0.0, 0.0)
        """The last look that was seen to be old, and when it first was (s)."""
        self._ended = ""
        self._share = 0.0
        self._next_look = 0.0
        self._works = 0
        """How many windows there are whose work goes on."""
        self._is_closed = False
        self._lock = threading.Lock()
        # Wakes the thread when it is released; an event would cost more than what is looked at.
        self._alarm = threading.Lock()
        self._alarm.acquire()
        self._thread = threading.Thread(target=self._run, name="pytest-energy-monitor", daemon=True)
        self._thread.start()

    def work_started(self) -> None:
        """Look oftener from now on."""
        with self._lock:
            self._works += 1
        if self._next_look > real_time.monotonic() + INTERVAL_SECONDS * LONGEST_INTERVAL:
            self._wake()

    def work_ended(self) -> None:
        """Look as seldom as before, unless other windows' work goes on."""
        with self._lock:
            self._works -= 1

    def look(self) -> None:
        """Look at every card now."""
        self._each(self._cards, self._record)

    def glance(self) -> None:
        """Look at what can change at any moment: who computes on the cards, and throttling."""
        self._each(self._cards, self._check)

    def faults_since(self, seconds: float) -> tuple[str, ...]:
        """What was wrong at any look since that time, or that nobody looks any more."""
        if not self._thread.is_alive():
            self._unwatched(f"the thread that looks for faults has ended{self._ended}")
        elif self._is_held_up(seconds):
            self._unwatched("the thread that looks for faults is held up")
        if not self._faults:
            return ()
        with self._lock:
            return tuple(text for text, last in self._faults.items() if last >= seconds)

    def _is_held_up(self, seconds: float) -> bool:
        """Whether the thread has not looked for long although others ran, such as who asks."""
        now, looked = real_time.monotonic(), self._looked
        if now - looked <= STALLED_SECONDS:
            return False
        if self._overdue[0] != looked:
            self._overdue = (looked, now)
        # What holds all threads up at once is over then, and this one needs a while to look again.
        running_since = min(self._overdue[1], seconds + FRESH_SECONDS)
        return now - running_since > FRESH_SECONDS

    def samples_since(self, seconds: float) -> dict[str, list[Sample]]:
        """Looks at each card since that time by its domain, the latest first."""
        with self._lock:
            return {domain: _since(seconds, looks) for domain, looks in self._samples.items()}

    def looks_between(self, start: float, end: float, domain: str) -> list[Look]:
        """A counter's joules beside its card's power readings between two times."""
        with self._lock:
            latest = _since(start, self._looks[domain])
        return [look for look in reversed(latest) if look.seconds <= end]

    def unused(self) -> tuple[str, ...]:
        """Domains of the cards on which no process of ours computes now, if that can be told."""
        listed = {card.domain: card.processes() for card in self._cards}
        used = {domain for domain, pids in listed.items() if self._tree.has_any(pids or ())}
        # A driver that lists other ids than ours, or none, may hide us.
        hidden = None in listed.values() or (not used and self._tree.cuda_users() > 0)
        return () if hidden else tuple(domain for domain in listed if domain not in used)

    def notes(self) -> dict[str, float]:
        """Temperatures and clocks as they were at the last looks, by name with unit."""
        with self._lock:
            return dict(self._notes)

    def close(self) -> None:
        """Stop the thread."""
        self._is_closed = True
        self._wake()
        self._thread.join(CLOSING_SECONDS)

    def _wake(self) -> None:
        with suppress(RuntimeError):  # it is awake
            self._alarm.release()

    def _run(self) -> None:
        try:
            while not self._is_closed:
                if not self._alarm.acquire(timeout=self._delay()):
                    self._look_if_due()
        except BaseException as error:  # whatever it was, windows have to say it
            self._ended = f" ({named(error)})"

    def _look_if_due(self) -> None:
        since = real_time.monotonic() - self._looked
        is_due = since > EVERYTHING_SECONDS - INTERVAL_SECONDS / 2
        if self._works or is_due:
            self._each(self._counters, self._look_at_counter)
        if is_due:
            self.look()
            now = real_time.monotonic()
            if (blind := now - self._looked) > STALLED_SECONDS:
                # A window that begins later than this was not blind for long.
                why = f"nobody looked at the cards for {blind:.0f} s"
                self._unwatched(why, now - STALLED_SECONDS)
            self._looked = now

    def _delay(self) -> float:
        """Until the next look (s)."""
        self._share = (self._share + GOLDEN) % 1.0
        now = real_time.monotonic()
        rest = 0.0 if self._works else self._looked + EVERYTHING_SECONDS - INTERVAL_SECONDS - now
        delay = max(0.0, rest) + self._interval(now + max(0.0, rest))
        self._next_look = now + delay
        return delay

    def _interval(self, now: float) -> float:
        """From a time to the look after it (s), a while after a tick: no window waits for one."""
        aim = now + INTERVAL_SECONDS * (0.5 + self._share)
        clock = self._counters[0].clock if self._counters else None
        if clock is None or clock.period_seconds > INTERVAL_SECONDS * LONGEST_INTERVAL:
            return aim - now
        # Nothing guards the clock: one that is being redrawn may tell a wrong time for once.
        due = clock.following(aim - 0.5 * clock.period_seconds)
        share = AFTER_TICK + (LONGEST_AFTER_TICK - AFTER_TICK) * self._share
        delay = due + share * clock.period_seconds - now
        return min(max(delay, INTERVAL_SECONDS / 2), INTERVAL_SECONDS * LONGEST_INTERVAL)

    def _look_at_counter(self, counter: Counter) -> None:
        if still := stands_still(counter):
            self._found(still)
        watts = counter.card.sharpest_watts()
        if watts is not None and counter.lost is None:
            look = Look(real_time.monotonic(), counter.shown_joules, watts)
            with self._lock:
                self._looks[counter.domain].append(look)

    def _each(self, sources: Iterable[Source], look_at: Callable[[Source], object]) -> None:
        for source in sources:
            try:
                look_at(source)
            except DeviceLostError as error:  # noqa: PERF203 - the others are looked at, too
                self._found(str(error))
            except Exception as error:
                self._unwatched(f"looking at `{source.domain}` failed ({named(error)})")

    def _check(self, card: Card) -> int | None:
        """Find throttling and foreign processes; the reasons for the clocks."""
        reasons = card.event_reasons()
        for bit, slowdown in SLOWDOWNS.items():
            if reasons and reasons & bit:
                self._found(fault(THROTTLED, f"{slowdown} of `{card.domain}`"))
        if strangers := self._tree.foreign(card.processes() or ()):
            shown = ", ".join(map(self._program, strangers[:NAMED]))
            more = f" and {len(strangers) - NAMED} more" if len(strangers) > NAMED else ""
            self._found(fault(FOREIGN, f"{shown}{more} on `{card.domain}`; {_STOP}"))
        return reasons

    def _program(self, pid: int) -> str:
        """A process for a person; the same each time, so that one of them is one fault."""
        if pid not in self._programs:
            name = None if pid == NO_PROCESS else program_name(pid)
            shown = "unknown program" if name is None else f"`{name}`"
            number = " (the driver does not say which)" if pid == NO_PROCESS else f" {pid}"
            self._programs[pid] = shown + number
        return self._programs[pid]

    def _record(self, card: Card) -> None:
        reasons = self._check(card)
        before, limits = self._limits[card.domain], card.limits()
        for name, value in limits.items():
            if before.get(name, value) != value:
                self._found(_changed(name, card.domain, before[name], value))
        # What the card did not tell this time is compared the next time.
        self._limits[card.domain] = before | limits
        now, watts = real_time.monotonic(), card.instant_watts()
        megahertz = card.sm_clock_megahertz()
        noted = {
            f"{card.domain} temperature_celsius": card.temperature_celsius(),
            f"{card.domain} sm_megahertz": megahertz,
        }
        with self._lock:
            self._samples[card.domain].append(Sample(now, watts, reasons, megahertz))
            self._notes.update({k: float(v) for k, v in noted.items() if v is not None})

    def _unwatched(self, why: str, seconds: float | None = None) -> None:
        self._found(fault(NOT_WATCHED, why), seconds)

    def _found(self, text: str, seconds: float | None = None) -> None:
        """Keep a fault with the time at which it was last seen (now)."""
        with self._lock:
            last = real_time.monotonic() if seconds is None else seconds
            self._faults[text] = max(last, self._faults.get(text, last))


_STOP = "leave the card alone while it is metered, and do not use MPS"


def _changed(name: str, domain: str, before: int, value: int) -> str:
    if name != POWER_LIMIT:
        return fault(CLOCK_JUMP, f"{name} of `{domain}` went from {before} to {value}")
    moved = f"that of `{domain}` went from {before / 1000:g} W to {value / 1000:g} W"
    remedy = "leave it alone while the card is metered (on a laptop switch Dynamic Boost off)"
    return fault(LIMIT_CHANGED, f"{moved}; {remedy}")


def implausible(samples: Sequence[Sample], device: Device, mean_watts: float) -> Iterator[str]:
    """What the samples of a window say against its joules; `mean_watts` is the counter's figure."""
    limit_watts = device.joules_limit_watts
    highest = max([mean_watts, *(look.watts for look in samples if look.watts)])
    known = [(look.reasons, look.sm_megahertz) for look in samples if look.reasons is not None]
    capped = any(reasons & SOFTWARE_POWER_CAP for reasons, _ in known)
    if capped and limit_watts and highest < NORMAL_SHARE_OF_LIMIT * limit_watts:
        cap = f"software power cap of `{device.domain}` at {highest:.0f} W"
        yield fault(THROTTLED, f"{cap}, far below its limit of {limit_watts:.0f} W")
    # If no other reason is given, the clocks are where the settings put them.
    clocks = [clock for reasons, clock in known if clock and not reasons & ~APPLICATION_CLOCKS]
    if clocks and max(clocks) > CLOCK_RATIO * min(clocks):
        jump = f"SM clock of `{device.domain}` between {min(clocks)} and {max(clocks)} MHz"
        yield fault(CLOCK_JUMP, f"{jump}, and no reason is given")
