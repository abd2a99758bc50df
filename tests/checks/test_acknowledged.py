"""What is acknowledged of a figure: written by the command, honoured by the gate, reported."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_energy.baselines import Header, Recording, StoredSession
from pytest_energy.baselines.reading import read
from pytest_energy.baselines.writing import updated
from pytest_energy.cli import main
from pytest_energy.errors import BaselineError

TODAY = datetime.datetime.now(datetime.timezone.utc).date()
TOMORROW = (TODAY + datetime.timedelta(days=1)).isoformat()
YESTERDAY = (TODAY - datetime.timedelta(days=1)).isoformat()

TEST = """
    import os
    from gated import Run

    def test_gated(energy_gate):
        energy_gate.joules_per_token(
            Run("mine/model", joules_per_token=float(os.environ["SPENT"]))
        )
"""


@pytest.fixture
def stored(pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose figure has eight sessions of 5.0 mJ/token, each of a day."""
    monkeypatch.setenv("SEED", "7")
    pytester.makepyfile(test_mine=TEST)
    row = StoredSession("2026-11-24T10:12:03+00:00", 10, 0.005, 0.003, 0.2, tokens=1000)
    row = replace(row, mean_watts=300.0, tokens_per_second=60_000.0)
    rows = [
        replace(row, mean=0.005 * (1 + 0.001 * offset), date=f"2026-11-{day}T10:12:03+00:00")
        for day, offset in enumerate((-4, 3, -2, 0, 2, -1, 4, -2), start=11)
    ]
    items = [
        Recording("joules_per_token", "mine/model", None, each, {}, 0.02, 0.05) for each in rows
    ]
    path = pytester.path / "baselines" / "h200.toml"
    path.parent.mkdir()
    path.write_text(updated(None, Header("h200", ("NVIDIA H200*",), 1000), items, "append"))
    monkeypatch.chdir(pytester.path)
    return path


def acknowledge(*arguments: str) -> int:
    """What the command ends with."""
    return main(["acknowledge", "mine/model", *arguments])


def in_full(up_to: str = "7%") -> tuple[str, ...]:
    return f"--up-to={up_to}", f"--until={TOMORROW}", "--reason=exact attention", "--by=Ada"


def gated(pytester: pytest.Pytester, spent: str, *arguments: str) -> tuple[Any, dict[str, Any]]:
    """A run of the gate whose figure is so many J/token: its result, and its verdict."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPENT", spent)
        result = pytester.runpytest(
            "--energy-hw=h200", "--energy-tokens=1000", "--energy-json=run.json", *arguments
        )
    (verdict,) = json.loads((pytester.path / "run.json").read_text())["verdicts"]
    return result, verdict


def test_what_is_acknowledged_passes_and_is_told(stored: Path, pytester: pytest.Pytester) -> None:
    assert acknowledge(*in_full()) == 0

    result, verdict = gated(pytester, "0.0052", "--energy-markdown=run.md")

    assert result.ret == 0
    assert (verdict["verdict"], verdict["fails"]) == ("acknowledged", False)
    told = f"acknowledged up to 7 % until {TOMORROW} by Ada (exact attention)"
    assert told in verdict["reason"]
    assert "tokens/s" in verdict["explanation"]
    result.stdout.fnmatch_lines(["mine/model*+4.? %*acknowledged*", "*5.2?? mJ/token against 5.0*"])
    assert told in result.stdout.str().replace("\n", "")
    assert told in (pytester.path / "run.md").read_text()


def test_beyond_it_fails_and_says_what_was_acknowledged(
    stored: Path, pytester: pytest.Pytester
) -> None:
    acknowledge(*in_full("4%"))

    result, verdict = gated(pytester, "0.0055")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert verdict["verdict"] == "regression"
    assert f"A change up to 4 % until {TOMORROW} by Ada (exact attention) is" in verdict["reason"]


def test_after_its_day_it_counts_no_more(stored: Path, pytester: pytest.Pytester) -> None:
    acknowledge(*in_full())
    stored.write_text(stored.read_text().replace(TOMORROW, YESTERDAY))

    result, verdict = gated(pytester, "0.0053")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert verdict["verdict"] == "regression"
    assert f"until {YESTERDAY} by Ada (exact attention) was acknowledged" in verdict["reason"]


def test_what_is_not_needed_any_more_is_named(stored: Path, pytester: pytest.Pytester) -> None:
    acknowledge(*in_full())

    result, verdict = gated(pytester, "0.0050")

    assert result.ret == 0
    assert verdict["verdict"] == "within"
    result.stdout.fnmatch_lines(
        ["warning: `mine/model` is within*pytest-energy acknowledge mine/model --remove*"]
    )


def test_a_new_baseline_acknowledges_nothing(stored: Path, pytester: pytest.Pytester) -> None:
    acknowledge(*in_full())
    assert len(read(stored).acknowledged) == 1

    result, verdict = gated(pytester, "0.0053", "--energy-update=replace")

    assert result.ret == 0
    assert verdict["verdict"] == "recorded"
    assert read(stored).acknowledged == ()


def test_a_second_word_replaces_the_first_and_can_be_taken_back(stored: Path) -> None:
    before = read(stored)
    acknowledge(*in_full("3%"))
    acknowledge(*in_full("5 %"))

    (stated,) = read(stored).acknowledged
    assert (stated.up_to, stated.until, stated.by) == (0.05, TOMORROW, "Ada")
    assert (stated.reason, stated.date) == ("exact attention", TODAY.isoformat())
    assert acknowledge("--remove") == 0
    assert read(stored) == before


def test_git_says_who(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.name")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "Grace")

    acknowledge(*in_full()[:3])

    assert read(stored).acknowledged[0].by == "Grace"


def test_check_names_what_has_ended_and_what_has_no_figure(
    stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    acknowledge(*in_full())
    assert main(["baselines", "--check", str(stored)]) == 0
    assert f"mine/model joules_per_token: acknowledged up to 7 % until {TOMORROW}" in (
        capsys.readouterr().out
    )

    text = stored.read_text().replace(TOMORROW, YESTERDAY)
    stored.write_text(text.replace('id = "mine/model"', 'id = "mine/gone"'))
    assert main(["baselines", "--check", str(stored)]) == 1
    said = capsys.readouterr().out
    assert f"`acknowledged` of `mine/gone` ended on {YESTERDAY}" in said
    assert "`acknowledged` of `mine/gone` has no joules_per_token baseline" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "needs `--up-to`, `--until` and `--reason`"),
        (in_full("0"), "`--up-to=0` is no percent above 0 and at most 100"),
        (in_full("nan"), "`--up-to=nan` is no percent"),
        (in_full("2%"), "`--up-to=2%` is no more than the tolerance of 2 %, which is allowed"),
        (in_full("400%"), "`--up-to=400%` is no percent above 0 and at most 100"),
        ((*in_full(), "--until=soon"), "`--until=soon` is no day such as 2027-01-31"),
        ((*in_full(), f"--until={YESTERDAY}"), "is past"),
        ((*in_full(), "--until=2999-01-01"), "is more than a year away"),
        ((*in_full(), "--reason= "), "`--reason` has 0 characters"),
        ((*in_full(), "--metric=savings"), "`mine/model` is no figure that is stored"),
        ((*in_full(), "--hw=h100"), "h100.toml` does not exist; record a baseline"),
        (("--remove",), "`mine/model` is no figure that is acknowledged"),
        (("--remove", "--up-to=4"), "`--remove` takes no"),
    ],
)
def test_bad_input_changes_nothing(
    stored: Path, capsys: pytest.CaptureFixture[str], arguments: Sequence[str], said: str
) -> None:
    before = stored.read_text()

    assert acknowledge(*arguments) == 4

    assert said in capsys.readouterr().err
    assert stored.read_text() == before


def test_it_says_what_to_commit_and_what_is_not_there(
    stored: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    below = stored.parent.parent / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    assert acknowledge(*in_full(), "--baselines=../baselines") == 0
    said = capsys.readouterr().out
    assert "\n+++ b/h200.toml\n" in said
    assert "\ncommit `../baselines/h200.toml`: " in said

    for folder, wrong in (("nowhere", "does not exist"), (".", "has no baseline file")):
        assert acknowledge(*in_full(), f"--baselines={folder}") == 4
        assert f"`{folder}` {wrong}; record a baseline with" in capsys.readouterr().err


def test_all_that_is_wrong_is_told_at_once(
    stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--up-to=0", "--until=soon", "--reason= ", f"--by={'x' * 501}", "--hw=h100")

    assert acknowledge(*arguments) == 4

    said = capsys.readouterr().err.splitlines()
    assert [line.partition("`")[2].partition("`")[0] for line in said] == [
        "--up-to=0", "--until=soon", "--reason", "--by", "baselines/h100.toml",
    ]  # fmt: skip

    assert acknowledge("--up-to=0") == 4
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "needs `--until` and `--reason`; " in said[1]


def test_all_faults_of_what_is_acknowledged_in_a_file_are_told(stored: Path) -> None:
    stored.write_text(
        stored.read_text()
        + """
[[acknowledged]]
metric = "watts"
id = "mine/model"
up_to = "much"
until = 2027-01-31
[[acknowledged]]
metric = "joules_per_token"
id = "mine/model"
up_to = 4
until = "soon"
reason = ""
why = "so"
"""
    )

    with pytest.raises(BaselineError) as caught:
        read(stored)

    told = [line.partition(f" in `{stored}` ") for line in str(caught.value).splitlines()]
    assert [(where.strip(), what.partition(";")[0]) for where, _, what in told] == [
        ("`acknowledged[0].up_to`", "is 'much', not a number"),
        ("`acknowledged[0]`", "has no `reason`"),
        ("`acknowledged[0].metric`", "is none of joules_per_token, savings"),
        ("`acknowledged[1].why`", "is not known"),
        ("`acknowledged[1]`", "has `up_to` 4"),
        ("`acknowledged[1]`", "has a `until` that is no day such as 2027-01-31"),
        ("`acknowledged[1]`", "has an empty `reason`"),
    ]


def test_a_misspelt_figure_is_named(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acknowledge", "mine/modle", *in_full()]) == 4

    assert "did you mean `mine/model`?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("up_to = 4", "`up_to` 4; write a fraction above 0 and at most 1"),
        ('until = "soon"', "`until` that is no day"),
        ('reason = " "', "an empty `reason`"),
        ('metric = "watts"', "is none of joules_per_token, savings"),
        ("also = 1", "`acknowledged[0].also`"),
    ],
)
def test_a_damaged_one_is_a_fault_of_the_file(stored: Path, line: str, wrong: str) -> None:
    acknowledge(*in_full())
    name = line.partition(" ")[0]
    head, mark, tail = stored.read_text().partition("[[acknowledged]]")
    kept = [each for each in tail.splitlines() if not each.startswith(f"{name} =")]
    stored.write_text("\n".join([head, mark, *kept, line, ""]))

    with pytest.raises(BaselineError, match="acknowledged") as caught:
        read(stored)

    assert wrong in str(caught.value)
