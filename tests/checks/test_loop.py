"""`energy_gate.loop`: a function gated like any run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

GATED = """
import os

import spending

TOKENS = int(os.environ.get("TOKENS", 1000))


def train():
    spending.spend(5.0 * float(os.environ.get("COST", 1)))


def test_mine(energy_gate):
    energy_gate.loop({train}, tokens_per_window=TOKENS, id="mine")
"""


@pytest.fixture
def gated(pytester: pytest.Pytester, spending: Path) -> pytest.Pytester:
    pytester.makepyfile(test_mine=GATED.format(train="train"))
    return pytester


def verdict(gated: pytest.Pytester, **outcomes: int) -> dict[str, Any]:
    gated.runpytest("--energy-strict", "--energy-json=run.json").assert_outcomes(**outcomes)
    found: list[dict[str, Any]] = json.loads((gated.path / "run.json").read_text())["verdicts"]
    return found[0]


def test_each_call_is_a_window(gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    first = verdict(gated, passed=1)
    monkeypatch.setenv("COST", "1.5")
    second = verdict(gated, failed=1)

    assert (first["id"], first["verdict"]) == ("mine", "recorded")
    assert first["value"] == pytest.approx(0.005)
    assert {window["tokens"] for window in first["windows"]} == {1000}
    assert (second["verdict"], second["change"]) == ("regression", pytest.approx(0.5))


def test_another_number_of_tokens_is_other_work(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict(gated, passed=1)
    monkeypatch.setenv("TOKENS", "900")

    assert verdict(gated, passed=1)["verdict"] == "recorded"


def test_what_the_function_raises_is_the_users_to_mend(gated: pytest.Pytester) -> None:
    (gated.path / "test_mine.py").write_text(GATED.format(train="lambda: 1 / 0"))

    result = gated.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*energy_gate.loop(lambda: 1 / 0*", "E*ZeroDivisionError*"])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("train, tokens_per_window=9, id=''", "`id` is '': give the name"),
        (
            "train(), tokens_per_window=9, id='mine'",
            "`mine` got `None`, which cannot be called; give the",
        ),
        ("train, tokens_per_window=0, id='mine'", "`tokens_per_window` is 0: give a whole number"),
    ],
)
def test_what_is_no_loop_is_refused(gated: pytest.Pytester, given: str, told: str) -> None:
    text = GATED.replace('{train}, tokens_per_window=TOKENS, id="mine"', given)
    (gated.path / "test_mine.py").write_text(text)

    result = gated.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{told}*"])
