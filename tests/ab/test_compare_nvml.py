"""A/B end to end: a user's own workload in a git repository, on the simulated NVML."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ab_support import SIMULATED_PROJECT, SIMULATED_TEST, Repository, simulated_repository

pytestmark = pytest.mark.realtime

# The step sleeps for as long as its batch is large, as a device would work.
STEPPED = """
import pytest
import project

@pytest.fixture
def energy_workload():
    def mine(batch):
        project.train(batch["input_ids"].numel() / 2500)
    return mine
"""

STEPPED_TEST = """
def test_mine(finetune, energy_gate):
    energy_gate.check("joules_per_token", finetune("sst2", batch_size=4))
"""


BUDGETS = """
schema = 1
[hardware]
key = "any"
match = ["*"]
tokens_per_window = 100_000
tokens_of_tasks = { sst2 = 500 }
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return simulated_repository(tmp_path, project=SIMULATED_PROJECT, test_mine=SIMULATED_TEST)


def test_six_percent_more_work_of_ones_own_step_fails_and_says_throughput(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    repository = simulated_repository(
        tmp_path, project=SIMULATED_PROJECT, conftest=STEPPED, test_mine=STEPPED_TEST
    )
    repository.change("project", "WORK, WATTS = 1.0", "WORK, WATTS = 1.06")
    report, folder = repository.path.parent / "report.json", repository.path / "baselines"
    folder.mkdir()
    (folder / "any.toml").write_text(BUDGETS)

    done = repository.pytest("--energy-compare=HEAD", f"--energy-json={report}")

    assert done.returncode == 1, done.stdout + done.stderr
    (verdict,) = json.loads(report.read_text())["verdicts"]
    assert 500 <= verdict["tokens"] < 1000
    assert "regression: " in done.stdout
    assert "same power" in done.stdout
    assert "tokens/s (throughput); same environment." in done.stdout
    assert "sst2/mine against HEAD (" in done.stdout
    assert repository.worktrees() == ["1 listed"]


def test_six_percent_more_power_fails_and_says_power(repository: Repository) -> None:
    repository.change("project", "300.0", "318.0")
    report = repository.path.parent / "report.json"
    junit = repository.path.parent / "junit.xml"

    done = repository.pytest(
        "--energy-compare=HEAD", f"--energy-json={report}", f"--junitxml={junit}"
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"J/token: \+[567]\.\d % power, ", done.stdout)
    (verdict,) = json.loads(report.read_text())["verdicts"]
    comparison = verdict["comparison"]
    assert verdict["verdict"] == "regression"
    assert verdict["change"] == pytest.approx(0.06, abs=0.03)
    assert verdict["baseline"] == pytest.approx(comparison["base"]["joules_per_token"], rel=0.01)
    assert comparison["head"]["mean_watts"] / comparison["base"]["mean_watts"] == pytest.approx(
        1.06, abs=0.01
    )
    assert (comparison["kind"], comparison["settles"], comparison["turns"]) == (
        "revision",
        False,
        False,
    )
    assert comparison["base"]["reference"] == comparison["reference"]
    assert comparison["head"]["reference"] == "working tree"
    assert len(comparison["pairs"]) == len(verdict["windows"]) >= 4
    assert comparison["within_pair_drift"] is not None
    assert 'name="energy_base_mean_watts"' in junit.read_text()


def test_an_unchanged_head_passes_and_nothing_of_the_users_is_touched(
    repository: Repository,
) -> None:
    repository.write(aside="stashed = True\n")
    repository.git("add", "--all")
    repository.git("stash")
    repository.write(untracked="x = 1\n")
    hooked = repository.path.parent / "hooked"
    (repository.path / ".git" / "hooks" / "post-checkout").write_text(
        f"#!/bin/sh\ntouch {hooked}\n"
    )
    (repository.path / ".git" / "hooks" / "post-checkout").chmod(0o755)
    before = repository.state()

    done = repository.pytest("--energy-compare=HEAD")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "within" in done.stdout
    assert repository.state() == before
    assert repository.worktrees() == ["1 listed"]
    assert not hooked.exists()


def test_a_head_whose_import_breaks_is_an_error_and_no_regression(repository: Repository) -> None:
    repository.change("project", "import sim", "import sim, no_such_module")

    done = repository.pytest("--energy-compare=HEAD")

    assert done.returncode != 0
    assert "regression" not in done.stdout
    assert "No module named 'no_such_module'" in done.stdout
    assert repository.worktrees() == ["1 listed"]
