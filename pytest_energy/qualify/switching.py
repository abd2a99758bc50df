"""A card that is switched and read."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_ulonglong
from typing import Final, NamedTuple, Protocol

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.meters.nvml.card import Card
from pytest_energy.meters.protocol import Device
from pytest_energy.meters.sensors import Qualified
from pytest_energy.qualify import EvenWork, Load
from pytest_energy.qualify.even_work import APART_SECONDS, even_work
from pytest_energy.qualify.renewals import Look
from pytest_energy.qualify.response import Edge

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


class SwitchedCard(Protocol):
    """A card with a load on it, asked in the order of the experiments."""

    device: Device
    date: str
    """When it was asked first, as in ISO 8601."""

    @property
    def is_sharp(self) -> bool:
        """Whether its power reading is the power of now."""

    def idle(self, seconds: float) -> Looks:
        """What it says without work, after a rest."""

    def worked(self, warm_seconds: float, seconds: float, *, mild: bool = False) -> Looks:
        """What it says of work that has gone on for so long; then a rest."""

    def steps(self, lengths: Sequence[float], *, mild: bool) -> Stretch:
        """Work and rest in turn, each for its length (s), beginning with work; then a rest."""

    def even_work(self, taken: Qualified) -> EvenWork:
        """Windows of even work, by a counter of which that was found."""

    def took_seconds(self) -> float:
        """How long it has been asked by now."""


class LiveCard:
    """A card of this machine and the load on it; reads the card while it waits.

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
        self.stretches: list[Stretch] = []
        self.even: EvenWork | None = None

    @property
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
