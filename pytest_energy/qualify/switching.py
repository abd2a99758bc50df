"""A card that is switched and read, its windows of even work, and a document of all of it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from ctypes import c_ulonglong
from dataclasses import asdict
from itertools import pairwise
from statistics import fmean, median, stdev
from typing import Final, NamedTuple

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.metering import Window, window
from pytest_energy.meters import Meter
from pytest_energy.meters.nvml import NvmlMeter
from pytest_energy.meters.nvml.card import Card
from pytest_energy.meters.sensors import Qualified
from pytest_energy.qualify import EvenWindow, EvenWork, Figure, Load
from pytest_energy.qualify.renewals import Look
from pytest_energy.qualify.response import Edge
from pytest_energy.qualify.table import plain
from pytest_energy.stats.steadiness import autocorrelation

LOOK_SECONDS: Final = 0.0005
REST_SECONDS: Final = 2.0
AGAIN: Final = "it began anew or wrapped around: run this again"


class Looks(NamedTuple):
    """What was read in a stretch: the counter (J, empty without one) and the power (W)."""

    energy: list[Look]
    power: list[Look]


class Stretch(NamedTuple):
    """When the load was switched, and what was read from the first of these times on."""

    edges: list[Edge]
    looks: Looks


class SwitchedCard:
    """A card and the load on it, asked in the order of the experiments and read meanwhile.

    What it gave is kept, in order. Raises `EnergyError` if the counter does not answer, or falls.
    """

    def __init__(self, card: Card, load: Load) -> None:
        self._card, self._load = card, load
        self.device = card.device
        self._shown = c_ulonglong()
        self._read = card.energy_into(self._shown) if card.has_counter() else None
        self._joules = 0.0
        self._began = real_time.monotonic()
        self.date = real_time.utc().replace(microsecond=0).isoformat()
        """When it was asked first, as in ISO 8601."""
        self.stretches: list[Stretch] = []
        self.even: EvenWork | None = None

    def is_sharp(self) -> bool:
        """Whether the power reading is the power of now."""
        return self._card.is_sharp()

    def idle(self, seconds: float) -> Looks:
        """What the card says without work, after a rest."""
        self._watch(REST_SECONDS)
        return self._kept([], self._watch(seconds)).looks

    def worked(self, warm_seconds: float, seconds: float, *, mild: bool = False) -> Looks:
        """What it says of work that has gone on for so long; then a rest."""
        self._load.on(mild=mild)
        try:
            self._watch(warm_seconds)
            looks = self._watch(seconds)
        finally:
            self._load.off()
        self._watch(REST_SECONDS)
        return self._kept([], looks).looks

    def steps(self, lengths: Sequence[float], *, mild: bool) -> Stretch:
        """Work and rest in turn, each for its length (s), beginning with work; then a rest."""
        edges: list[Edge] = []
        looks = Looks([], [])
        due = real_time.monotonic()
        try:
            for number, seconds in enumerate(lengths):
                on = number % 2 == 0
                switched = self._load.on(mild=mild) if on else self._load.off()
                edges.append(Edge(switched, on))
                due += seconds
                for kept, more in zip(looks, self._until(due), strict=True):
                    kept.extend(more)
        finally:
            self._load.off()
        self._watch(APART_SECONDS)
        return self._kept(edges, looks)

    def even_work(self, taken: Qualified) -> EvenWork:
        """Windows of even work, by a counter of which that was found."""
        self.even = even_work(self._card, self._load, taken)
        return self.even

    def took_seconds(self) -> float:
        """How long the card has been asked by now."""
        return real_time.monotonic() - self._began

    def _kept(self, edges: list[Edge], looks: Looks) -> Stretch:
        self.stretches.append(Stretch(edges, looks))
        return self.stretches[-1]

    def _watch(self, seconds: float) -> Looks:
        return self._until(real_time.monotonic() + seconds)

    def _until(self, end: float) -> Looks:
        looks = Looks([], [])
        while (now := real_time.monotonic()) < end:
            if self._read is not None:
                if code := self._read():
                    raise self._card.lost(code)
                after, joules = real_time.monotonic(), self._shown.value / 1000
                if joules < self._joules:
                    raise EnergyError(f"the counter of `{self._card.domain}` fell; {AGAIN}")
                self._joules = joules
                looks.energy.append(Look(now, after, joules))
                now = after
            watts = self._card.sharpest_watts()
            after = real_time.monotonic()
            if watts is not None:
                looks.power.append(Look(now, after, watts))
            real_time.sleep(max(0.0, min(LOOK_SECONDS, end - after)))
        return looks


PASS_SECONDS: Final = 0.5
PAIRS: Final = 10
APART_SECONDS: Final = 0.3
LEAST_VALID: Final = 4
"""Windows of each length that have to be valid."""


def even_work(card: Card, load: Load, taken: Qualified) -> EvenWork:
    """Windows of one and of two passes in turn, metered as those of tests will be."""
    found: list[tuple[Window, float]] = []
    with closing(NvmlMeter({card.device.uuid or "": taken})) as meter:
        for number in range(2 * PAIRS):
            real_time.sleep(APART_SECONDS)
            found.append(_window(meter, load, PASS_SECONDS * (1 + number % 2)))
    counted = [w for w, _ in found if _tells(w)]
    valid = [[w for w, _ in found[first::2] if _tells(w)] for first in (0, 1)]
    if min(map(len, valid)) < LEAST_VALID:
        reasons = [window.invalid_reason for window, _ in found if window.invalid_reason]
        raise EnergyError(f"too many windows of even work were invalid: {reasons[-1]}; mend that")
    means = [fmean(window.mean_watts for window in each) for each in valid]
    watts = [w.mean_watts / means[i % 2] for i, (w, _) in enumerate(found) if _tells(w)]
    return EvenWork(
        windows=len(watts),
        invalid=len(found) - len(watts),
        cv=stdev(watts),
        autocorrelation=autocorrelation(watts),
        intercept_joules=_intercept(*valid),
        doubt_joules=max(median(w.uncertainty_joules for w in each) for each in valid),
        cpu_seconds=median(seconds for _, seconds in found),
        each=tuple(EvenWindow(w.seconds, w.joules, w.uncertainty_joules) for w in counted),
    )


def _tells(window: Window) -> bool:
    """Whether a window's joules are right within what it states."""
    return window.valid or window.is_too_short


def _window(meter: Meter, load: Load, seconds: float) -> tuple[Window, float]:
    """A window of work for so long, and the CPU time that metering it took here (s)."""
    clock = real_time.thread_seconds
    began = clock()
    with window(meter, "qualify", lambda: None) as opened:  # the load waits for its card by itself
        spent = clock() - began
        load.on()
        try:
            real_time.sleep(seconds)
        finally:
            load.off()
        ended = clock()
    return opened.record, spent + clock() - ended


def _intercept(ones: list[Window], twos: list[Window]) -> Figure:
    """What a window has beside its work's power times its length (J), as if there were two lines.

    With lengths that are exactly one and two passes this is 2 J1 - J2.
    """
    (j1, s1, d1), (j2, s2, d2) = (_mean(each) for each in (ones, twos))
    share = s1 / (s2 - s1)
    doubt = 2 * ((d1 * (1 + share)) ** 2 + (d2 * share) ** 2) ** 0.5
    return Figure(j1 - (j2 - j1) * share, doubt)


def _mean(windows: list[Window]) -> tuple[float, float, float]:
    """Mean joules, mean seconds, and the standard error of the joules."""
    joules = [window.joules for window in windows]
    return fmean(joules), fmean(w.seconds for w in windows), stdev(joules) / len(joules) ** 0.5


SCHEMA: Final = 1
COLUMNS: Final = "differences of [before (us), after (us), mJ or mW]"
EDGES: Final = "[us, 1 on or 0 off]"


def recorded(card: SwitchedCard) -> bytes:
    """The document, compressed. It names the card and its driver, and not its UUID."""
    document = {
        "schema": SCHEMA,
        "device": {**asdict(card.device), "uuid": ""},
        "is_sharp": card.is_sharp(),
        "date": card.date,
        "took_seconds": card.took_seconds(),
        "columns": COLUMNS,
        "edges": EDGES,
        "stretches": [
            {
                "edges": [[_millionths(edge.seconds), int(edge.on)] for edge in edges],
                "energy": _differences(looks.energy),
                "power": _differences(looks.power),
            }
            for edges, looks in card.stretches
        ],
        "even_work": None if card.even is None else plain(asdict(card.even)),
    }
    return gzip.compress(json.dumps(document, separators=(",", ":")).encode(), mtime=0)


def _differences(looks: Iterable[Look]) -> list[list[int]]:
    rows = [(_millionths(a), _millionths(b), round(1e3 * value)) for a, b, value in looks]
    return [[b - a for a, b in zip(*pair, strict=True)] for pair in pairwise([(0, 0, 0), *rows])]


def _millionths(seconds: float) -> int:
    return round(1e6 * seconds)
