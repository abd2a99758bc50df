"""`pytest-energy comment`: what a pull request is told, and that it is harmless."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_energy.cli import main
from pytest_energy.results import RunRecord, VerdictRecord
from pytest_energy.results.json_codec import write

LINK = "https://example.org/me/mine/actions/runs/7"


def told(tmp_path: Path, *verdicts: VerdictRecord) -> str:
    """The comment on a run with these verdicts."""
    write(tmp_path / "run.json", RunRecord({"key": "h200"}, {}, verdicts), None)
    assert main(["comment", str(tmp_path / "run.json"), "--link", LINK, "-o", "body.md"]) == 0
    return (tmp_path / "body.md").read_text()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands write into a folder of their own."""
    monkeypatch.chdir(tmp_path)


def verdict(outcome: str, name: str = "a/b", reason: str = "") -> VerdictRecord:
    """A verdict of 5 mJ/token."""
    return VerdictRecord(
        name,
        "joules_per_token",
        outcome=outcome,
        reason=reason,
        value=0.005,
        baseline=0.0047,
        change=0.06,
        fails=outcome == "regression",
    )


def test_what_is_not_within_is_told_with_the_next_steps(tmp_path: Path) -> None:
    text = told(tmp_path, verdict("within", "quiet/one"), verdict("regression", reason="slower"))

    assert text.startswith("### Energy: 1 of 1 verdict fails") or "1 of 2" in text
    assert "quiet/one" not in text
    assert "slower" in text
    assert "--energy-compare=auto" in text
    assert "pytest-energy acknowledge a/b" in text.replace("\\", "")
    assert text.rstrip().endswith(f"[this run]({LINK}).")


@pytest.mark.parametrize("outcome", ["acknowledged", "inconclusive", "invalid", "missing"])
def test_everything_else_that_is_not_within_is_told(tmp_path: Path, outcome: str) -> None:
    assert outcome in told(tmp_path, verdict(outcome))


@pytest.mark.parametrize("outcome", ["within", "recorded", "measured"])
def test_there_is_nothing_to_tell_of_what_is(tmp_path: Path, outcome: str) -> None:
    assert told(tmp_path, verdict(outcome)) == ""


@pytest.mark.attack(
    "text",
    "the record of a pull request's run holds links, mentions and HTML for its comment",
    "shown as they are, none works",
)
def test_a_hostile_record_makes_a_harmless_comment(tmp_path: Path) -> None:
    hostile = "[x](https://evil.example) <img src=x> @everyone\n# big `"

    text = told(tmp_path, verdict("regression", hostile, hostile))

    assert "\\[x\\](https://evil" in text  # no link
    assert "@everyone" not in text
    assert "<img" not in text
    assert "\n# big" not in text


def test_a_long_comment_says_so(tmp_path: Path) -> None:
    text = told(tmp_path, *(verdict("regression", f"a/{n}", "x" * 900) for n in range(90)))

    assert len(text) < 1000
    assert "Too long for a comment." in text


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"schema": 1, "verdicts": 7}))
    assert main(["comment", "run.json", "--link", LINK]) == 4
    write(tmp_path / "run.json", RunRecord({}, {}, ()), None)
    assert main(["comment", "run.json", "--link", "javascript:x) @all"]) == 4

    assert "`--link=javascript:x) @all` is no address" in capsys.readouterr().err
