"""Neighbours that take no warning, no stopped clock and no late test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

STRICT = ("-W", "error", "-p", "no:benchmark", "-p", "no:xdist", "-p", "no:anyio")

METERED = """
    import pytest
    import spending
    from gated import Run

    def test_gated(energy_gate):
        energy_gate.check("joules_per_token", Run("mine/model"))

    @pytest.mark.energy(max_joules=8)
    def test_limit():
        spending.spend(5.0)
"""


def test_no_warning_comes_from_start_to_end(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(METERED)

    result = pytester.runpytest_subprocess(
        *STRICT,
        *("--energy-update=new", "--energy-tokens=1000", "--energy-history=past"),
        *("--energy-json=run.json", "--energy-markdown=run.md"),
    )

    result.assert_outcomes(passed=2)
    assert "Warning" not in result.stderr.str() + result.stdout.str()


def test_no_warning_comes_of_a_run_that_ends_early(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(METERED + "        raise KeyboardInterrupt\n")

    result = pytester.runpytest_subprocess(*STRICT, "--energy-json=run.json", "-k", "limit")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "Warning" not in result.stderr.str() + result.stdout.str()


def test_a_test_that_a_signal_ends_is_no_figure(pytester: pytest.Pytester, spending: Path) -> None:
    pytest.importorskip("pytest_timeout")
    pytester.makepyfile(METERED + "        import time\n        time.sleep(60)\n")

    result = pytester.runpytest_subprocess(
        *("-p", "timeout", "--timeout=1", "--timeout-method=signal"),
        *("--energy-json=run.json", "-k", "limit"),
    )

    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(["*Timeout*1.0s*"])
    document = json.loads((pytester.path / "run.json").read_text())
    assert document["verdicts"] == []
    assert document["run"]["complete"] is True
