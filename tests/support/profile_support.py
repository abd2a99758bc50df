"""A step of a user's own by torch, whose joules are a ledger's; EXTRA adds matrix products."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ab_support import Repository, ledger_repository

STEP = """
import random

import ledger
import pytest
import torch

JOULES = 1.0
EXTRA = 0


class Mine(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Linear(8, 8)
        self.head = torch.nn.Linear(8, 2)

    def forward(self, ids):
        rows = ids.float() @ torch.ones(ids.shape[1], 8) / ids.sum()
        return self.head(torch.relu(self.body(rows)))


@pytest.fixture
def energy_workload():
    torch.manual_seed(0)
    model, noise = Mine(), random.Random(JOULES)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    square = torch.rand(300, 300)

    def mine(batch):
        loss = model(batch["input_ids"]).logsumexp(1).sum()
        for _ in range(EXTRA):
            square @ square
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        ledger.spend(JOULES * noise.gauss(1, 0.001))

    return mine
"""

TEST = """
def test_mine(finetune, energy_gate):
    energy_gate.joules_per_token(finetune("sst2", batch_size=4))
"""


def profiled_repository(folder: Path) -> Repository:
    """A project in `folder` whose one test gates the step by torch."""
    made = ledger_repository(folder)
    made.write(conftest=STEP, test_mine=TEST)
    return made


def gated(repository: Repository, *options: str) -> tuple[dict[str, Any], str]:
    """What became of that test's figure, as the JSON has it, and what was printed."""
    report = repository.path.parent / "report.json"
    done = repository.pytest(*options, "--energy-tokens=500", f"--energy-json={report}")
    (verdict,) = json.loads(report.read_text())["verdicts"]
    return verdict, done.stdout + done.stderr
