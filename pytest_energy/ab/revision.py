"""Git, asked without ever touching the user's checkout, index or hooks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_energy.errors import EnergyError

# Variables by which a caller (a hook, for one) may point git at another repository.
_MISLEADING = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")


class GitError(EnergyError):
    """Git refused; the text is what it said."""


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints, stripped; raises `GitError` where it fails or there is no git."""
    return run(folder, *arguments).decode("utf-8", "replace").strip()


def run(folder: Path, *arguments: str) -> bytes:
    """The same, as bytes."""
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
        said = done.stderr.decode("utf-8", "replace").strip()
        raise GitError(said or f"`git {arguments[0]}` ended with code {done.returncode}")
    return done.stdout


def attempt(folder: Path, *arguments: str) -> str | None:
    """What a git command prints, None where it fails."""
    try:
        return git(folder, *arguments)
    except GitError:
        return None


AUTO = "auto"
DEFAULT_BRANCHES = ("origin/HEAD", "origin/main", "origin/master", "main", "master")


@dataclass(frozen=True)
class Revision:
    """A commit to compare with; `asked` is what the option said, `option` its name.

    `toplevel` is the user's checkout, `inside` pytest's root relative to it.
    """

    asked: str
    option: str
    commit: str
    toplevel: Path
    inside: Path

    @property
    def label(self) -> str:
        """The revision as a person reads it, such as `main (3f2a1b9)`."""
        short = self.commit[:9]
        return short if self.commit.startswith(self.asked) else f"{self.asked} ({short})"


def find_revision(asked: str, option: str, root: Path) -> Revision:
    """The commit that `asked` means for the checkout around `root`; raises `EnergyError`."""
    toplevel = _toplevel(option, asked, root)
    _require_clean_submodules(option, asked, toplevel)
    commit = _automatic(option, toplevel) if asked == AUTO else _named(option, asked, toplevel)
    return Revision(asked, option, commit, toplevel, root.resolve().relative_to(toplevel))


def merge_target(variables: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """(branch, commit) that a pull request or a merge queue's group on GitHub goes into.

    None where CI says nothing of the kind; the commit is empty where it says the branch alone.
    """
    branch = variables.get("GITHUB_BASE_REF", "")
    path = variables.get("GITHUB_EVENT_PATH")
    if not path:
        return None
    try:
        event = json.loads(Path(path).read_text(encoding="utf-8"))
        if not branch:
            group = event["merge_group"]
            return str(group["base_ref"]).removeprefix("refs/heads/"), str(group["base_sha"])
        return branch, str(event["pull_request"]["base"]["sha"])
    except (OSError, ValueError, KeyError, TypeError):
        return (branch, "") if branch else None


def _toplevel(option: str, asked: str, root: Path) -> Path:
    try:
        return Path(git(root, "rev-parse", "--show-toplevel")).resolve()
    except GitError as error:
        if "not a git repository" not in str(error):
            raise EnergyError(f"`{option}={asked}`: {error}") from None
        raise EnergyError(
            f"`{option}={asked}` compares with a git revision, but `{root}` is in no git "
            f"repository; run it in a clone, or compare interpreters with "
            f"`--energy-compare=python:PATH`"
        ) from None


def _named(option: str, asked: str, toplevel: Path) -> str:
    commit = _commit(toplevel, asked)
    if commit is None:
        raise EnergyError(
            f"`{option}={asked}` names no commit of `{toplevel}`{_fetch(toplevel, asked)}"
        )
    return commit


def _automatic(option: str, toplevel: Path) -> str:
    target = merge_target()
    if target is not None:
        return _of_target(option, toplevel, *target)
    for branch in DEFAULT_BRANCHES:
        tip = _commit(toplevel, branch)
        if tip is None:
            continue
        base = attempt(toplevel, "merge-base", "HEAD", tip)
        if base is not None:
            return _before(option, toplevel, base)
        raise EnergyError(
            f"`{option}=auto` finds no common ancestor of HEAD and `{branch}`"
            f"{_fetch(toplevel, branch.removeprefix('origin/'))}"
        )
    names = ", ".join(f"`{branch}`" for branch in DEFAULT_BRANCHES)
    raise EnergyError(
        f"`{option}=auto` finds no default branch in `{toplevel}` (tried {names})"
        f"{_fetch(toplevel, 'main')}"
    )


def _before(option: str, toplevel: Path, base: str) -> str:
    """The base, or its parent where the working tree is that commit, as after a merge."""
    same = base == _commit(toplevel, "HEAD")
    if not same or git(toplevel, "status", "--porcelain", "--untracked-files=no"):
        return base
    parent = _commit(toplevel, "HEAD^")
    if parent is None and _is_shallow(toplevel):
        raise EnergyError(
            f"`{option}=auto` means the commit before HEAD, which this clone lacks: it is shallow; "
            f"fetch it with `git fetch --deepen=1`"
        )
    return parent or base


def _of_target(option: str, toplevel: Path, branch: str, sha: str) -> str:
    tip = (_commit(toplevel, sha) if sha else None) or _commit(toplevel, f"origin/{branch}")
    if tip is None:
        raise EnergyError(
            f"`{option}=auto` means `{branch}`, which this change goes into and which this clone "
            f"lacks{_fetch(toplevel, sha or branch)}"
        )
    # In a shallow clone the ancestors are not there; the base itself is the next best.
    return attempt(toplevel, "merge-base", "HEAD", tip) or tip


def _commit(toplevel: Path, name: str) -> str | None:
    if name.startswith("-"):
        return None
    return attempt(toplevel, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")


def _fetch(toplevel: Path, name: str) -> str:
    """What to do about a commit that is not there, as the end of a sentence."""
    if _is_shallow(toplevel):
        return (
            f": the clone is shallow; fetch it with `git fetch --depth=1 origin {name}`, or all of "
            f"its history with `git fetch --unshallow`"
        )
    return f"; fetch it with `git fetch origin {name}`, or give another revision"


def _is_shallow(toplevel: Path) -> bool:
    return attempt(toplevel, "rev-parse", "--is-shallow-repository") == "true"


def _require_clean_submodules(option: str, asked: str, toplevel: Path) -> None:
    status = git(toplevel, "status", "--porcelain=v2", "--ignore-submodules=untracked")
    for line in status.splitlines():
        fields = line.split(" ", 8)
        if fields[0] == "1" and fields[2].startswith("S") and "M" in fields[2][2:3]:
            raise EnergyError(
                f"`{option}={asked}`: submodule `{fields[8]}` has changes that no commit holds; "
                f"commit or stash them there, or the two sides would not differ by commits alone"
            )
