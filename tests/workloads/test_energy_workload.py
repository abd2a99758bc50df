"""`energy_workload`: a training step of one's own, driven and gated by `finetune`."""

from __future__ import annotations

import functools
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pytest_energy.ab.protocol import RunFacts
from pytest_energy.ab.same_work import changed_settings, other_work
from pytest_energy.baselines.reading import read

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from callback_support import TokenMeter
from pytest_energy import EnergyError, prepare
from pytest_energy.workloads.data.synthetic import SyntheticSource
from pytest_energy.workloads.engine import Stepping, drive, step_name

CONFTEST = """
    import os
    import pytest
    import spending

    @pytest.fixture
    def energy_workload():
        def mine(batch):
            joules_per_token = float(os.environ.get("JOULES", "0.005"))
            spending.spend(joules_per_token * batch["input_ids"].numel())
        return mine
"""

TEST = """
    def test_mine(finetune, energy_gate):
        energy_gate.check("joules_per_token", finetune("sst2", batch_size=4))
"""

PAGE = Path(__file__).parents[2] / "docs" / "your-own-training.md"

# What the page's example leaves to the reader: a model that spends, and an optimizer.
BUILD = """
    from unittest.mock import Mock
    import pytest
    import spending

    def build():
        def model(input_ids, attention_mask, token_type_ids, labels):
            spending.spend(0.005 * input_ids.numel())
            return Mock()
        return model, Mock()

"""


@pytest.fixture
def stepped(pytester: pytest.Pytester, spending: Path) -> pytest.Pytester:
    """A project that fine-tunes with a step of its own."""
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_mine=TEST)
    return pytester


def driven(step: Any, task: str = "sst2", **changes: Any) -> Stepping:
    """A run of some hundred tokens."""
    settings: dict[str, Any] = {"batch_size": 4, **changes}
    return drive(
        step,
        task,
        data=SyntheticSource(),
        meter=TokenMeter(torch.nn.Identity()),
        tokens_per_window=300,
        device="cpu",
        **settings,
    )


def test_the_step_is_gated_under_its_own_name(
    stepped: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = "--energy-tokens=300"
    for mode in ("new", "append"):
        assert stepped.runpytest(f"--energy-update={mode}", budget).ret == 0
    same = stepped.runpytest("--energy-hw=h200")
    monkeypatch.setenv("JOULES", "0.008")
    worse = stepped.runpytest("--energy-hw=h200")

    same.stdout.fnmatch_lines(["sst2/mine*5.000*mJ/token*"])
    worse.assert_outcomes(failed=1)
    worse.stdout.fnmatch_lines(["regression: *+60.0 %*"])
    stored = read(stepped.path / "baselines" / "h200.toml")
    entry = stored.entries["joules_per_token", "sst2/mine"]
    assert (len(entry.sessions), len(entry.workload or "")) == (2, 8)


def test_other_batches_are_another_workload(stepped: pytest.Pytester) -> None:
    assert stepped.runpytest("--energy-update=new", "--energy-tokens=300").ret == 0
    stepped.makepyfile(test_mine=TEST.replace("batch_size=4", "batch_size=8"))

    result = stepped.runpytest("--energy-hw=h200")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["invalid: `sst2/mine` is workload *--energy-update=replace*"])


def test_a_module_may_override_it_for_itself(stepped: pytest.Pytester, spending_cpu: Path) -> None:
    stepped.makepyfile(
        test_mine="""
        import pytest

        @pytest.fixture
        def energy_workload():
            return None

        def test_ours(finetune):
            run = finetune("sst2", model="bert-tiny", batch_size=2)
            assert run.id == "sst2/bert-tiny"
        """
    )

    # In a process of its own: what torch registers on import cannot be registered again.
    stepped.runpytest_subprocess("--energy-tokens=300").assert_outcomes(passed=1)


def test_the_readmes_example(pytester: pytest.Pytester, spending: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = [block for block in blocks if "def energy_workload" in block]
    pytester.makepyfile(test_mine=textwrap.dedent(BUILD) + example)

    result = pytester.runpytest("--energy-update=new", "--energy-tokens=300")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["sst2/step*5.000*mJ/token*recorded"])


def test_what_cannot_be_called_is_refused(stepped: pytest.Pytester) -> None:
    stepped.makeconftest(
        "import pytest\n\n@pytest.fixture\ndef energy_workload():\n    return 'sst2'\n"
    )

    result = stepped.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["`energy_workload` gave 'sst2', which cannot be called*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_each_window_drives_the_step_over_the_same_batches() -> None:
    seen: list[dict[str, Any]] = []

    def step(batch: dict[str, Any]) -> None:
        seen.append(dict(batch))
        batch.clear()

    run = driven(step)
    windows = [run.window(), run.window()]

    assert len(seen) == 2 * run.steps
    for first, second in zip(seen[: run.steps], seen[run.steps :], strict=True):
        assert set(first) == {"input_ids", "attention_mask", "token_type_ids", "labels"}
        assert all(torch.equal(first[name], second[name]) for name in first)
    tokens = sum(batch["input_ids"].numel() for batch in seen) // 2
    real = sum(int(batch["attention_mask"].sum()) for batch in seen) // 2
    for window in windows:
        assert (window.tokens, window.real_tokens, window.steps) == (tokens, real, run.steps)
    assert run.padding_overhead == tokens / real > 1


def test_a_window_may_be_several_passes() -> None:
    calls: list[int] = []
    run = driven(lambda batch: calls.append(batch["input_ids"].shape[0]))

    window = run.window(3)

    assert len(calls) == window.steps == 3 * run.steps
    assert sum(calls) == 3 * run.examples
    assert (window.tokens, window.real_tokens) == (3 * run.tokens, 3 * run.real_tokens)


def test_the_batches_are_those_of_our_own_run() -> None:
    seen: list[Any] = []
    driven(lambda batch: seen.append(batch["input_ids"])).window()
    ours = prepare(
        "sst2",
        "bert-tiny",
        data=SyntheticSource(),
        meter=TokenMeter(torch.nn.Identity()),
        tokens_per_window=300,
        batch_size=4,
        device="cpu",
    )

    assert all(torch.equal(a, b["input_ids"]) for a, b in zip(seen, ours.batches, strict=True))


def test_the_digest_names_the_step_and_the_batches_but_not_the_code() -> None:
    def step(batch: dict[str, Any]) -> None:
        del batch

    class Other:
        name = "other"

        def __call__(self, batch: dict[str, Any]) -> None:
            del batch

    base = driven(step).digest
    changed = [
        driven(Other()),
        driven(step, "rte"),
        driven(step, batch_size=8),
        driven(step, max_length=64),
        driven(step, padding="fixed"),
        driven(step, seed=1),
    ]

    def code(batch: dict[str, Any]) -> None:
        raise ValueError

    code.__name__, code.__qualname__ = "step", step.__qualname__
    assert driven(code).digest == base
    assert len({base, *(run.digest for run in changed)}) == 1 + len(changed)
    assert changed[0].id == "sst2/other"


def test_sides_of_an_ab_see_that_a_step_does_other_work() -> None:
    def step(batch: object) -> None: ...

    facts = [RunFacts.of(driven(step, seed=seed)) for seed in (0, 1)]

    assert "`seed` of `sst2/step` is 0 in the base and 1" in (other_work(*facts) or "")
    padded = RunFacts.of(driven(step, padding="fixed"))
    assert changed_settings(facts[0], padded) == ({"padding": "dynamic"}, {"padding": "fixed"})


def test_the_names_of_steps() -> None:
    assert step_name(print) == "print"
    assert step_name(functools.partial(print)) == "partial"
    assert step_name(torch.nn.Identity()) == "Identity"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "sst3"}, "`sst3` is not a task"),
        ({"lora": 8}, "`lora` is not a setting of batches"),
        ({"batch_size": 0}, "`batch_size` is 0"),
        ({"padding": "none"}, "`none` is not a padding policy"),
        ({"max_length": 4}, "`max_length` is 4"),
        ({"seed": -1}, "`seed` is -1"),
    ],
)
def test_bad_settings_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(EnergyError, match=message):
        driven(print, **changes)


def test_a_closed_run_has_no_windows() -> None:
    run = driven(print)
    run.close()

    with pytest.raises(EnergyError, match="`sst2/print` was closed"):
        run.window()
