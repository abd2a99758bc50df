"""The comparison of other packages' suites: which differences stand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from foreign_suites import (
    RECORDER,
    Environment,
    NoOutcomesError,
    Pair,
    differences,
    in_both,
    that_stay,
)


def test_a_test_that_one_run_alone_has_differs() -> None:
    pair: Pair = ({"a": "passed", "b": "failed"}, {"a": "passed", "b": "passed", "c": "passed"})
    assert differences(pair) == {"b": ("failed", "passed"), "c": ("not run", "passed")}


def test_of_runs_that_were_cut_only_what_both_have_run_is_compared() -> None:
    pair = in_both({"a": "passed", "b": "failed"}, {"b": "passed", "c": "passed"})
    assert pair == ({"b": "failed"}, {"b": "passed"})


def test_only_what_differs_alike_each_time_stands() -> None:
    found = dict.fromkeys(("always", "once", "twice", "both ways"), ("passed", "failed"))
    runs: list[Pair] = [
        (
            dict.fromkeys(found, "passed") | {"both ways": "failed"},
            {"always": "failed", "once": "passed", "twice": "failed", "both ways": "passed"},
        ),
        ({"always": "passed", "twice": "passed"}, {"always": "failed", "twice": "passed"}),
        ({"always": "passed"}, {"always": "failed"}),
    ]
    asked = []

    def again(tests: list[str]) -> Pair:
        asked.append(tests)
        return runs[len(asked) - 1]

    assert that_stay(found, again) == {"always": ("passed", "failed")}
    assert asked == [[*found], ["always", "twice"], ["always"]]


def environment(folder: Path, command: str) -> Environment:
    """One that starts this command in place of Python, for a suite of one test."""
    tests = folder / "source" / "tests"
    tests.mkdir(parents=True)
    (tests / "test_mine.py").write_text("def test_where(tmp_path): print(tmp_path)\n")
    python = folder / "with" / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\nexec {command}\n")
    python.chmod(0o755)
    (folder / "with" / "foreign_outcomes.py").write_text(RECORDER)
    return Environment("mine", folder / "source", folder, plugin=True)


def test_a_suite_without_outcomes_is_not_taken_for_one_without_differences(tmp_path: Path) -> None:
    broken = environment(tmp_path, f"{sys.executable} -c pass")
    with pytest.raises(NoOutcomesError, match=r"no test ended in [0-9]+ s: `.*run.log` says"):
        broken.run(["tests"], 1)


def test_no_run_beside_it_clears_away_what_a_suite_has_in_its_folder(tmp_path: Path) -> None:
    ran = environment(tmp_path, f'{sys.executable} "$@"').run(["tests", "-s"], 1)
    assert ran.outcomes == {"tests/test_mine.py::test_where": "passed"}
    assert str(tmp_path / "with" / "temporary") in (tmp_path / "with" / "run.log").read_text()
