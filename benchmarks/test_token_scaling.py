"""Claim: fine-tuning energy is proportional to the tokens processed, padding included, and to time.

DistilBERT where only a CPU computes, else BERT-base.
"""

from __future__ import annotations

from collections.abc import Callable

from paper.models import affordable_bert
from paper.sampler import ClaimSampler
from pytest_energy import (
    EnergyClaim,
    EnergySession,
    FineTuning,
    Plot,
    Series,
    log_log,
    through_origin,
)

PASSES = (1, 2, 3, 5, 10)
"""Budgets of a decade, in windows of the session's own budget."""

COUNTED_R_SQUARED, COUNTED_SLOPE = 0.99, 0.05
MODELLED_R_SQUARED, MODELLED_SLOPE = 0.9, 0.2
"""Least R², and how far the log-log slope may be from 1; docs/claims.md says where from."""


def test_proportional(
    energy_claim: EnergyClaim, energy_session: EnergySession, finetune: Callable[..., FineTuning]
) -> None:
    least = MODELLED_R_SQUARED if energy_claim.modelled else COUNTED_R_SQUARED
    off = MODELLED_SLOPE if energy_claim.modelled else COUNTED_SLOPE
    sampler = ClaimSampler(energy_session)
    run = finetune("sst2", model=affordable_bert(), shared=True)
    sampler.warm_up(run)
    windows = sampler.windows(run, PASSES)
    tokens, joules = [float(w.tokens) for w in windows], [w.joules for w in windows]

    fit, power = through_origin(tokens, joules), log_log(tokens, joules)
    energy_claim.figure("R² over tokens", fit.r_squared, at_least=least, paper="0.997 (derived)")
    energy_claim.figure("J/token, all budgets", fit.slope, "J/token", interval=fit.interval)
    energy_claim.figure(
        "log-log slope over tokens",
        power.slope,
        interval=power.interval,
        at_least=1 - off,
        at_most=1 + off,
        paper="0.988 (derived)",
    )
    seconds = through_origin([w.seconds for w in windows], joules)
    energy_claim.figure("R² over seconds", seconds.r_squared, at_least=least)
    measured = Series("windows", tuple(zip(tokens, joules, strict=True)))
    fitted = Series("through the origin", tuple((x, fit.at(x)) for x in tokens), line=True)
    axes = ("processed tokens", "J")
    energy_claim.plot(Plot("Energy of token budgets", *axes, (measured, fitted), logarithmic=True))
