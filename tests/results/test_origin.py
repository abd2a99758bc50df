"""Where a run's code comes from, and the command that is told of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pytest_energy.results.origin import origin, typed


def test_without_git_the_ci_tells(tmp_path: Path) -> None:
    where = origin(tmp_path, {"GITHUB_REPOSITORY": "we/classify", "GITHUB_SHA": "4f2a"})

    assert (where.project, where.commit, where.branch) == ("we/classify", "4f2a", None)
    assert origin(tmp_path, {}).project == tmp_path.name


def test_what_is_checked_out_counts_before_the_ci(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        own = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", "-C", str(tmp_path), *own, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet", "--initial-branch=faster")
    (tmp_path / "work.py").write_text("")
    git("add", "work.py")
    git("commit", "--quiet", "--message=first")

    clean = origin(tmp_path, {"GITHUB_SHA": "4f2a"})
    (tmp_path / "work.py").write_text("changed")

    assert (clean.commit, clean.branch) == (git("rev-parse", "HEAD"), "faster")
    assert (clean.dirty, origin(tmp_path, {}).dirty) == (False, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tests", "--energy-hw=a100", "-k", "a or b"], "tests --energy-hw=a100 -k 'a or b'"),
        (["--energy-hw", "a100", "-kfast", "-x"], "--energy-hw a100 -kfast -x"),
        (["--energy-strict", "tests"], "--energy-strict tests"),
        (["--api-key=hush", "tests"], "--api-key=*** tests"),
        (["--api-key", "hush", "tests"], "--api-key *** tests"),
        (["--energy-notify=https://hooks.example/hush"], "--energy-notify=***"),
        (["--energy-notify", "https://hooks.example/hush"], "--energy-notify ***"),
        (["--energy-history=s3://me:hush@bucket/a"], "'--energy-history=s3://***@bucket/a'"),
        (["-o", "token=hush", "tests"], "-o *** tests"),
    ],
)
def test_the_command_is_told_without_what_may_be_secret(arguments: list[str], told: str) -> None:
    assert typed(arguments, ["tests"]) == f"pytest {told}"
