"""Tokens a second of metered fine-tuning beside the same fine-tuning without a meter.

The card is simulated, so that every call of a real run is made; the training is real, on this
machine. Metered and unmetered passes over the same batches alternate. Nothing here asserts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import sim

_CHILD = "PYTEST_ENERGY_OVERHEAD_CHILD"


def main() -> None:
    """Measure in a process that sees the simulated card, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="distilbert-base-uncased")
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--pairs", type=int, default=8)
    options = parser.parse_args()
    if _CHILD in os.environ:
        print(measure(options.model, options.tokens, options.pairs))
        return
    with tempfile.TemporaryDirectory() as folder:
        variables = sim.environment([sim.SimulatedGpu()], Path(folder))
        variables[_CHILD] = "1"
        subprocess.run([sys.executable, *sys.argv], env=variables, check=True)


def measure(model: str, tokens: int, pairs: int) -> str:
    """Alternate unmetered and metered passes; tokens/s of both and their ratio, pair by pair."""
    from pytest_energy import open_meter
    from pytest_energy.workloads.data import open_data
    from pytest_energy.workloads.finetune import prepare

    meter = open_meter("nvml")
    run = prepare(
        "sst2",
        model,
        data=open_data("synthetic"),
        meter=meter,
        tokens_per_window=tokens,
        max_tokens_per_batch=1024,
        device="cpu",
    )
    run.warm_up()
    plain, metered = [], []
    for number in range(pairs):
        for with_meter in (False, True) if number % 2 == 0 else (True, False):
            if with_meter:
                metered.append(run.window().tokens_per_second)
            else:
                started = time.monotonic()
                run.warm_up()
                plain.append(run.tokens / (time.monotonic() - started))
    run.close()
    meter.close()
    ratios = sorted(m / p for m, p in zip(metered, plain, strict=True))
    return (
        f"{model}: metered {median(metered):,.0f} tokens/s, unmetered {median(plain):,.0f}; ratio "
        f"{median(ratios):.4f} [{ratios[0]:.4f}, {ratios[-1]:.4f}] over {pairs} pairs"
    )


if __name__ == "__main__":
    main()
