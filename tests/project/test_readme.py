"""Examples of the README and docs/your-own-training.md run, on a simulated card."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import sim

ROOT = Path(__file__).parents[2]

# What the examples leave to the reader.
PREAMBLE = """
import time

def train(): time.sleep(0.2)
def infer(): time.sleep(0.2)
def train_for_a_while():
    time.sleep(0.2)
    return 1000
"""


def _examples(mark: str) -> list[str]:
    pages = [ROOT / "README.md", ROOT / "docs" / "your-own-training.md"]
    text = "".join(page.read_text() for page in pages)
    return [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if mark in block]


@pytest.fixture
def simulated(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project on a simulated card that has no baseline yet."""
    variables = sim.environment(
        [sim.SimulatedGpu("constant 300", tick_seconds=0.02)], pytester.path / "gpu"
    )
    for name, value in variables.items():
        if os.environ.get(name) != value:
            monkeypatch.setenv(name, value)
    return pytester


def test_metering_examples(simulated: pytest.Pytester) -> None:
    (example,) = _examples("@pytest.mark.energy(max_joules")
    simulated.makepyfile(PREAMBLE + example)

    result = simulated.runpytest_subprocess()

    result.assert_outcomes(passed=2)


def test_the_first_example(simulated: pytest.Pytester) -> None:
    text = (ROOT / "README.md").read_text()
    (example,) = re.findall(r"```python\n(def test_training.*?)```", text, re.DOTALL)
    simulated.makepyfile(PREAMBLE + example)

    result = simulated.runpytest_subprocess()

    result.assert_outcomes(passed=1)
    shown = text.partition("benchmark                     value")[2].partition("```")[0]
    assert "test_training/train" in shown
    result.stdout.re_match_lines([r".*/train   +\d\d\.\d\d? ± \d\.\d\d? J +measured"])


def test_metering_outside_pytest(simulated: pytest.Pytester) -> None:
    (example,) = _examples("open_meter")
    script = simulated.makepyfile(script=PREAMBLE + example)

    result = simulated.runpython(script)

    assert result.ret == 0
    result.stdout.re_match_lines([r"6\d\.\d ± \d\.\d J in 0\.2\d s"])


@pytest.mark.realtime  # joules go by the seconds that training takes
def test_gating_fine_tuning(simulated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # another process takes the other core, not ours
    (example,) = _examples("def test_sst2(finetune")
    example = PREAMBLE + example
    small = example.replace("bert-base-uncased", "bert-tiny").replace(
        "distilbert-tiny", "bert-tiny"
    )
    simulated.makeconftest(sim.FINETUNE)
    simulated.makepyfile(small)
    folder = simulated.mkdir("baselines")
    (folder / "simulated.toml").write_text(
        "schema = 1\n[hardware]\nkey = 'simulated'\nmatch = ['NVIDIA Simulated*']\n"
        "tokens_per_window = 30_000\nmax_tokens_per_batch = 1024\n"
    )

    first = simulated.runpytest_subprocess()
    second = simulated.runpytest_subprocess()

    first.assert_outcomes(passed=2)
    first.stdout.fnmatch_lines(
        [
            "my-model *J/token*recorded",
            "sst2/bert-tiny *J/token*recorded",
            "sst2/bert-tiny-bert-tiny*%*",
        ]  # recorded, or too restless
    )
    second.assert_outcomes(passed=2)
    second.stdout.fnmatch_lines(["sst2/bert-tiny *J/token*J/token*(local)"])


def test_gating_a_function(simulated: pytest.Pytester) -> None:
    pytest.importorskip("torch")
    (example,) = _examples("def train():")
    # A fifth of its steps: 0.3 to 0.6 s, and a call of 0.05 s is too short for this card.
    simulated.makepyfile(example.replace("range(250)", "range(50)"))

    result = simulated.runpytest_subprocess()

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["my-model *J/token *"])


def test_gating_a_run_of_ones_own(simulated: pytest.Pytester) -> None:
    (example,) = _examples("class MyRun")
    simulated.makepyfile(PREAMBLE + example)

    result = simulated.runpytest_subprocess()

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["my-model/v2*J/token*recorded"])


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 110
