"""The revision that a run is compared with: its commit, and a clean worktree of that."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tarfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pytest_energy.documents import parse_json
from pytest_energy.errors import EnergyError, did_you_mean
from pytest_energy.files import read_bytes
from pytest_energy.processes import OWNER, PrivateFolder, is_abandoned
from pytest_energy.text import decoded

AUTO = "auto"
WHICH_IS_HEAD = ", which is HEAD"
"""What a revision's name ends with that is another one's of the commit that is checked out."""
DEFAULT_BRANCHES = ("origin/HEAD", "origin/main", "origin/master", "main", "master")
# Variables by which a caller (a hook, for one) may point git at another repository.
_MISLEADING = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")


class GitError(EnergyError):
    """Git refused; the text is what it said."""


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints, stripped; raises `GitError` if it fails or there is no git.

    The user's checkout, index and hooks are never touched.
    """
    program = shutil.which("git")
    if program is None:
        raise GitError("`git` is not installed, and A/B takes the base from it; install git")
    # Without optional locks nothing that only looks rewrites the index.
    command = [program, "--no-optional-locks", "-c", "core.hooksPath=/dev/null", *arguments]
    variables = {k: v for k, v in os.environ.items() if k not in _MISLEADING}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**variables, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = decoded(done.stderr).strip()
        raise GitError(said or f"`git {arguments[0]}` ended with code {done.returncode}")
    # As file names are: a path that is no UTF-8 is still that path.
    return os.fsdecode(done.stdout).strip()


def attempt(folder: Path, *arguments: str) -> str | None:
    """What a git command prints, None if it fails."""
    try:
        return git(folder, *arguments)
    except GitError:
        return None


@dataclass(frozen=True)
class Revision:
    """A commit to compare with; `asked` is what the option said, or which commit `auto` is.

    `toplevel` is the user's checkout, `inside` pytest's root relative to it. `note` says what a
    person may not expect of that commit.
    """

    kind: ClassVar[Literal["revision"]] = "revision"
    asked: str
    commit: str
    toplevel: Path
    inside: Path
    note: str = ""

    @property
    def label(self) -> str:
        """The revision as a person reads it, such as `main (3f2a1b9)`."""
        short = self.commit[:9]
        return short if self.commit.startswith(self.asked) else f"{self.asked} ({short})"


def find_revision(asked: str, option: str, root: Path) -> Revision:
    """The commit that `asked` means for the checkout around `root`; raises `EnergyError`."""
    said = f"`{option}={asked}`"
    try:
        toplevel = Path(git(root, "rev-parse", "--show-toplevel")).resolve()
    except GitError as error:
        if "not a git repository" not in str(error):
            raise EnergyError(f"{said}: {error}") from None
        raise EnergyError(
            f"{said} compares with a git revision, but `{root}` is in no git repository; run it "
            f"in a clone, or compare interpreters with `--energy-compare=python:PATH`"
        ) from None
    _require_clean_submodules(said, toplevel)
    inside = root.resolve().relative_to(toplevel)
    if asked == AUTO:
        name, meant, note = _automatic(said, toplevel)
        return Revision(name, meant, toplevel, inside, note)
    commit = _commit(toplevel, asked)
    if commit is None:
        raise EnergyError(f"{said} names no commit of `{toplevel}`{_meant(toplevel, asked)}")
    if asked != "HEAD" and commit == _commit(toplevel, "HEAD"):
        asked += WHICH_IS_HEAD
    return Revision(asked, commit, toplevel, inside)


def _merge_target() -> tuple[str, str] | None:
    """(branch, commit) that a pull request or a merge queue's group on GitHub goes into.

    None if CI says nothing of the kind; the commit is empty if it says the branch alone.
    """
    branch = os.environ.get("GITHUB_BASE_REF", "")
    path = os.environ.get("GITHUB_EVENT_PATH")
    if not path:
        return None
    try:
        event = parse_json(read_bytes(Path(path)))
        if not branch:
            group = event["merge_group"]
            return str(group["base_ref"]).removeprefix("refs/heads/"), str(group["base_sha"])
        return branch, str(event["pull_request"]["base"]["sha"])
    except (EnergyError, ValueError, KeyError, TypeError):
        return (branch, "") if branch else None


def _automatic(said: str, toplevel: Path) -> tuple[str, str, str]:
    """What `auto` is in a checkout in words, its commit, and what to know of it.

    Raises `EnergyError` if it is not there.
    """
    target = _merge_target()
    if target is not None:
        branch, sha = target
        tip = (_commit(toplevel, sha) if sha else None) or _commit(toplevel, f"origin/{branch}")
        if tip is None:
            raise EnergyError(
                f"{said} means `{branch}`, which this change goes into and which this clone "
                f"lacks{_fetch(toplevel, sha or branch)}"
            )
        base = attempt(toplevel, "merge-base", "HEAD", tip)
        # In a shallow clone the ancestors are not there; the base itself is the next best.
        return (branch, tip, "") if base is None else (_MERGE_BASE + branch, base, "")
    for branch in DEFAULT_BRANCHES:
        tip = _commit(toplevel, branch)
        if tip is None:
            continue
        base = attempt(toplevel, "merge-base", "HEAD", tip)
        if base is not None:
            return _before(said, toplevel, branch, base)
        raise EnergyError(
            f"{said} finds no common ancestor of HEAD and `{branch}`"
            f"{_fetch(toplevel, branch.removeprefix('origin/'))}"
        )
    names = ", ".join(f"`{branch}`" for branch in DEFAULT_BRANCHES)
    raise EnergyError(
        f"{said} finds no default branch in `{toplevel}` (tried {names}){_fetch(toplevel, 'main')}"
    )


_MERGE_BASE = "the merge base with "


def _before(said: str, toplevel: Path, branch: str, base: str) -> tuple[str, str, str]:
    """The merge base with a branch, or its parent if the working tree is it, as after a merge."""
    if base != _commit(toplevel, "HEAD"):
        return _MERGE_BASE + branch, base, ""
    if git(toplevel, "status", "--porcelain", "--untracked-files=no"):
        return "HEAD", base, ""
    parent = _commit(toplevel, "HEAD^")
    if parent is not None:
        note = (
            f"`auto` is the commit before HEAD here, not a merge base: HEAD is in `{branch}`, and "
            f"no tracked file is changed. What earlier commits cost is in both sides: only a "
            f"stored baseline sees that."
        )
        return "the commit before", parent, note
    if _is_shallow(toplevel):
        raise EnergyError(
            f"{said} means the commit before HEAD, which this clone lacks: it is shallow; "
            f"fetch it with `git fetch --deepen=1`"
        )
    note = "`auto` is HEAD itself here: no commit is before it, and no tracked file is changed"
    return "HEAD", base, note


def text_at(revision: str, path: Path) -> str | None:
    """What a file held as of a git revision; None if that had no such file.

    Raises `EnergyError` if the file's folder is in no repository, or knows no such revision.
    """
    folder = path.resolve().parent
    while not folder.is_dir():
        folder = folder.parent
    try:
        toplevel = Path(git(folder, "rev-parse", "--show-toplevel"))
    except GitError as error:
        raise EnergyError(
            f"`{revision}` is no file; taken for a git revision of `{path}` it needs a repository: "
            f"{error}"
        ) from None
    commit = _commit(toplevel, revision)
    if commit is None:
        raise EnergyError(
            f"`{revision}` is no file, and no revision of `{toplevel}`{_meant(toplevel, revision)}"
        )
    inside = path.resolve().relative_to(toplevel.resolve()).as_posix()
    return attempt(toplevel, "cat-file", "blob", f"{commit}:{inside}")


def _commit(toplevel: Path, name: str) -> str | None:
    if name.startswith("-") or not name.isprintable():  # an option, or nothing that git names
        return None
    return attempt(toplevel, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")


def _meant(toplevel: Path, name: str) -> str:
    """The name that was meant by one that names no commit, or what to do about it."""
    names = attempt(toplevel, "for-each-ref", "--format=%(refname:short)") or ""
    meant = did_you_mean(name, names.split()).rstrip()
    return f"; {meant}" if meant else _fetch(toplevel, name)


def _fetch(toplevel: Path, name: str) -> str:
    """What to do about a commit that is not there, as the end of a sentence."""
    if _commit(toplevel, "HEAD") is None:
        return "; the repository has no commit yet: make one first"
    remote = _remote(toplevel)
    if remote is None:
        return (
            "; there is no remote to fetch it from, so give a revision that is here: `HEAD` is the "
            "last commit, and `git branch` lists the branches"
        )
    typed = f"{shlex.quote(remote)} {shlex.quote(name)}"
    if _is_shallow(toplevel):
        return (
            f": the clone is shallow; fetch it with `git fetch --depth=1 {typed}`, or all of its "
            f"history with `git fetch --unshallow`"
        )
    return f"; fetch it with `git fetch {typed}`, or give another revision"


def _remote(toplevel: Path) -> str | None:
    """The remote to fetch from; None if the repository has none."""
    names = (attempt(toplevel, "remote") or "").split()
    return "origin" if "origin" in names else next(iter(names), None)


def _is_shallow(toplevel: Path) -> bool:
    return attempt(toplevel, "rev-parse", "--is-shallow-repository") == "true"


def _require_clean_submodules(said: str, toplevel: Path) -> None:
    status = git(toplevel, "status", "--porcelain=v2", "--ignore-submodules=untracked")
    for line in status.splitlines():
        fields = line.split(" ", 8)
        if fields[0] == "1" and fields[2].startswith("S") and "M" in fields[2][2:3]:
            raise EnergyError(
                f"{said}: submodule `{fields[8]}` has changes that no commit holds; "
                f"commit or stash them there, or the two sides would not differ by commits alone"
            )


class Worktree:
    """A detached checkout of `commit`, with the submodules that the user's checkout has.

    The user's checkout, index, stash and refs stay as they are; hooks do not run.
    """

    def __init__(self, toplevel: Path, commit: str) -> None:
        _remove_abandoned(toplevel)
        self._folder = PrivateFolder("tree")
        self.path = self._folder.path / toplevel.name
        self._end = weakref.finalize(self, _end, toplevel, self.path, self._folder, os.getpid())
        try:
            git(toplevel, "worktree", "add", "--detach", "--quiet", str(self.path), commit)
            _fill_submodules(toplevel, self.path)
        except BaseException as error:
            self.remove()
            if not isinstance(error, GitError):
                raise
            raise EnergyError(
                f"`git worktree add` of `{commit[:9]}` failed: {error}; mend that, or check the "
                f"revision out by hand to see more"
            ) from None

    def remove(self) -> None:
        """Take the worktree away, from the disk and from git; a second call does nothing."""
        self._end()


def _end(toplevel: Path, path: Path, folder: PrivateFolder, pid: int) -> None:
    if os.getpid() == pid:  # else a fork of the owner
        _remove(toplevel, path)
        folder.remove()


def _remove(toplevel: Path, path: Path) -> None:
    command = ("worktree", "remove", "--force", "--force", str(path))
    removed = attempt(toplevel, *command)
    shutil.rmtree(path.parent, ignore_errors=True)
    if removed is None:
        # Of a folder that is gone git forgets. Pruning would forget the user's own worktrees, too,
        # where their folders are not in sight: on a disk that is not mounted, outside a container.
        attempt(toplevel, *command)


def _remove_abandoned(toplevel: Path) -> None:
    """Take away what runs have left behind that were killed outright."""
    for line in git(toplevel, "worktree", "list", "--porcelain").splitlines():
        path = Path(line.removeprefix("worktree "))
        if line.startswith("worktree ") and is_abandoned(path.parent):
            _remove(toplevel, path)


def _clone(source: Path, name: str) -> Path | None:
    """The clone of a submodule that a checkout has; of a worktree of ours the main checkout's."""
    first = git(source, "worktree", "list", "--porcelain").partition("\n")[0]
    trees = [source]
    if (source.parent / OWNER).exists():
        trees.append(Path(first.removeprefix("worktree ")))
    return next((tree / name for tree in trees if (tree / name / ".git").exists()), None)


def _fill_submodules(source: Path, target: Path) -> None:
    """Put the submodules' commits into a worktree, from the clones that the checkout has."""
    for line in git(target, "ls-files", "--stage", "-z").split("\0"):
        entry, _, name = line.partition("\t")
        if not entry.startswith("160000 "):
            continue
        commit = entry.split()[1]
        clone = _clone(source, name)
        if clone is None:
            continue  # not there in the user's checkout either
        archive = target.parent / "submodule.tar"
        try:
            git(clone, "archive", "--format=tar", f"--output={archive}", commit)
        except GitError:
            where = f"{shlex.quote(os.path.relpath(clone))} fetch {_remote(clone) or 'origin'}"
            raise EnergyError(
                f"submodule `{name}` lacks commit `{commit[:9]}`, which the base has; fetch it "
                f"with `git -C {where} {commit[:9]}`"
            ) from None
        with tarfile.open(archive) as files:
            files.extraction_filter = getattr(tarfile, "tar_filter", None)
            files.extractall(target / name)
