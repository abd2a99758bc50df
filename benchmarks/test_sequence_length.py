"""Claim: processed tokens predict energy best, and sequence length better than examples do.

Tasks of short and of long sequences train on the same number of tokens, then on the same number of
examples. DistilBERT where only a CPU computes, else BERT-base.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paper.models import affordable_bert
from paper.predictors import Piece, explained, plot, table
from paper.sampler import ROUNDS, ClaimSampler, middle
from pytest_energy import EnergyClaim, EnergySession, FineTuning

TASKS = ("sst2", "mnli", "rte", "squad_v1", "imdb")
MARGIN = 0.1  # of R²
PAPER_SPREADS = {"processed tokens": "1.22 (derived)", "examples": "7.6 (derived)"}


def test_tokens_predict_best(
    energy_claim: EnergyClaim, energy_session: EnergySession, finetune: Callable[..., FineTuning]
) -> None:
    tasks = [task for task in TASKS if energy_session.data.missing(task) is None]
    if len(tasks) < 3:
        pytest.skip(f"the data has {len(tasks)} of {', '.join(TASKS)}: it takes 3 of them")
    sampler, most = ClaimSampler(energy_session), 0
    by_tokens: list[Piece] = []
    by_examples: list[Piece] = []
    for task in tasks:
        run = finetune(task, affordable_bert())
        most = most or run.examples  # of the shortest sequences
        passes = max(1, round(most / run.examples))
        windows = sampler.measured(run.digest)
        if len(windows) < ROUNDS or passes > 1:
            sampler.warm_up(run)
        once = middle(windows) if len(windows) >= ROUNDS else sampler.windows(run)[0]
        several = sampler.windows(run, (passes,))[0] if passes > 1 else once
        by_tokens.append(Piece(once.joules, once.tokens, run.examples))
        by_examples.append(Piece(several.joules, several.tokens, passes * run.examples))
        run.close()

    tokens, length, examples = explained([by_tokens, by_examples]).values()
    energy_claim.figure("R², tokens above sequence length", tokens - length, at_least=MARGIN)
    energy_claim.figure("R², sequence length above examples", length - examples, at_least=MARGIN)
    families = {"same tokens": by_tokens, "same examples": by_examples}
    columns, rows = table(families, PAPER_SPREADS)
    energy_claim.table("What predicts energy: R² of its logarithm, and J a unit", columns, *rows)
    energy_claim.plot(plot(families))
