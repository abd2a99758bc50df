"""What BERT's pre-training costs, and how many fine-tuning runs that is; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_energy import EnergyError, FullRun

BATCH_SIZE = 256
"""Sequences of a step: an assumption, since the paper's summary names none; BERT's own."""

PAPER_PRETRAINING_KWH = 368.0
"""Quoted: masked LM from scratch, 900k steps at length 128 and 100k at 512, 4x RTX 8000."""

PAPER_RUNS: Mapping[str, str] = {"mnli": "392 (quoted)", "rte": "45,109 (quoted)"}
"""How many runs of a task the paper says that pre-training equals."""

PAPER_KWH: Mapping[str, float] = {
    "rte": 0.008,
    "mnli": 0.938,
    "squad_v1": 0.537,
    "squad_v2": 0.795,
    "imdb": 0.151,
    "sst2": 0.081,
    "conll2003": 0.021,
    "conll2012": 0.207,
}
"""Quoted: kWh of a fine-tuning run of BERT-base on one GPU."""


@dataclass(frozen=True)
class Phase:
    """A stretch of pre-training: optimizer steps on full sequences of `length` tokens."""

    steps: int
    length: int

    @property
    def tokens(self) -> int:
        """Processed tokens of the phase."""
        return self.steps * BATCH_SIZE * self.length


PHASES = (Phase(steps=900_000, length=128), Phase(steps=100_000, length=512))


def pretraining_joules(joules_per_token: Mapping[int, float]) -> float:
    """Joules of a whole pre-training run, from J/token at the length of each phase."""
    missing = [phase.length for phase in PHASES if phase.length not in joules_per_token]
    if missing:
        raise EnergyError(f"no J/token at length {missing[0]}: measure masked LM at each length")
    return sum(phase.tokens * joules_per_token[phase.length] for phase in PHASES)


def equivalent_runs(pretraining: float, run: FullRun, joules_per_token: float) -> float:
    """How many fine-tuning runs cost as many joules as `pretraining` (J)."""
    return pretraining / (run.tokens * joules_per_token)


def paper_runs(task: str) -> str | None:
    """The paper's figure with its mark: quoted, or derived from its kWh; None where it has none."""
    if task in PAPER_RUNS:
        return PAPER_RUNS[task]
    if task not in PAPER_KWH:
        return None
    return f"{PAPER_PRETRAINING_KWH / PAPER_KWH[task]:,.0f} (derived)"
