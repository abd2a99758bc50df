"""After a change both sides run once more under torch's profiler, which says what carries it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ab_support import Repository
from profile_support import STEP, TEST, gated, profiled_repository

pytest.importorskip("torch")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = profiled_repository(tmp_path)
    made.commit("a step by torch")
    return made


def compared(repository: Repository, *more: str) -> tuple[dict[str, Any], str]:
    return gated(repository, "--energy-compare=HEAD", *more)


def test_the_operator_that_costs_more_is_named_with_its_calls(repository: Repository) -> None:
    repository.change("conftest", "JOULES = 1.0", "JOULES = 1.2")
    repository.change("conftest", "EXTRA = 0", "EXTRA = 3")

    verdict, printed = compared(repository)

    assert verdict["verdict"] == "regression", printed
    profile = verdict["profile"]
    products = next(row for row in profile["operators"] if row["name"] == "aten::mm")
    assert products["head_calls"] - products["base_calls"] == 3
    assert products["head"] > products["base"]
    assert [row["name"] for row in profile["phases"]] == [
        "forward",
        "backward",
        "optimizer",
        "gaps",
    ]
    assert {"body", "head"} <= {row["name"] for row in profile["modules"]}
    assert profile["sentence"] in verdict["explanation"]
    assert "Under the profiler a token takes " in printed
    assert "`aten::mm` " in printed
    assert " calls a step), " in printed


ATTENTION = """
class SelfAttention(torch.nn.Module):
    way = "sdpa"

    def forward(self, rows):
        rows = rows.reshape(1, 1, -1, 8).expand(1, 64, -1, 8).contiguous()
        if self.way == "sdpa":
            return torch.nn.functional.scaled_dot_product_attention(rows, rows, rows).mean(1)[0]
        scores = (rows @ rows.transpose(-2, -1)).softmax(-1)
        return (scores @ rows).mean(1)[0]


class Mine(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Linear(8, 8)
        self.attention = SelfAttention()
        self.head = torch.nn.Linear(8, 2)

    def forward(self, ids):
        rows = ids.float()[:, :1] @ torch.ones(1, 8) / 3e4
        return self.head(self.attention(self.body(rows)))
"""


def test_another_way_of_attention_is_named(repository: Repository) -> None:
    step = STEP[: STEP.index("class Mine")] + ATTENTION + STEP[STEP.index("\n\n@pytest.fixture") :]
    repository.write(conftest=step)
    repository.commit("attention")
    repository.change("conftest", 'way = "sdpa"', 'way = "eager"')
    repository.change("conftest", "JOULES = 1.0", "JOULES = 1.2")

    verdict, printed = compared(repository)

    attention = verdict["profile"]["attention"]
    assert attention["name"] == "sdpa flash -> eager", printed
    assert "aten::_softmax" in verdict["profile"]["came"]
    assert any("flash" in name for name in verdict["profile"]["went"])


def test_who_does_not_want_it_gets_none(repository: Repository) -> None:
    repository.change("conftest", "JOULES = 1.0", "JOULES = 1.2")

    verdict, printed = compared(repository, "--energy-profile=never")

    assert verdict["profile"] is None
    assert "profiler" not in printed


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ('raise RuntimeError("CUPTI is taken")', "not profiled: the base: RuntimeError: CUPTI is"),
        ("os._exit(7)", "not profiled: the base (`HEAD"),
    ],
)
def test_a_profiler_that_fails_is_one_line_and_ends_nothing(
    repository: Repository, fault: str, told: str
) -> None:
    failing = STEP.replace(
        "def mine(batch):", f"def mine(batch):\n        if on():\n            {fault}"
    )
    failing = failing.replace("import random", "import os\nimport random")
    failing = failing.replace(
        "JOULES = 1.0", "on = lambda: torch.autograd._profiler_enabled()\n\nJOULES = 1.0"
    )
    twice = TEST + '    energy_gate.joules_per_token(finetune("sst2", batch_size=2), id="again")\n'
    repository.write(conftest=failing, test_mine=twice)
    repository.commit("a profiler that fails")
    # Fewer joules fail nothing, so that the test goes on to its second check.
    repository.change("conftest", "JOULES = 1.0", "JOULES = 0.8")
    report = repository.path.parent / "report.json"

    done = repository.pytest(
        "--energy-compare=HEAD", "--energy-tokens=500", f"--energy-json={report}"
    )

    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = json.loads(report.read_text())["verdicts"]
    assert [each["verdict"] for each in verdicts] == ["improvement", "improvement"]
    for each in verdicts:
        assert each["profile"] is None
        assert each["comparison"]["notes"][-1].startswith(told)


OWN_TEST = """
from dataclasses import replace

import ledger
import torch
from pytest_energy import window

STEPS = 20
EXTRA = 0


class Mine:
    id, digest, padding_overhead = "mine/model", None, None

    def __init__(self, meter):
        self.meter = meter
        self.model = torch.nn.Linear(8, 8)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)

    def window(self):
        with window(self.meter, self.id) as opened:
            for _ in range(STEPS):
                self.model(torch.rand(4, 8)).sum().backward()
                for _ in range(EXTRA):
                    torch.rand(200, 200) @ torch.rand(200, 200)
                self.optimizer.step()
                self.optimizer.zero_grad()
            ledger.spend(1.0 + 0.2 * EXTRA)
        return replace(opened.record, tokens=STEPS * 4, real_tokens=STEPS * 4)


def test_mine(energy, energy_gate):
    energy_gate.joules_per_token(Mine(energy.meter))
"""


def test_a_run_of_ones_own_is_told_apart_over_its_first_steps(repository: Repository) -> None:
    repository.write(test_mine=OWN_TEST)
    repository.commit("a run of its own")
    repository.change("test_mine", "EXTRA = 0", "EXTRA = 1")

    verdict, printed = compared(repository)

    assert verdict["verdict"] == "regression", printed
    profile = verdict["profile"]
    products = next(row for row in profile["operators"] if row["name"] == "aten::mm")
    # The weight's gradient takes one; of 20 steps 8 are told, so that calls a step are exact.
    assert (products["base_calls"], products["head_calls"]) == (1.0, 2.0)
    assert [row["name"] for row in profile["modules"]] == ["Linear"]
