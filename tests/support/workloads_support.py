"""What the tests of workloads share: a small vocabulary, data sets on disk, a meter."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_energy import Conditions, Device, Reading
from pytest_energy.outcomes import Method

SAMPLES = Path(
    os.environ.get("PYTEST_ENERGY_SAMPLES") or Path(__file__).parents[3] / "shared" / "data"
)
needs_samples = pytest.mark.skipif(
    not SAMPLES.is_dir(),
    reason=f"no real samples at {SAMPLES}: name their folder in PYTEST_ENERGY_SAMPLES",
)

_PIECES = """
[PAD] [UNK] [CLS] [SEP] [MASK] the a good bad film very play ##ing ##ed in oslo lives ada
where who does is it . , ? ' " ##s un ##known lake
"""
PIECES = _PIECES.split()


def write(path: Path, text: str) -> Path:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def write_vocabulary(folder: Path) -> Path:
    return write(folder / "vocab.txt", "\n".join(PIECES) + "\n")


def ids(text: str) -> tuple[int, ...]:
    """The ids of word pieces given by name."""
    return tuple(PIECES.index(piece) for piece in text.split())


def squad(context: str, **questions: str | None) -> str:
    """SQuAD's JSON of one context; each question's id goes with its answer's text, if any."""
    entries = [
        {
            "id": name,
            "question": "where does ada play ?",
            "is_impossible": answer is None,
            "answers": []
            if answer is None
            else [{"text": answer, "answer_start": context.index(answer)}],
        }
        for name, answer in questions.items()
    ]
    return json.dumps(
        {"data": [{"title": "t", "paragraphs": [{"context": context, "qas": entries}]}]}, indent=1
    )


class SteadyMeter:
    """A meter of a constant 100 W."""

    name = "steady"
    method: Method = "counter"
    devices: tuple[Device, ...] = (Device("cpu", "a steady load", "0"),)
    update_period_seconds = 0.0
    resolution_joules = 0.0

    def read(self) -> Reading:
        seconds = time.monotonic()
        joules: Mapping[str, float] = {"cpu": 100 * seconds}
        return Reading(seconds, joules)

    def conditions(self) -> Conditions:
        return Conditions()

    def close(self) -> None:
        pass
