"""Claim: padding costs as much as any other token, so a batching policy costs what it pads.

DistilBERT where only a CPU computes, else BERT-base.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paper.models import affordable_bert
from paper.padding import (
    COLUMNS,
    Cost,
    by_task,
    overheads_by_task,
    policies,
    spread,
    worst_ratio,
)
from paper.sampler import ClaimSampler, middle
from paper.significance import paired_ratio
from pytest_energy import PADDINGS, EnergyClaim, EnergySession, FineTuning

TASK, CAP, LEAST_STEPS = "sst2", 128, 2  # of short sequences, which are padded most
COUNTED_SPREAD, MODELLED_SPREAD = 1.25, 1.6
"""By how much J a processed token may differ between policies; docs/claims.md says where from."""


def test_overheads(energy_claim: EnergyClaim, energy_session: EnergySession) -> None:
    overheads = overheads_by_task(energy_session.data)
    if not overheads:
        pytest.skip("the data has none of the tasks: there are no lengths to pad")
    energy_claim.table("Processed over real tokens", ("task", *PADDINGS), *by_task(overheads))
    for better, worse in (("grouped", "dynamic"), ("dynamic", "fixed")):
        ratio = worst_ratio(overheads, better, worse)
        energy_claim.figure(f"{better} over {worse}, worst task", ratio, at_most=1.0, exact=True)


def test_joules(
    energy_claim: EnergyClaim, energy_session: EnergySession, finetune: Callable[..., FineTuning]
) -> None:
    budget = energy_session.budget
    compared = policies(CAP, budget.max_tokens_per_batch)
    tokens = max(budget.tokens, LEAST_STEPS * compared[0].batch_size * CAP)
    settings = {"max_length": CAP, "tokens_per_window": tokens}
    runs = [
        finetune(TASK, affordable_bert(), padding=p.padding, batch_size=p.batch_size, **settings)
        for p in compared
    ]
    measured = ClaimSampler(energy_session).in_turn(runs)
    costs = [
        Cost(policy, w.tokens / w.steps, w.tokens / w.real_tokens, w.joules_per_token)
        for policy, w in zip(compared, map(middle, measured), strict=True)
    ]
    most = MODELLED_SPREAD if energy_claim.modelled else COUNTED_SPREAD
    energy_claim.figure("J/processed token, most over least", spread(costs[:3]), at_most=most)
    dynamic, fixed, grouped = ([w.joules / w.real_tokens for w in each] for each in measured[2:])
    ratio, interval = paired_ratio(fixed, dynamic)
    energy_claim.figure(
        "J/real token, fixed over dynamic", ratio, interval=interval, at_least=1.0, by_interval=True
    )
    ratio, interval = paired_ratio(grouped, dynamic)
    energy_claim.figure(
        "J/real token, grouped over dynamic",
        ratio,
        interval=interval,
        at_most=1.0,
        by_interval=True,
    )
    energy_claim.table(f"Padding of {TASK}", COLUMNS, *(cost.row for cost in costs))
    title = "mJ/real token, were a processed one as above under dynamic padding"
    rows = by_task(overheads_by_task(energy_session.data), 1e3 * costs[2].joules_per_token)
    energy_claim.table(title, ("task", *PADDINGS), *rows)
