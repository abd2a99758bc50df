"""Options of A/B: their values, what does not go together, and bad input before energy."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pytest_energy.plugin.settings import settings_of

GATED = "def test_mine(energy_gate):\n    raise AssertionError('metered')\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--energy-compare=HEAD", "--energy-settle=auto"], "*nothing is left for*give one of*"),
        (["--energy-settle=python:x"], "*settles against a git revision*-compare=python:x*"),
        (["--energy-compare=HEAD", "--energy-update=new"], "*`--energy-compare` does without*"),
        (["--energy-compare=HEAD", "-n2"], "*`--energy-compare` cannot compare under*`-n 0`*"),
        (["--energy-settle=HEAD", "-n2"], "*`--energy-settle` cannot compare under*`-n 0`*"),
        (["--energy-side-timeout=0"], "*`--energy-side-timeout=0` is out of range*"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(
    pytester: pytest.Pytester, arguments: list[str], message: str
) -> None:
    pytester.makepyfile(GATED)

    result = pytester.runpytest(*arguments)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_values_come_from_the_command_line_or_the_ini_file(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nenergy_settle = auto\nenergy_side_timeout = 30\n")
    given = settings_of(pytester.parseconfig())
    assert (given.settle, given.compare, given.side_timeout_seconds) == ("auto", None, 30.0)

    blank = settings_of(pytester.parseconfig("--energy-settle=", "--energy-compare=main"))
    assert (blank.settle, blank.compare) == (None, "main")


@pytest.mark.parametrize("option", ["--energy-compare=HEAD", "--energy-settle=auto"])
def test_no_repository_is_bad_input_before_energy_is_spent(
    pytester: pytest.Pytester, spending: Path, option: str
) -> None:
    pytester.makepyfile(GATED)

    result = pytester.runpytest(option)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*`{option}` compares with a git revision, but*is in no git*"])
    result.stdout.no_fnmatch_line("*metered*")


def test_an_unknown_revision_and_interpreter_are_bad_input(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(GATED)
    subprocess.run(["git", "init", "--quiet"], cwd=pytester.path, check=True)

    revision = pytester.runpytest("--energy-compare=nowhere")
    interpreter = pytester.runpytest("--energy-compare=python:nowhere/python")

    assert revision.ret == interpreter.ret == pytest.ExitCode.USAGE_ERROR
    revision.stderr.fnmatch_lines(["*`--energy-compare=nowhere` names no commit of*no commit yet*"])
    interpreter.stderr.fnmatch_lines(["*nowhere/python` is no program; give the path of an*"])


def test_tests_without_a_gate_and_collection_are_as_always(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(GATED + "\ndef test_other():\n    pass\n")
    with (pytester.path / "tox.ini").open("a") as ini:
        ini.write("\nenergy_compare = HEAD\n")

    listed = pytester.runpytest("--collect-only")
    plain = pytester.runpytest("-k", "other")

    listed.stdout.fnmatch_lines(["*<Function test_mine>*"])
    plain.assert_outcomes(passed=1, deselected=1)
