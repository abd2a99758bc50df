"""An acceptance without a GPU: the card is simulated, the training real, on this machine.

Run as a script it qualifies the simulated card, in simulated seconds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import sim  # noqa: E402
from sensor_cards import Card  # noqa: E402

QUALIFY: Final = str(Path(__file__).resolve())
CARD: Final = Card.preset("h100", counter="truth")
MODEL: Final = "bert-tiny"
WORK: Final = [
    *("--model", MODEL),
    *("--device", "cpu"),
    *("--window-seconds", "0.5"),
    *("--max-tokens-per-batch", "512"),
]
TOKENS: Final = 1024
SUITE: Final = f"""
import pytest


@pytest.mark.parametrize("task", ["{{task}}"])
def test_joules_per_token(task, finetune, energy_gate):
    energy_gate.check("joules_per_token", finetune(task, model="{MODEL}"))
"""
KEY: Final = "h100simulated"
BASELINE: Final = f"""schema = 1

[hardware]
key = "{KEY}"
match = ["{CARD.name}"]
max_tokens_per_batch = 512
"""


def write_suite(out: Path, task: str) -> Path:
    """A suite of one test that trains a small model on the CPU; its file.

    The baseline file says what a batch is, as on a machine that has one.
    """
    (out / "baselines" / f"{KEY}.toml").write_text(BASELINE, encoding="utf-8")
    folder = out / "suite"
    folder.mkdir(exist_ok=True)
    (folder / "conftest.py").write_text(sim.FINETUNE, encoding="utf-8")
    ini = "[pytest]\nenergy_meter = nvml\nenergy_idle_seconds = 0.5\n"
    (folder / "pytest.ini").write_text(ini, encoding="utf-8")
    file = folder / "test_joules_per_token.py"
    file.write_text(SUITE.format(task=task), encoding="utf-8")
    return file


def simulated(environment: Mapping[str, str], out: Path) -> dict[str, str]:
    """The environment of parts, with the simulated card in it."""
    folder = out / "simulated"
    card = sim.environment([CARD.simulated()], folder)
    names = ("LD_LIBRARY_PATH", "NVML_SIM", "NVML_SIM_POWER_SCALE", "PYTEST_ENERGY_LOCKS")
    hidden = {"CUDA_VISIBLE_DEVICES"}
    kept = {name: value for name, value in environment.items() if name not in hidden}
    return {**kept, **{name: card[name] for name in names}}


def main() -> int:
    """Qualify the card, as `pytest-energy qualify` would with these arguments."""
    from pytest_energy.cli.qualify import add_qualify, run_qualify
    from pytest_energy.meters.protocol import Device
    from pytest_energy.qualify import Load
    from qualify_support import Switched
    from sensor_sim import Load as Curve
    from sensor_sim import simulate

    parser = argparse.ArgumentParser(description=main.__doc__)
    add_qualify(parser)
    options = parser.parse_args()
    with simulate(CARD) as world:

        @contextmanager
        def loads(device: Device) -> Iterator[Load]:
            yield Switched(world, Curve.constant(CARD.load_watts), f"simulated on {device.domain}")

        return run_qualify(options, loads)


if __name__ == "__main__":
    sys.exit(main())
