"""Commits that git would read as options, or that are no text, from options and from CI's event."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ab_support import Repository
from pytest_energy import EnergyError
from pytest_energy.ab.revisions import find_revision, text_at

HOSTILE = ["--output=pwn", "-Opwn", "--upload-pack=touch pwn", "a\0b", "\ud800", "x\n--output=pwn"]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = Repository(tmp_path, {})
    made.write(mine="x = 1\n")
    made.commit("first")
    monkeypatch.chdir(made.path)
    return made


@pytest.mark.parametrize("asked", HOSTILE)
@pytest.mark.attack(
    "commands",
    "somebody gives a commit that git would read as an option, or that is no text",
    "no commit of that name; git writes and runs nothing",
)
def test_an_option_is_no_commit(repository: Repository, asked: str) -> None:
    before = repository.state()

    with pytest.raises(EnergyError, match="names no commit"):
        find_revision(asked, "--energy-compare", repository.path)
    Path("h200.toml").touch()
    with pytest.raises(EnergyError, match="is no file, and no revision of"):
        text_at(asked, Path("h200.toml"))
    Path("h200.toml").unlink()

    assert repository.state() == before
    assert not list(repository.path.parent.rglob("*pwn*"))


@pytest.mark.parametrize("sha", [*HOSTILE, 7, None, ["--output=pwn"]], ids=repr)
@pytest.mark.attack(
    "commands",
    "a pull request's event names a base that git would read as an option, or that is no text",
    "its branch is looked for, and git writes and runs nothing",
)
def test_an_event_names_no_option(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sha: object
) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"base": {"sha": sha}}}))
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))
    monkeypatch.setenv("GITHUB_BASE_REF", "--output=pwn")

    with pytest.raises(EnergyError, match="which this clone lacks"):
        find_revision("auto", "--energy-settle", repository.path)

    assert not list(tmp_path.rglob("*pwn*"))
