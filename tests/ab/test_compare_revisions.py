"""Which commit is the base, and what is said if there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ab_support import Repository
from pytest_energy.ab.revisions import Worktree, find_revision
from pytest_energy.errors import EnergyError

COMPARE, SETTLE = "--energy-compare", "--energy-settle"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    for name in ("GITHUB_BASE_REF", "GITHUB_EVENT_PATH"):
        monkeypatch.delenv(name, raising=False)
    repository = Repository(tmp_path, {"TMPDIR": str(tmp_path)})
    repository.write(mine="x = 1\n")
    repository.commit("first")
    return repository


def test_a_revision_by_name(repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.commit("second")
    inside = repository.path / "sub"
    inside.mkdir()

    found = find_revision("HEAD~1", COMPARE, inside)

    assert (found.commit, found.toplevel) == (first, repository.path.resolve())
    assert found.inside == Path("sub")
    assert found.label == f"HEAD~1 ({first[:9]})"
    assert find_revision(first[:7], COMPARE, inside).label == first[:9]


def test_what_names_no_commit(repository: Repository) -> None:
    for name in ("nowhere", "--upload-pack=x"):
        with pytest.raises(EnergyError, match=f"`{COMPARE}={name}` names no commit of"):
            find_revision(name, COMPARE, repository.path)


def test_a_typing_error_is_not_to_be_fetched(repository: Repository) -> None:
    repository.git("branch", "feature")

    with pytest.raises(EnergyError, match=r"names no commit of `.*`; did you mean `feature`\?$"):
        find_revision("faeture", COMPARE, repository.path)
    with pytest.raises(EnergyError, match=r"no remote to fetch it from, so give .*: `HEAD` is"):
        find_revision("nowhere", COMPARE, repository.path)


@pytest.mark.parametrize("remotes", [["upstream"], ["another", "origin"]])
def test_what_is_not_here_is_fetched_from_a_remote_that_there_is(
    repository: Repository, remotes: list[str]
) -> None:
    for remote in remotes:
        repository.git("remote", "add", remote, "https://example.org/x.git")

    with pytest.raises(EnergyError, match=f"it with `git fetch {remotes[-1]} nowhere`, or give"):
        find_revision("nowhere", COMPARE, repository.path)


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    empty = Repository(tmp_path, {})

    for asked in ("HEAD", "auto"):
        with pytest.raises(EnergyError, match="has no commit yet: make one first"):
            find_revision(asked, COMPARE, empty.path)


def test_outside_of_a_repository(tmp_path: Path) -> None:
    with pytest.raises(EnergyError, match=r"is in no git repository; .*python:PATH"):
        find_revision("HEAD", COMPARE, tmp_path)


def test_without_git(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EnergyError, match="`git` is not installed"):
        find_revision("HEAD", COMPARE, repository.path)


def test_auto_is_the_merge_base_with_the_default_branch(repository: Repository) -> None:
    forked = repository.commit("second")
    repository.git("switch", "--quiet", "--create", "feature")
    repository.commit("third")
    repository.git("switch", "--quiet", "main")
    repository.commit("fourth")
    repository.git("switch", "--quiet", "feature")

    found = find_revision("auto", SETTLE, repository.path)
    assert (found.commit, found.label) == (forked, f"the merge base with main ({forked[:9]})")
    assert found.note == ""


def test_auto_on_the_default_branch_itself(repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    second = repository.commit("second")

    found = find_revision("auto", SETTLE, repository.path)
    assert (found.commit, found.label) == (first, f"the commit before ({first[:9]})")
    assert found.note.startswith("`auto` is the commit before HEAD here, not a merge base: HEAD is")
    repository.write(mine="x = 2\n")
    found = find_revision("auto", SETTLE, repository.path)
    assert (found.commit, found.label, found.note) == (second, f"HEAD ({second[:9]})", "")
    found = find_revision("main", COMPARE, repository.path)
    assert (found.commit, found.label) == (second, f"main, which is HEAD ({second[:9]})")


def test_auto_with_one_commit_alone_says_that_it_is_head(repository: Repository) -> None:
    found = find_revision("auto", COMPARE, repository.path)

    assert found.label == f"HEAD ({found.commit[:9]})"
    assert found.note.startswith("`auto` is HEAD itself here: no commit is before it")


def test_auto_prefers_the_remotes_default_branch(repository: Repository, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", str(repository.path), str(clone))
    base = repository.git("rev-parse", "HEAD")
    (clone / "mine.py").write_text("x = 3\n")
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    repository.git("-C", str(clone), *identity, "commit", "--quiet", "--all", "--message", "mine")

    assert find_revision("auto", SETTLE, clone).commit == base


def test_auto_in_a_pull_request(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = repository.git("rev-parse", "HEAD")
    repository.commit("second")
    repository.commit("third")
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"base": {"sha": base}}}))
    monkeypatch.setenv("GITHUB_BASE_REF", "release")
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))

    assert find_revision("auto", SETTLE, repository.path).commit == base
    event.write_text(json.dumps({"pull_request": {"base": {"sha": "0" * 40}}}))
    repository.git("remote", "add", "origin", "https://example.org/x.git")
    with pytest.raises(EnergyError, match=r"`release`, .* which this clone lacks.*git fetch"):
        find_revision("auto", SETTLE, repository.path)


def test_auto_in_a_merge_queue(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = repository.git("rev-parse", "HEAD")
    repository.commit("second")
    repository.commit("third")
    repository.git("branch", "--move", "release")  # no default branch to go by
    group = {"base_ref": "refs/heads/release", "base_sha": base}
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"merge_group": group}))
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))

    assert find_revision("auto", SETTLE, repository.path).commit == base
    event.write_text(json.dumps({"push": {}}))
    with pytest.raises(EnergyError, match="no default branch"):
        find_revision("auto", SETTLE, repository.path)


def test_auto_in_a_shallow_clone_never_compares_a_commit_with_itself(
    repository: Repository, tmp_path: Path
) -> None:
    before = repository.commit("second")
    repository.commit("third")
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.path}", str(clone))

    with pytest.raises(EnergyError, match=r"commit before HEAD, .*`git fetch --deepen=1`"):
        find_revision("auto", SETTLE, clone)
    repository.git("-C", str(clone), "fetch", "--quiet", "--deepen=1")
    assert find_revision("auto", SETTLE, clone).commit == before


def test_a_worktree_of_the_users_own_is_not_forgotten(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    own = tmp_path / "own"
    repository.git("worktree", "add", "--detach", "--quiet", str(own))
    own.rename(tmp_path / "out of sight")

    Worktree(repository.path, repository.git("rev-parse", "HEAD")).remove()

    assert str(own) in repository.git("worktree", "list", "--porcelain")
    assert repository.git("worktree", "list", "--porcelain").count("worktree ") == 2


def test_a_shallow_clone_says_what_to_fetch(repository: Repository, tmp_path: Path) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.commit("second")
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.path}", str(clone))

    with pytest.raises(EnergyError, match=f"git fetch --depth=1 origin {first}"):
        find_revision(first, COMPARE, clone)


def test_no_default_branch(repository: Repository) -> None:
    repository.git("branch", "--move", "trunk")

    with pytest.raises(EnergyError, match="no default branch"):
        find_revision("auto", SETTLE, repository.path)


def test_submodules_are_filled_and_dirty_ones_refused(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    part = Repository(tmp_path / "other", {})
    part.write(part="y = 1\n")
    part.commit("first")
    repository.git(
        "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(part.path), "part"
    )
    repository.commit("with a part")

    found = find_revision("HEAD", COMPARE, repository.path)
    before = repository.state()
    worktree = Worktree(found.toplevel, found.commit)
    try:
        assert (worktree.path / "part" / "part.py").read_text() == "y = 1\n"
        assert (worktree.path / "mine.py").is_file()
    finally:
        worktree.remove()
    worktree.remove()
    assert not worktree.path.parent.exists()
    assert repository.git("worktree", "list").count("\n") == 0
    assert repository.state() == before

    (repository.path / "part" / "part.py").write_text("y = 2\n")
    with pytest.raises(EnergyError, match="submodule `part` has changes that no commit holds"):
        find_revision("HEAD", COMPARE, repository.path)
