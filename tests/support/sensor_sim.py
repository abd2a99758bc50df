"""Simulated cards whose true power is known apart from what they report, metered as real ones are.

    with simulate(Card.preset("a100", counter="sensor"), clock="virtual") as world:
        done = world.window(Load.square(340, 90, period=0.12), 2.0)
        print(done.error, done.stated, done.covered, done.record.invalid_reason)

The real bindings load the simulated library (`nvml_sim/nvml_sim.c`), and the product's own meter
runs on it, with its threads. What a `Card` can be is told in `sensor_cards.py`. Three things are
kept apart: the truth (a card idles, and draws a `Load` while `work` runs), the sensor, and the
counter, which counts the truth or the sensor's samples.

`clock="virtual"`: seconds are simulated (`virtual_clock.py`), thousands of windows cost seconds,
and a run is the same each time. `clock="real"`: seconds are real ones, for a few tests that both
agree. In both, a call of the driver takes time; in virtual time never less than 0.02 ms.

A whole run of pytest goes by it if its `conftest.py` enters `simulate` before the plugin opens a
meter, and leaves it in `pytest_unconfigure` (`tests/nvml_sim/test_nvml_sim_gate.py`).

The library stays loaded until the process ends, and with it the machine seems to have an NVIDIA
driver: run simulations in processes of their own (`apart`), one world at a time.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar
from unittest import mock

import sim
from pytest_energy import open_meter, window
from pytest_energy.clocks import real_time
from pytest_energy.metering import Window
from pytest_energy.meters import Meter, nvml
from sensor_cards import PRESETS, Card, Feed
from virtual_clock import Host, VirtualClock

__all__ = [
    "PRESETS", "Card", "Feed", "Host", "Load", "Metered", "Stretch", "World", "apart", "simulate",
]  # fmt: skip

Result = TypeVar("Result")
LONGEST_SECONDS = 600.0
"""What runs apart and takes longer than this is stuck."""


@dataclass(frozen=True)
class Load:
    """A curve of power, repeated while work runs: pieces of (seconds, watts of the whole card).

    `step_seconds`: how long a step of the work is; None: it has none.
    """

    pieces: tuple[tuple[float, float], ...]
    step_seconds: float | None = None

    @staticmethod
    def constant(watts: float) -> Load:
        """The same power all the time (W)."""
        return Load(((1.0, watts),))

    @staticmethod
    def square(high: float, low: float, *, period: float, duty: float = 0.5) -> Load:
        """`high` watts for a share `duty` of each period (s), then `low`."""
        return Load(((duty * period, high), ((1 - duty) * period, low)), period)

    @staticmethod
    def steps(
        *,
        period: float,
        forward: float,
        backward: float,
        optimizer: float,
        shares: tuple[float, float, float] = (0.3, 0.6, 0.1),
    ) -> Load:
        """Training steps of a period (s): watts of forward, backward and optimizer, and shares."""
        watts = forward, backward, optimizer
        return Load(tuple((s * period, w) for s, w in zip(shares, watts, strict=True)), period)

    @staticmethod
    def dips(watts: float, low: float, *, every: float, seconds: float) -> Load:
        """Power that falls to `low` watts for some seconds every so often, as for an evaluation."""
        return Load(((every - seconds, watts), (seconds, low)))

    @staticmethod
    def recorded(
        path: Path,
        *,
        since: float = 0.0,
        until: float = float("inf"),
        step_seconds: float | None = None,
    ) -> Load:
        """A trace in a JSON file (`milliseconds`, `watts`), from second `since` to `until`."""
        trace = json.loads(path.read_text())
        points = zip([ms / 1000 for ms in trace["milliseconds"]], trace["watts"], strict=True)
        kept = [point for point in points if since <= point[0] < until]
        pieces = tuple((b - a, watts) for (a, watts), (b, _) in pairwise(kept))
        return Load(pieces, step_seconds)

    def scaled(self, factor: float = 1.0, *, time: float = 1.0) -> Load:
        """The same shape with other watts, or slower by a factor `time`."""
        pieces = tuple((time * seconds, factor * watts) for seconds, watts in self.pieces)
        return Load(pieces, self.step_seconds and time * self.step_seconds)

    @property
    def seconds(self) -> float:
        """How long the curve is before it repeats (s)."""
        return sum(seconds for seconds, _ in self.pieces)

    @property
    def mean_watts(self) -> float:
        """Mean power (W)."""
        return sum(seconds * watts for seconds, watts in self.pieces) / self.seconds


class Stretch(NamedTuple):
    """From when to when work ran, on the clock of `World.now` (s)."""

    since: float
    until: float


class Metered(NamedTuple):
    """A window's record beside the truth of the same work (J)."""

    record: Window
    stretch: Stretch
    true_joules: float

    @property
    def error(self) -> float:
        """Relative error of the joules."""
        return self.record.joules / self.true_joules - 1

    @property
    def stated(self) -> float:
        """The stated uncertainty as a share of the true joules."""
        return self.record.uncertainty_joules / self.true_joules

    @property
    def covered(self) -> bool:
        """Whether the stated uncertainty covers the error."""
        return abs(self.record.joules - self.true_joules) <= self.record.uncertainty_joules


class World:
    """Simulated cards in this process; `simulate` makes it."""

    def __init__(self, cards: int, folder: Path) -> None:
        self._cards, self._folder = cards, folder
        self._numbers: dict[Load, int] = {}
        self._nvml = _initialised()
        self.epoch = ctypes.c_double.in_dll(ctypes.CDLL(sim.LIBRARY), "epoch").value
        """The second on `now` that phases of cards count from, when all idle."""

    @cached_property
    def meter(self) -> Meter:
        """The product's meter, opened when it is first asked for."""
        return open_meter("nvml")

    def now(self) -> float:
        """The time (s) on the clock that everything here goes by."""
        return real_time.monotonic()

    def rest(self, seconds: float) -> None:
        """Let the cards idle (s)."""
        real_time.sleep(seconds)

    def work(self, load: Load, seconds: float, *, phase: float = 0.0) -> Stretch:
        """Draw a load for so long on every card, from `phase` seconds into its curve on."""
        since = self.begin_work(load, phase=phase)
        real_time.sleep(seconds)
        return Stretch(since, self.end_work())

    def begin_work(self, load: Load, *, phase: float = 0.0) -> float:
        """Draw a load from now on, in place of another one if there is one; the time (s)."""
        number = self._number(load)
        return self._switch(f"work {number} {phase!r}")

    def end_work(self) -> float:
        """Draw none any more; the time (s)."""
        return self._switch("work none")

    def true_joules(self, since: float, until: float, gpu: int | None = None) -> float:
        """What the cards, or one of them, drew between two times (J)."""
        cards = range(self._cards) if gpu is None else (gpu,)
        return sum(sim.energy_between(since, until, card) for card in cards)

    def window(self, load: Load, seconds: float, *, phase: float = 0.0) -> Metered:
        """Meter work in a window of its own: whole steps, which are counted, if it has any."""
        step = load.step_seconds
        steps = round(seconds / step) if step else 0
        with window(self.meter, "work") as opened:
            stretch = self.work(load, steps * step if step else seconds, phase=phase)
            opened.count_steps(steps)
        return Metered(opened.record, stretch, self.true_joules(*stretch))

    def windows(self, load: Load, seconds: Sequence[float], *, rest: float = 0.3) -> list[Metered]:
        """A window for each length (s), with a rest before each (s)."""
        found = []
        for each in seconds:
            self.rest(rest)
            found.append(self.window(load, each))
        return found

    def command(self, line: str, gpu: int = 0) -> None:
        """Apply a line of the library's format now."""
        sim.command(line, gpu)

    def counter_joules(self, gpu: int = 0) -> float:
        """What a card's counter shows (J), by a call of the driver as anybody makes it."""
        return self._ask("TotalEnergyConsumption", gpu)

    def power_watts(self, gpu: int = 0) -> float:
        """What `nvmlDeviceGetPowerUsage` shows (W)."""
        return self._ask("PowerUsage", gpu)

    def close_meter(self) -> None:
        """Close the meter if one was opened; the next one begins anew."""
        if meter := self.__dict__.pop("meter", None):
            meter.close()

    def _ask(self, what: str, gpu: int) -> float:
        nvml = self._nvml
        handle = nvml.nvmlDeviceGetHandleByIndex(gpu)
        return float(getattr(nvml, f"nvmlDeviceGet{what}")(handle)) / 1000

    def close(self) -> None:
        """Close what is open."""
        self.close_meter()
        self._nvml.nvmlShutdown()

    def _switch(self, line: str) -> float:
        now = self.now()
        for gpu in range(self._cards):
            sim.command(line, gpu)
        return now

    def _number(self, load: Load) -> int:
        if load not in self._numbers:
            self._numbers[load] = number = len(self._numbers)
            path = self._folder / f"load{number}"
            path.write_text("".join(f"{s!r} {watts!r}\n" for s, watts in load.pieces))
            for gpu in range(self._cards):
                sim.command(f"load {number} {path}", gpu)
        return self._numbers[load]


@contextmanager
def simulate(
    *cards: Card,
    clock: Literal["virtual", "real"] = "virtual",
    seed: int = 1,
    host: Host = Host(),  # noqa: B008 - it cannot change
) -> Iterator[World]:
    """A world with these cards, which the real bindings find.

    `seed` and `host` are of virtual seconds: how late sleeps end.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        variables = sim.environment([card.simulated() for card in cards], folder)
        library = _library(Path(variables["LD_LIBRARY_PATH"]))
        names = ("NVML_SIM", "NVML_SIM_POWER_SCALE", "PYTEST_ENERGY_LOCKS")
        stack.enter_context(mock.patch.dict(os.environ, {name: variables[name] for name in names}))
        stack.callback(library.nvmlSimReset)
        if clock == "virtual":
            virtual = VirtualClock(library, seed, host)
            stack.callback(virtual.close)
            stack.enter_context(virtual.installed())
        # Where between two looks a window begins is chance, the same each time here.
        nvml.CHANCE.seed(seed)
        world = World(len(cards), folder)
        stack.callback(world.close)
        yield world


def apart(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a module's function in a process for simulations, so that this one keeps its driver."""
    return _process().submit(function, *arguments).result(LONGEST_SECONDS)


@cache
def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def _initialised() -> Any:
    """The bindings; the library reads its description now, so that its time begins here."""
    import pynvml

    pynvml.nvmlInit()
    return pynvml


def _library(folder: Path) -> Any:
    """The simulated library, loaded so that the bindings get it by its name."""
    ctypes.CDLL(str(folder / sim.LIBRARY), mode=ctypes.RTLD_GLOBAL)
    found = ctypes.CDLL(sim.LIBRARY)
    if not hasattr(found, "nvmlSimReset"):
        raise RuntimeError("this process has loaded NVIDIA's library: use `apart`")
    return found
