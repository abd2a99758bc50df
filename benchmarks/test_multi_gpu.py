"""Claim: several GPUs fine-tune long sequences for similar or less energy, in half the time."""

from __future__ import annotations

import os
from collections.abc import Callable
from math import hypot

import pytest

from paper.communication import communication_share
from paper.models import BERT, DISTILBERT
from paper.sampler import ClaimSampler
from pytest_energy import (
    FRACTION,
    DistributedFineTuning,
    Energy,
    EnergyClaim,
    EnergySession,
    Sampler,
    Summary,
    summarise,
    visible_gpus,
)

LONG, SHORT = ("squad_v1", "imdb"), ("sst2",)
SIMILAR_ENERGY = 1.10
"""J/token of several GPUs over that of one, at most."""
ABOUT_HALF = 0.60
"""The same tokens' time on several GPUs over that on one, at most."""

Make = Callable[..., DistributedFineTuning]


def test_several_processes(
    energy: Energy,
    energy_session: EnergySession,
    finetune: Make,
    energy_claim: EnergyClaim,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    gpus = visible_gpus(energy.meter)
    if gpus == 1:
        pytest.skip("one GPU is visible: to compare several with one takes at least two")
    asserted = gpus > 1 and torch.cuda.is_available()
    most = gpus or 2
    if not torch.cuda.is_available():
        # A process stands for a GPU: it has the same share of the cores, however many there are.
        cores = len(os.sched_getaffinity(0))
        monkeypatch.setenv("OMP_NUM_THREADS", str(max(1, cores // most)))
    # If nothing is asserted, one task shows that it works.
    tasks = (*LONG, *SHORT) if asserted else LONG[:1]
    tokens = energy_session.budget.tokens // (1 if asserted else 2)
    found = {}
    for processes in counts(most):
        for task in tasks:
            run = finetune(
                task,
                model=BERT if asserted else DISTILBERT,
                processes=processes,
                tokens_per_window=tokens,
            )
            with ClaimSampler(energy_session).evidence():
                found[task, processes] = measure(run, thorough=asserted)
    energy_claim.table(
        "by task and processes" + ("" if asserted else ", all on the same cores"),
        ("task", "processes", "mJ/token", "tokens/s", "communication %"),
        *(
            (task, processes, 1e3 * one.mean, one.tokens_per_second, share and 100 * share)
            for (task, processes), (one, share) in sorted(found.items())
        ),
    )
    for (task, processes), (several, share) in found.items():
        if share is None:
            continue
        one, _ = found[task, 1]
        bounds = (SIMILAR_ENERGY, ABOUT_HALF) if asserted and task in LONG else (None, None)
        note_ratios(energy_claim, f"{task} x{processes}", one, several, bounds)
        energy_claim.figure(f"{task} x{processes} communication", share, FRACTION)


def counts(most: int) -> list[int]:
    """1, 2, 4, … processes, `most` at the most."""
    return [2**power for power in range(most.bit_length()) if 2**power <= most]


def measure(run: DistributedFineTuning, *, thorough: bool) -> tuple[Summary, float | None]:
    """What a token costs in a run, and what share of the time its processes communicate."""
    sampler = Sampler(run, lambda *_: None)
    if thorough:
        sampler.warm_up(8)
    else:
        run.warm_up()
    for _ in range(5 if thorough else 2):
        sampler.measure()
    share = communication_share(run, 3 if thorough else 1) if run.processes > 1 else None
    run.close()
    return summarise(sampler.windows), share


def note_ratios(
    claim: EnergyClaim,
    name: str,
    one: Summary,
    several: Summary,
    bounds: tuple[float | None, float | None],
) -> None:
    """Note energy and time of a token on several processes, over those on one."""
    assert one.tokens_per_second is not None
    assert several.tokens_per_second is not None
    similar, half = bounds
    joules = several.mean / one.mean
    doubt = joules * hypot(several.uncertainty / several.mean, one.uncertainty / one.mean)
    claim.figure(
        f"{name} energy over one's",
        joules,
        interval=(joules - doubt, joules + doubt),
        at_most=similar,
        paper="similar or lower (quoted)",
    )
    claim.figure(
        f"{name} time over one's",
        one.tokens_per_second / several.tokens_per_second,
        at_most=half,
        paper="about half or less (quoted)",
    )
