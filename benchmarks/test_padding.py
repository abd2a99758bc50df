"""Claim: padding costs as much as any other token, so a batching policy costs what it pads.

DistilBERT where only a CPU computes, else BERT-base.
"""

from __future__ import annotations

from collections.abc import Callable

from pytest_energy.claims import Claim
from pytest_energy.sampling import Sampler
from pytest_energy.session import EnergySession
from pytest_energy.workloads.data.batches import PADDINGS
from pytest_energy.workloads.data.padding import largest_ratio, overheads_by_task
from pytest_energy.workloads.engine import affordable_bert
from pytest_energy.workloads.finetune import FineTuning

TASK, CAP = "sst2", 128
"""Of short sequences, which are padded most."""

TOKENS_A_STEP = 4096
ALIKE = {"fixed": 1, "dynamic": 4, "grouped": 8}
"""Batch sizes, as multiples, at which the policies process about as many tokens a step."""

COUNTED_SPREAD, MODELLED_SPREAD = 1.25, 1.6


def test_overheads(energy_claim: Claim, energy_session: EnergySession) -> None:
    overheads = overheads_by_task(energy_session.data)
    columns = ("processed / real tokens", *PADDINGS)
    rows = [(task, *(of[padding] for padding in PADDINGS)) for task, of in overheads.items()]
    energy_claim.table("Padding overhead by task, standard batch and cap", columns, *rows)
    for better, worse in (("grouped", "dynamic"), ("dynamic", "fixed")):
        ratio = largest_ratio(overheads.values(), better, worse)
        energy_claim.figure(f"{better} over {worse}, worst task", ratio, at_most=1.0)


def test_joules(
    energy_claim: Claim, energy_session: EnergySession, finetune: Callable[..., FineTuning]
) -> None:
    sampler, budget = Sampler(energy_session), energy_session.budget
    fixed = max(min(budget.max_tokens_per_batch or TOKENS_A_STEP, TOKENS_A_STEP) // CAP, 1)
    found: dict[tuple[str, int], tuple[float, float]] = {}
    rows = []
    for padding in PADDINGS:
        for size in sorted({fixed * ALIKE[padding], fixed * ALIKE["dynamic"]}):
            run = finetune(
                TASK,
                model=affordable_bert(),
                padding=padding,
                batch_size=size,
                max_length=CAP,
                tokens_per_window=2 * budget.tokens,
            )
            joules, overhead = sampler.joules_per_token(run), run.padding_overhead
            found[padding, size] = joules, joules * overhead
            rows.append((padding, size, run.tokens / run.steps, overhead, 1e3 * joules, 1e3 * joules * overhead))
            run.close()
    ...
