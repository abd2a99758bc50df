"""How far windows are off on cards whose sensors and counters are as published, or worse.

Run `python perf/sensor_error.py`: first a line for each thing that a counter or a sensor may do
(windows of 2 s), then one for each known card, load and length of window. Columns: mean, standard
deviation and largest size of the joules' error (%), the median stated uncertainty (%), how often it
covers the error in valid windows (%), and how many windows are invalid (%).

Seconds are simulated (`tests/support/sensor_sim.py`), and so is chance: the same seed, the same
table. Lengths vary by 10 %; the meter is opened anew for every five windows, on another phase of
the sensor. "fed by the sensor" is assumed: nobody has published what feeds the energy counters.
The recorded load needs `real/a100_pmd_5khz.json` in the folder that `PYTEST_ENERGY_SAMPLES` names.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median, pstdev
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from sensor_sim import PRESETS, Card, Feed, Load, simulate  # noqa: E402
from workloads_support import SAMPLES  # noqa: E402

WINDOWS_A_METER = 5
LENGTHS = (0.5, 2.0, 10.0)
TRACE = SAMPLES / "real" / "a100_pmd_5khz.json"
TRACE_SECONDS = (0.2, 0.2 + 21 * 0.104)
"""Whole periods of the recorded load: 52 ms on, 52 ms off."""
RECORDED_IDLE_WATTS = 64.0
EVEN = Load.constant(600)
STEPS = Load.steps(period=0.06, forward=450, backward=600, optimizer=250)
SWING = Load.square(400, 100, period=0.7)


@dataclass(frozen=True)
class Cell:
    """A line of the table: windows of `seconds` on a card, with loads in turn.

    Work begins with the load's curve, as with a step, or `anywhere` in it.
    """

    name: str
    card: Card
    loads: tuple[Load, ...]
    seconds: float = 2.0
    anywhere: bool = False


class Found(NamedTuple):
    """A window: its error and stated uncertainty (shares), covered, valid."""

    error: float
    stated: float
    covered: bool
    valid: bool


def conditions() -> Iterator[Cell]:
    """What counters and sensors may do, one thing at a time; else the card is an exact one."""
    exact = Card()
    part_time = Card(counter="sensor", update_seconds=0.1, window_seconds=0.025, tick_seconds=0.0)
    yield Cell("exact counter, even load", exact, (EVEN,))
    yield Cell("exact counter, steps of 60 ms", exact, (STEPS,))
    yield Cell("jitter of 20 ms, 20 % of ticks missing", _changed(exact, 0.02, 0.2), (STEPS,))
    yield Cell("fed by 25 of 100 ms, even load", part_time, (EVEN,))
    yield Cell("fed by 25 of 100 ms, steps of 60 ms", part_time, (STEPS,))
    for ms in (98, 100, 102):
        load = Load.square(600, 250, period=ms / 1000)
        yield Cell(f"fed by 25 of 100 ms, square of {ms} ms", part_time, (load,))
    if TRACE.exists():
        recorded = replace(part_time, update_seconds=0.101, idle_watts=RECORDED_IDLE_WATTS)
        yield Cell("fed by 25 of 101 ms, recorded load", recorded, (_recorded(),), anywhere=True)
    square = Load.square(600, 250, period=0.1)
    no_counter = replace(part_time, counter="none", noise_watts=1.0)
    yield Cell("no counter, 25 of 100 ms, square of 100 ms", no_counter, (square,))
    p100 = replace(no_counter, update_seconds=0.02, window_seconds=0.01)
    yield Cell("no counter, 10 of 20 ms, even load", p100, (EVEN,))
    for ms in (50, 100, 150):
        yield Cell(f"counter late by {ms} ms", replace(exact, lag_seconds=ms / 1000), (EVEN,))
    for joules in (5, 10):
        yield Cell(
            f"counter in quanta of {joules} J", replace(exact, quantum_joules=joules), (EVEN,)
        )
    for ms in (50, 100, 300):
        yield Cell(f"power falls off over {ms} ms", replace(exact, fall_seconds=ms / 1000), (EVEN,))
    for ms in (5, 20):
        slow = replace(exact, call_seconds=ms / 1000, call_jitter_seconds=ms / 5000)
        yield Cell(f"driver calls take {ms} ms, even load", slow, (EVEN,))
        yield Cell(f"driver calls take {ms} ms, square 100/400 W", slow, (SWING,))


def known_cards() -> Iterator[Cell]:
    """Known cards with the counter fed by either, three kinds of load, three lengths."""
    for model, preset in PRESETS.items():
        if model == "h200":  # its sensor is not published, and its feed was measured
            continue
        feeds: tuple[Feed, ...] = ("truth", "sensor")
        for feed in feeds if preset.counter != "none" else ("none",):
            card = Card.preset(model, counter=feed)
            by = "no counter" if feed == "none" else f"fed by the {feed}"
            for kind, loads in _loads_for(card).items():
                for seconds in LENGTHS:
                    name = f"{model}, {by}, {kind}, {seconds:g} s"
                    yield Cell(name, card, loads, seconds, anywhere=kind == "recorded")


def _loads_for(card: Card) -> dict[str, tuple[Load, ...]]:
    full, low = card.load_watts, 0.4 * card.load_watts
    steps = [(0.75 * full, full, low, ms / 1000) for ms in (47, 60, 131, 210)]
    loads = {
        "even": (Load.constant(full),),
        "steps": tuple(
            Load.steps(period=s, forward=f, backward=b, optimizer=o) for f, b, o, s in steps
        ),
        "near lock": tuple(
            Load.square(full, low, period=share * card.update_seconds) for share in (0.99, 1, 1.02)
        ),
        "dips": (Load.dips(full, low, every=0.73, seconds=0.11),),
    }
    if TRACE.exists():
        loads["recorded"] = (_recorded().scaled(full / 190),)
    return loads


def _recorded() -> Load:
    since, until = TRACE_SECONDS
    return Load.recorded(TRACE, since=since, until=until, step_seconds=0.104)


def _changed(card: Card, jitter_seconds: float, missing: float) -> Card:
    return replace(card, jitter_seconds=jitter_seconds, missing=missing)


def measure(cell: Cell, windows: int, seed: int) -> list[Found]:
    """Meter the windows of a cell."""
    found: list[Found] = []
    chance = random.Random(f"{cell.name} {seed}")
    while len(found) < windows:
        card = replace(cell.card.at_phase(chance.random()), seed=chance.randrange(1 << 30))
        with simulate(card, seed=chance.randrange(1 << 30)) as world:
            for _ in range(min(WINDOWS_A_METER, windows - len(found))):
                world.rest(chance.uniform(0.1, 0.5))
                load = cell.loads[len(found) % len(cell.loads)]
                phase = chance.uniform(0, load.seconds) if cell.anywhere else 0.0
                seconds = cell.seconds * chance.uniform(0.9, 1.1)
                done = world.window(load, seconds, phase=phase)
                valid = done.record.valid
                found.append(Found(done.error, done.stated, done.covered, valid))
    return found


def line(cell: Cell, found: Sequence[Found]) -> str:
    """A cell's line of the table; errors and what covers them are of valid windows."""
    valid = [each for each in found if each.valid]
    invalid = 100 * (1 - len(valid) / len(found))
    if not valid:
        return f"{cell.name:46s} {len(found):4d} {'':39s}{invalid:8.0f}"
    errors = [100 * each.error for each in valid]
    return (
        f"{cell.name:46s} {len(found):4d} {mean(errors):8.3f} {pstdev(errors):7.3f} "
        f"{max(map(abs, errors)):7.3f} {100 * median(each.stated for each in valid):7.3f} "
        f"{100 * mean(each.covered for each in valid):7.0f} {invalid:7.0f}"
    )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--windows", type=int, default=20, help="windows a line")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--match", default="", help="only the lines whose name contains this")
    parser.add_argument("--parallel", type=int, default=1, help="lines at once")
    options = parser.parse_args()
    head = (
        f"{'mean %':>8s} {'SD %':>7s} {'worst %':>7s} {'stated':>7s} {'covers':>7s} {'inval %':>7s}"
    )
    with ProcessPoolExecutor(options.parallel, mp_context=get_context("spawn")) as pool:
        for title, cells in (("2 s windows", conditions()), ("known cards", known_cards())):
            chosen = [cell for cell in cells if options.match in cell.name]
            print(f"{title:46s} {'n':>4s} {head}", flush=True)
            n = len(chosen)
            rows = pool.map(measure, chosen, [options.windows] * n, [options.seed] * n)
            for cell, found in zip(chosen, rows, strict=True):
                print(line(cell, found), flush=True)


if __name__ == "__main__":
    main()
