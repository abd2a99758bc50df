"""Tests with several reports, and `unittest`'s, which raise nothing: how such a test ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SUBTESTS = """
    import pytest
    from gated import Run

    def one(subtests, energy_gate):
        with subtests.test("recorded"):
            energy_gate.joules_per_token(Run("a/b"))

    def other(subtests, energy_gate):
        with subtests.test("other"):
            END

    def test_first(subtests, energy_gate):
        one(subtests, energy_gate)
        other(subtests, energy_gate)
"""


@pytest.fixture
def subtests_plugin(pytester: pytest.Pytester) -> None:
    if pytest.version_tuple < (9,):
        pytest.importorskip("pytest_subtests")


def _records(pytester: pytest.Pytester) -> list[tuple[str, str]]:
    document = json.loads((pytester.path / "run.json").read_text())
    return [(verdict["id"], verdict["verdict"]) for verdict in document["verdicts"]]


@pytest.mark.fault(
    "neighbours",
    "one subtest fails and another one records, in either order",
    "nothing is recorded",
)
@pytest.mark.parametrize("order", ["one, other", "other, one"])
def test_nothing_is_recorded_of_a_test_that_fails_in_a_subtest(
    pytester: pytest.Pytester, spending: Path, subtests_plugin: None, order: str
) -> None:
    code = SUBTESTS.replace("END", "assert 1 == 2")
    if order == "other, one":
        code = code.replace(
            "one(subtests, energy_gate)\n        other", "other(subtests, energy_gate)\n        one"
        )
    pytester.makepyfile(code)

    result = pytester.runpytest(
        "--energy-update=new", "--energy-tokens=1000", "--energy-json=run.json"
    )

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not (pytester.path / "baselines").exists()
    assert _records(pytester) == [("a/b", "invalid")]


def test_a_skipped_subtest_skips_no_test(
    pytester: pytest.Pytester, spending: Path, subtests_plugin: None
) -> None:
    pytester.makepyfile(SUBTESTS.replace("END", "pytest.skip('no')"))

    result = pytester.runpytest(
        "--energy-update=new", "--energy-tokens=1000", "--energy-json=run.json"
    )

    assert result.ret == 0
    assert _records(pytester) == [("a/b", "recorded")]


def test_a_limit_leaves_a_failed_subtest_its_own_reason(
    pytester: pytest.Pytester, spending: Path, subtests_plugin: None
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from spending import spend

        @pytest.mark.energy(max_joules=1)
        def test_mine(subtests):
            with subtests.test("sub"):
                spend(9)
                assert 1 == 2
        """
    )

    result = pytester.runpytest("--energy-json=run.json")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert _records(pytester) == []
    result.stdout.no_fnmatch_line("*allowed are*")


def test_progress_counts_tests_and_not_reports(
    pytester: pytest.Pytester, spending: Path, subtests_plugin: None
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from spending import spend

        @pytest.mark.parametrize("n", range(4))
        def test_mine(subtests, energy_gate, n):
            from gated import Run
            for i in range(3):
                with subtests.test("sub", i=i):
                    if i == 1:
                        pytest.skip("no")
            energy_gate.joules_per_token(Run(f"a/{n}"))
        """
    )

    result = pytester.runpytest()

    lines = [line for line in result.outlines if line.startswith("a/") and "recorded" in line]
    left = ["ETA" in line for line in lines[:4]]
    assert left == [True, True, True, False]


UNITTEST = """
    import unittest
    import pytest
    from spending import spend

    @pytest.mark.energy(max_joules=5)
    class TestMine(unittest.TestCase):
        def test_within(self):
            spend(4)

        def test_too_much(self):
            spend(9)

        def test_skips(self):
            spend(9)
            self.skipTest("not here")

        @unittest.expectedFailure
        def test_expected(self):
            spend(9)
            self.fail("as expected")

        def test_fails(self):
            spend(9)
            self.assertEqual(1, 2)

        @unittest.skip("never")
        def test_never(self): pass
"""


@pytest.mark.fault(
    "neighbours",
    "tests of `unittest` with a limit skip, or are expected to fail",
    "outcomes as for plain functions",
)
def test_unittest_is_limited_as_plain_functions_are(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(UNITTEST)

    result = pytester.runpytest("--energy-json=run.json", "-rxs")

    result.assert_outcomes(passed=1, failed=2, skipped=2, xfailed=1)
    assert _records(pytester) == [("test_too_much", "regression"), ("test_within", "within")]
    result.stdout.fnmatch_lines(["*AssertionError: 1 != 2*"])
    result.stdout.fnmatch_lines(["*not here*"])


def test_a_failed_subtest_of_unittest_keeps_its_reason_and_a_claim_is_not_judged(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        """
        import unittest
        import pytest
        from spending import spend

        class TestMine(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def _given(self, energy_claim):
                self.claim = energy_claim

            def test_claim(self):
                self.claim.figure("r_squared", 0.1, at_least=0.9)
                self.skipTest("no GPU")

            @pytest.mark.energy(max_joules=1)
            def test_parts(self):
                for part in range(2):
                    with self.subTest(part=part):
                        spend(9)
                        self.assertEqual(part, 0)
        """
    )

    result = pytester.runpytest("--energy-json=run.json", "-rs")

    document = json.loads((pytester.path / "run.json").read_text())
    assert (document["verdicts"], document["claims"]) == ([], [])
    assert result.parseoutcomes()["skipped"] == 1
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_nothing_is_recorded_of_a_test_that_was_interrupted(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        """
        from gated import Run

        def test_mine(energy_gate):
            energy_gate.joules_per_token(Run("a/b"))
            raise KeyboardInterrupt
        """
    )

    result = pytester.runpytest_subprocess(
        "--energy-update=new", "--energy-tokens=1000", "--energy-json=run.json"
    )

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert not (pytester.path / "baselines").exists()
    assert _records(pytester) == [("a/b", "invalid")]


NOT_PASSED = """
    import unittest
    import pytest
    from gated import Run

    def test_skips(energy_gate):
        energy_gate.joules_per_token(Run("a/skips"))
        pytest.skip("own reason")

    @pytest.mark.xfail
    def test_xfails(energy_gate):
        energy_gate.joules_per_token(Run("a/xfails"))
        assert False

    @pytest.mark.xfail
    def test_xpasses(energy_gate):
        energy_gate.joules_per_token(Run("a/xpasses"))

    @pytest.fixture
    def late():
        yield
        pytest.skip("late")

    def test_skips_late(late, energy_gate):
        energy_gate.joules_per_token(Run("a/late"))

    class TestOld(unittest.TestCase):
        @pytest.fixture(autouse=True)
        def _given(self, energy_gate):
            self.gate = energy_gate

        def test_skips(self):
            self.gate.joules_per_token(Run("a/unittest-skips"))
            self.skipTest("own reason")

        @unittest.expectedFailure
        def test_expected(self):
            self.gate.joules_per_token(Run("a/unittest-expected"))
            self.fail("as expected")
"""


def test_nothing_is_recorded_of_a_test_that_has_not_passed(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(NOT_PASSED)

    pytester.runpytest("--energy-update=new", "--energy-tokens=1000", "--energy-json=run.json")

    assert [name for name, verdict in _records(pytester) if verdict == "recorded"] == ["a/xpasses"]
    text = (pytester.path / "baselines" / "h200.toml").read_text()
    assert [line for line in text.splitlines() if "a/" in line] == [
        '[joules_per_token."a/xpasses"]'
    ]


def test_a_verdict_that_skips_its_test_stays_and_what_was_recorded_before_goes(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        """
        import spending
        from gated import Run

        def test_mine(energy_gate):
            energy_gate.joules_per_token(Run("a/first"))
            spending.faults.append("throttled")
            energy_gate.joules_per_token(Run("a/second"))
        """
    )

    result = pytester.runpytest("--energy-tokens=1000", "--energy-json=run.json")

    result.assert_outcomes(skipped=1)
    document = json.loads((pytester.path / "run.json").read_text())
    reasons = {row["id"]: row["reason"] for row in document["verdicts"]}
    assert reasons["a/first"] == "not recorded: its test did not pass"
    assert "throttled" in reasons["a/second"]
    assert not list(pytester.path.glob(".pytest_cache/d/energy/1000/*.toml"))


def test_subtests_stand_beside_windows(
    pytester: pytest.Pytester, spending: Path, subtests_plugin: None
) -> None:
    pytester.makepyfile(
        """
        import spending

        def test_parts(subtests, energy):
            for part in range(3):
                with subtests.test(part=part), energy.window(f"part {part}"):
                    spending.spend(2.0)
        """
    )

    result = pytester.runpytest_subprocess("-v", "--energy-json=run.json")

    assert result.ret == 0
    document = json.loads((pytester.path / "run.json").read_text())
    assert [verdict["value"] for verdict in document["verdicts"]] == [2.0, 2.0, 2.0]
    assert document["run"]["interrupted"] is None
