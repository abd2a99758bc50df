"""Fixtures of a module's scope: what is trained once, and looked at by several tests."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "your-own-training.md"


def _verdicts(pytester: pytest.Pytester) -> list[tuple[str, str]]:
    document = json.loads((pytester.path / "run.json").read_text())
    return [(verdict["id"], verdict["verdict"]) for verdict in document["verdicts"]]


def test_one_run_of_a_module_has_several_tests(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(
        """
        import pytest
        from spending import spend

        made, closed = [], []

        @pytest.fixture(scope="module")
        def energy_workload():
            return lambda batch: spend(0.005 * batch["input_ids"].numel())

        @pytest.fixture(scope="module")
        def run(module_finetune):
            made.append(module_finetune("sst2", batch_size=4))
            close = made[-1].close
            return made[-1]

        @pytest.fixture(scope="module")
        def trained(module_energy):
            with module_energy.window("train") as w:
                spend(40)
            return w

        def test_joules(trained):
            assert trained.joules < 50

        def test_seconds(trained, energy):
            assert trained.seconds < 50
            with energy.window("more"):
                spend(2)

        def test_gate(run, energy_gate):
            energy_gate.joules_per_token(run, id="first")

        def test_again(run, energy_gate):
            assert len(made) == 1 and run.batches
            energy_gate.joules_per_token(run, id="second")
        """,
        test_zz="""
        def test_closed():
            import test_one_run_of_a_module_has_several_tests as earlier
            assert not earlier.made[0].batches
        """,
    )

    result = pytester.runpytest("--energy-tokens=300", "--energy-json=run.json")

    result.assert_outcomes(passed=5)
    name = "test_one_run_of_a_module_has_several_tests.py/train"
    assert _verdicts(pytester) == [
        (name, "measured"),
        ("test_seconds/more", "measured"),
        ("first", "recorded"),
        ("second", "recorded"),
    ]


def test_the_page_s_example(pytester: pytest.Pytester, spending: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (example,) = [block for block in blocks if "def trained(module_energy" in block]
    head = "import pytest\nimport spending\ndef train(): spending.spend(400)\n"
    pytester.makepyfile(head + example)

    result = pytester.runpytest("--energy-json=run.json")

    result.assert_outcomes(passed=2)
    assert len(_verdicts(pytester)) == 1


def test_windows_in_windows_each_have_all_of_their_joules(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from spending import spend

        @pytest.mark.energy(max_joules=20)
        def test_mine(energy):
            with energy.window("all") as everything:
                spend(1)
                with energy.window("part") as part:
                    spend(2)
                with energy.window("other") as other:
                    spend(4)
            assert [round(w.joules) for w in (everything, part, other)] == [7, 2, 4]
        """
    )

    result = pytester.runpytest("--energy-json=run.json")

    result.assert_outcomes(passed=1)
    names = ["test_mine/part", "test_mine/other", "test_mine/all"]
    assert [name for name, _ in _verdicts(pytester)] == [*names, "test_mine"]
    result.stdout.fnmatch_lines(["this run cost 7 J,*"])


def test_bad_input_of_a_module_s_fixture_is_one_sentence(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def run(module_finetune):
            return module_finetune("no-such-task")

        def test_one(run): pass
        def test_other(run): pass
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*`no-such-task` is not a task*"])
    result.stdout.no_fnmatch_line("*Traceback*")
