"""Simulated cards qualified by the command: the load is the simulation's own."""

from __future__ import annotations

import argparse
import io
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pytest_energy.cli.qualify import add_qualify, run_qualify
from pytest_energy.meters.protocol import Device
from pytest_energy.qualify import Load
from sensor_sim import Card, World, simulate
from sensor_sim import Load as Curve

MILD_SHARE = 0.6


def held_back(watts: float) -> Curve:
    """The power of a card at its limit: too much at first, then up and down, as an H200's."""
    chance = random.Random(1)
    after = ((0.007, watts + chance.gauss(0, 0.04 * watts)) for _ in range(2500))
    return Curve(((0.06, 1.25 * watts), (0.05, 1.08 * watts), *after))


@dataclass
class Switched:
    """The card's full load, and one of 0.6 times its watts, switched in the simulation."""

    world: World
    curve: Curve
    text: str = "simulated work"

    def on(self, *, mild: bool = False) -> float:
        milder = Curve.constant(MILD_SHARE * self.curve.mean_watts)
        return self.world.begin_work(milder if mild else self.curve)

    def off(self) -> float:
        return self.world.end_work()


class Done(NamedTuple):
    """What the command printed, and its document."""

    code: int
    text: str
    document: dict[str, Any]


def command(
    card: Card, folder: Path, arguments: Sequence[str] = (), curve: Curve | None = None
) -> Done:
    """Run `pytest-energy qualify` on a simulated card; to be called apart.

    `curve` is its full load, by default an even one.
    """
    parser = argparse.ArgumentParser()
    add_qualify(parser)
    path = folder / "found.json"
    given = ["--json", str(path), "--baselines", str(folder), *arguments]
    with simulate(card) as world, redirect_stdout(io.StringIO()) as printed:

        @contextmanager
        def loads(device: Device) -> Iterator[Load]:
            yield Switched(world, curve or Curve.constant(card.load_watts))

        code = run_qualify(parser.parse_args(given), loads)
    return Done(code, printed.getvalue(), json.loads(path.read_text()))


def found(card: Card, curve: Curve | None = None) -> dict[str, Any]:
    """The document of a card's qualification; to be called apart."""
    with tempfile.TemporaryDirectory() as folder:
        return command(card, Path(folder), curve=curve).document
