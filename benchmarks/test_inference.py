"""Claim: inference one by one and fine-tuning cost the same order of energy per 1,000 examples."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paper.inference import Inference
from paper.models import BERT
from paper.sampler import ClaimSampler, middle
from paper.significance import paired_ratio
from pytest_energy import EnergyClaim, EnergySession, FineTuning, Window

TASKS = ("sst2", "mnli", "squad_v1")
"""From short sequences to the longest that a processor has time for."""

ORDER = 10.0
"""Times that two costs may differ by and still be of one order."""

MODELLED_ORDER = 30.0
"""The same for modelled joules: a processor's small batches share an AdamW step among few."""

UNIT = "J/1,000 examples"
PAPER_INFERENCE = "2.34 to 4.46 kJ (quoted: 0.65e-3 to 1.24e-3 kWh)"
PAPER_FINE_TUNING = "1.44 to 10.9 kJ (quoted: 0.40e-3 to 3.04e-3 kWh)"


@pytest.mark.parametrize("task", TASKS)
def test_inference(
    task: str,
    finetune: Callable[..., FineTuning],
    energy_claim: EnergyClaim,
    energy_session: EnergySession,
) -> None:
    run = finetune(task, model=BERT, shared=True)
    single, batched = Inference(run, single=True), Inference(run)
    sampler = ClaimSampler(energy_session)
    runs: list[FineTuning | Inference] = [single]
    if batched.batch_size > 1:
        runs.append(batched)
    # The gate's windows of the fine-tuning are of another time: an interval of pairs with them
    # would know nothing of what has moved since.
    *windows, trained = sampler.in_turn([*runs, run])

    one_by_one, *together = (_per_thousand(middle(each), single.examples) for each in windows)
    training = _per_thousand(middle(trained), single.examples)
    size = batched.batch_size
    _note(energy_claim, f"{task}: inference, one by one", one_by_one, PAPER_INFERENCE)
    for found in together:
        _note(energy_claim, f"{task}: inference, batches of {size}", found)
    _note(energy_claim, f"{task}: fine-tuning, batches of {size}", training, PAPER_FINE_TUNING)
    order = MODELLED_ORDER if energy_claim.modelled else ORDER
    ratio, interval = paired_ratio([w.joules for w in windows[0]], [w.joules for w in trained])
    energy_claim.figure(
        f"{task}: one by one over fine-tuning",
        ratio,
        interval=interval,
        by_interval=True,
        at_least=1 / order,
        at_most=order,
        paper="0.21 to 3.1 (derived)",
    )


def _per_thousand(window: Window, examples: int) -> tuple[float, float]:
    """Joules per 1,000 examples, and what the meter may be off by."""
    return 1000 * window.joules / examples, 1000 * window.uncertainty_joules / examples


def _note(
    claim: EnergyClaim, name: str, found: tuple[float, float], paper: str | None = None
) -> None:
    value, half = found
    claim.figure(name, value, UNIT, interval=(value - half, value + half), paper=paper)
