"""How often an A/B of like code is decided wrongly by a counter that sees part of the time.

Run `python perf/sensor_gate.py`: for each length of a step, verdicts of the paired gate on code
that is as fast as its base or up to 1 % slower, at the same watts, on a simulated card whose
counter adds up looks of 25 of every 100 ms. Anything but `regression` and `improvement` is right:
1 % is within the tolerance of 2 %, and windows that the sensor cannot tell may end `inconclusive`
or `invalid`. Windows are 2 s long; seconds and chance are simulated: the same seed, the same table.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from pytest_energy.gate.gates import PairedGate  # noqa: E402
from sensor_sim import Card, Load, World, simulate  # noqa: E402

STEPS_MS = (47, 60, 98, 99, 100, 101, 102, 131, 150, 210)
SLOWER = (0.0, 0.005, 0.01)
VERDICTS_A_METER = 10
WINDOW_SECONDS = 2.0
FRUITLESS = 5
"""So many invalid windows in a row end a verdict."""


def verdict(world: World, base: Load, head: Load, steps: int) -> str:
    """The outcome of one A/B: windows of so many steps each, in the order ABBA."""
    gate, first = PairedGate(), True
    while True:
        pair: dict[bool, float] = {}
        for load in (base, head) if first else (head, base):
            joules = _joules(world, load, steps)
            if joules is None:
                return "invalid"
            pair[load is head] = joules / steps
        first = not first
        if done := gate.add(pair[False], pair[True]):
            return str(done.outcome)


def _joules(world: World, load: Load, steps: int) -> float | None:
    for _ in range(FRUITLESS):
        world.rest(0.02)
        done = world.window(load, steps * load.seconds)
        if done.record.valid:
            return done.record.joules
    return None


def measure(step_ms: int, slower: float, verdicts: int, seed: int) -> Counter[str]:
    """Outcomes of so many A/Bs."""
    found: Counter[str] = Counter()
    chance = random.Random(f"{step_ms} {slower} {seed}")
    base = Load.steps(period=step_ms / 1000, forward=450, backward=600, optimizer=250)
    head = base.scaled(time=1 + slower) if slower else Load(base.pieces[:], base.step_seconds)
    steps = round(WINDOW_SECONDS / base.seconds)
    card = Card.preset("a100", counter="sensor", load_watts=600, limit_watts=700)
    while sum(found.values()) < verdicts:
        with simulate(card.at_phase(chance.random()), seed=chance.randrange(1 << 30)) as world:
            for _ in range(min(VERDICTS_A_METER, verdicts - sum(found.values()))):
                found[verdict(world, base, head, steps)] += 1
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--verdicts", type=int, default=36, help="verdicts a line")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parallel", type=int, default=1, help="lines at once")
    options = parser.parse_args()
    cells = list(product(STEPS_MS, SLOWER))
    total: Counter[str] = Counter()
    print(f"{'step ms':>8s} {'slower %':>9s}  outcomes")
    with ProcessPoolExecutor(options.parallel, mp_context=get_context("spawn")) as pool:
        ms, slower = zip(*cells, strict=True)
        n = len(cells)
        rows = pool.map(measure, ms, slower, [options.verdicts] * n, [options.seed] * n)
        for (step_ms, share), found in zip(cells, rows, strict=True):
            said = ", ".join(f"{outcome} {count}" for outcome, count in found.most_common())
            print(f"{step_ms:8d} {100 * share:9.1f}  {said}", flush=True)
            total += found
    wrong = total["regression"] + total["improvement"]
    print(f"{wrong} of {total.total()} verdicts wrong")


if __name__ == "__main__":
    main()
