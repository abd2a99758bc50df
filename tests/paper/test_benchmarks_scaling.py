"""The claims of tokens, sequence length, padding and pre-training: on planted joules, on models."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import sim

pytestmark = pytest.mark.realtime

pytest.importorskip("torch")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

# What a batch costs, by name.
PLANTED = """
import os
import random

import pytest
import spending

COST = os.environ.get("COST", "tokens")
noise = random.Random(0)


def joules(batch):
    tokens = batch["input_ids"].numel()
    full = bool(batch["attention_mask"].all())
    return 0.005 * {
        "tokens": tokens,
        "examples": 30 * batch["input_ids"].shape[0],
        "real tokens": int(batch["attention_mask"].sum()),
        "noise": tokens * noise.lognormvariate(0, 1.5),
        "costly masked LM": tokens * (3 if full else 1),
    }[COST]


@pytest.fixture
def energy_workload():
    return lambda batch: spending.spend(joules(batch))
"""

# Runs whose seconds are planted, too: ONCE is joules of a window whatever its tokens, SLOWER how
# much longer than its joules a window takes for each of its passes.
TIMED = """
import os

import gated
import pytest
import spending

spending.METHOD = os.environ.get("METHOD", "counter")
once, slower = (float(os.environ.get(name, 0)) for name in ("ONCE", "SLOWER"))


class Run(gated.Run):
    def window(self, passes=1):
        self._tokens = 1000 * passes
        self._mean = 0.005 + once / self._tokens
        self._watts = 500 / (1 + slower * passes)
        return super().window()


@pytest.fixture
def finetune():
    return lambda task, model, shared: Run(task, cv=0.001)
"""

TINY = """
import pytest
from training import finetune as trained


@pytest.fixture
def finetune(trained):
    def small(task, model="bert-base-uncased", **changes):
        return trained(task, model.split("-")[0] + "-tiny", **changes)
    return small
"""


def claims(folder: Path) -> dict[str, Any]:
    """Claims of `run.json` by the name of their test."""
    records = json.loads((folder / "run.json").read_text())["claims"]
    return {record["nodeid"].rpartition("::")[2]: record for record in records}


def figures(claim: dict[str, Any]) -> dict[str, float]:
    return {figure["name"]: figure["value"] for figure in claim["figures"]}


def run(pytester: pytest.Pytester, module: str, tokens: int, *arguments: str) -> pytest.RunResult:
    """Run one module of the benchmarks where joules are planted."""
    pytester.makeconftest(PLANTED)
    shutil.copy(BENCHMARKS / f"{module}.py", pytester.path)
    return pytester.runpytest(f"--energy-tokens={tokens}", "--energy-json=run.json", *arguments)


def timed(pytester: pytest.Pytester) -> pytest.RunResult:
    """Run the module of token scaling where joules and seconds are planted."""
    pytester.makeconftest(TIMED)
    shutil.copy(BENCHMARKS / "test_token_scaling.py", pytester.path)
    return pytester.runpytest("--energy-json=run.json")


def test_energy_that_follows_tokens_is_proportional(
    pytester: pytest.Pytester, spending: Path
) -> None:
    result = timed(pytester)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["holds*R² over tokens 1.000 (>= 0.9900) and 2 more*"])
    claim = claims(pytester.path)["test_proportional"]
    found = figures(claim)
    assert found["J/token, all budgets"] == pytest.approx(0.005, rel=0.002)
    assert found["log-log slope over tokens"] == pytest.approx(1.0, abs=0.002)
    measured, fitted = claim["plots"][0]["series"]
    assert [x for x, _ in measured["points"]] == [1000, 2000, 3000, 5000, 10000]
    assert fitted["line"]


@pytest.mark.parametrize(
    ("planted", "figure"),
    [("ONCE", "log-log slope over tokens"), ("SLOWER", "R² over seconds")],
)
def test_energy_that_does_not_follow_tokens_or_time_is_noticed(
    pytester: pytest.Pytester,
    spending: Path,
    monkeypatch: pytest.MonkeyPatch,
    planted: str,
    figure: str,
) -> None:
    monkeypatch.setenv(planted, "1")

    result = timed(pytester)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*Not here: *`{figure}` is *; claimed is at least *"])


def test_modelled_joules_have_wider_bounds(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONCE", "1")
    counted = timed(pytester)
    monkeypatch.setenv("METHOD", "modelled")
    modelled = timed(pytester)

    counted.assert_outcomes(failed=1)
    modelled.assert_outcomes(passed=1)


def test_noise_is_not_proportional(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COST", "noise")

    result = run(pytester, "test_token_scaling", 1000)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Not here: `R² over tokens` is *; claimed is at least 0.99;*"])


def test_tokens_predict_energy_that_follows_them(pytester: pytest.Pytester, spending: Path) -> None:
    result = run(pytester, "test_sequence_length", 16_384)

    result.assert_outcomes(passed=1)
    claim = claims(pytester.path)["test_tokens_predict_best"]
    rows = {row[0]: row[1:] for row in claim["tables"][0]["rows"]}
    assert rows["processed tokens"][:3] == pytest.approx([1.0, 1.0, 1.0], abs=1e-6)
    # Among as many examples a unit of them costs as much more as sequences are longer.
    assert rows["examples"][2] == pytest.approx(rows["sequence length"][1], rel=0.3)
    assert rows["examples"][2] > 5
    assert len(claim["plots"][0]["series"]) == 6


def test_tokens_do_not_predict_energy_that_follows_examples(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COST", "examples")

    result = run(pytester, "test_sequence_length", 16_384)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Not here: `R², *tokens above sequence length` is -*"])


def test_too_few_tasks_are_no_comparison(pytester: pytest.Pytester, spending: Path) -> None:
    folder = pytester.mkdir("data")
    (folder / "SST-2").mkdir()
    (folder / "SST-2" / "train.tsv").write_text("sentence\tlabel\n" + "good film\t1\n" * 40)

    result = run(pytester, "test_sequence_length", 300, f"--energy-data={folder}", "-rs")

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*the data has 1 of sst2, mnli, *: it takes 3 of them*"])


def test_padding_costs_what_tokens_do(pytester: pytest.Pytester, spending: Path) -> None:
    result = run(pytester, "test_padding", 4096)

    result.assert_outcomes(passed=2)
    found = claims(pytester.path)
    by_task = {row[0]: row[1:] for row in found["test_overheads"]["tables"][0]["rows"]}
    assert by_task["sst2"] == pytest.approx([2.98, 1.05, 9.67], rel=0.02)
    costs, per_real_token = (table["rows"] for table in found["test_joules"]["tables"])
    assert [row[4] for row in costs] == pytest.approx([5.0] * 5)
    assert [row[5] for row in costs] == pytest.approx([5 * row[3] for row in costs])
    assert {row[0]: row[1] for row in per_real_token}["sst2"] == pytest.approx(5 * 2.98, rel=0.02)


def test_padding_that_costs_nothing_is_noticed(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COST", "real tokens")

    result = run(pytester, "test_padding", 4096)

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Not here: `J/processed token, most over least*at most 1.25*"])


def test_pretraining_in_runs_of_each_task(pytester: pytest.Pytester, spending: Path) -> None:
    result = run(pytester, "test_pretraining_equivalent", 4096)

    result.assert_outcomes(passed=1)
    claim = claims(pytester.path)["test_equivalent_runs"]
    assert figures(claim)["pre-training"] == pytest.approx(42.6e9 * 0.005 / 3.6e6, rel=0.001)
    rows = {row[0]: row for row in claim["tables"][0]["rows"]}
    assert len(rows) == 8
    assert rows["mnli"][3:] == [pytest.approx(409, rel=0.01), "392 (quoted)"]
    assert rows["rte"][3:] == [pytest.approx(44_600, rel=0.01), "45,109 (quoted)"]


def test_what_other_tests_measured_before_changes_nothing(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        test_before="""
        from gated import Run

        def test_mnli(energy_gate):
            mnli = Run("mnli/bert-base-uncased", joules_per_token=0.01, cv=0.0)
            energy_gate.check("joules_per_token", mnli)
        """
    )

    result = run(pytester, "test_pretraining_equivalent", 4096)

    result.assert_outcomes(passed=2)
    rows = claims(pytester.path)["test_equivalent_runs"]["tables"][0]["rows"]
    assert [row[2] for row in rows] == pytest.approx([5.0] * len(rows))


def test_pretraining_that_costs_otherwise_is_noticed(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COST", "costly masked LM")

    result = run(pytester, "test_pretraining_equivalent", 4096)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Not here: `runs of rte` is *; claimed is at least *at most *"])


def test_scaling_on_a_simulated_card_with_a_small_model(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    card = sim.SimulatedGpu("constant 300", tick_seconds=0.005, uuid="GPU-1")
    for name, value in sim.environment([card], pytester.path / "gpu").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS), prepend=os.pathsep)
    folder = pytester.mkdir("baselines")
    (folder / "simulated.toml").write_text(
        "schema = 1\n[hardware]\nkey = 'simulated'\nmatch = ['NVIDIA Simulated*']\n"
        "tokens_per_window = 4000\nmax_tokens_per_batch = 512\n"
        # A counter that misses nothing, so that windows of a fast machine are not too short.
        "[sensor.GPU-1]\ndriver = '580.00'\ndate = 2026-11-25T00:00:00Z\nfeed = 'true power'\n"
        "sees_all = true\ncounter_period_seconds = 0.005\n"
    )
    pytester.makepyfile(training=sim.FINETUNE)
    pytester.makeconftest(TINY)
    shutil.copy(BENCHMARKS / "test_token_scaling.py", pytester.path)

    # Other work on the processor may break the bounds here; they must be judged all the same.
    result = pytester.runpytest_subprocess(
        "-rs", "--energy-json=run.json", "--energy-idle-seconds=0"
    )

    claim = claims(pytester.path)["test_proportional"]
    assert "Traceback" not in result.stdout.str()
    assert claim["method"] == "counter"
    assert [figure["at_least"] for figure in claim["figures"]] == [0.99, None, 0.95, 0.99]
    found = figures(claim)
    # The card draws the same all the time, so that its joules are its seconds.
    assert found["R² over seconds"] > 0.999
    assert found["J/token, all budgets"] > 0
