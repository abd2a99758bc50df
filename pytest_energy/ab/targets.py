"""What a run is compared with: a git revision, or the same code under another interpreter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_energy.errors import EnergyError

AUTO = "auto"
DEFAULT_BRANCHES = ("origin/HEAD", "origin/main", "origin/master", "main", "master")
# Variables by which a caller (a hook, for one) may point git at another repository.
_MISLEADING = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")

PREFIX = "python:"
LEAST = (3, 10)
_PROBE_SECONDS = 120
_PROBE = """
import json, sys
from importlib.util import find_spec
found = {name: find_spec(name) is not None for name in ("pytest", "pytest_energy")}
worker = found["pytest_energy"] and find_spec("pytest_energy.ab") is not None
print(json.dumps({"version": list(sys.version_info[:3]), "worker": worker, **found}))
"""


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
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip()
        raise GitError(said or f"`git {arguments[0]}` ended with code {done.returncode}")
    return done.stdout.strip()


def attempt(folder: Path, *arguments: str) -> str | None:
    """What a git command prints, None if it fails."""
    try:
        return git(folder, *arguments)
    except GitError:
        return None


@dataclass(frozen=True)
class Revision:
    """A commit to compare with; `asked` is what the option said.

    `toplevel` is the user's checkout, `inside` pytest's root relative to it.
    """

    asked: str
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
    return Revision(asked, commit, toplevel, root.resolve().relative_to(toplevel))


def merge_target(variables: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """(branch, commit) that a pull request or a merge queue's group on GitHub goes into.

    None if CI says nothing of the kind; the commit is empty if it says the branch alone.
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
    """The base, or its parent if the working tree is that commit, as after a merge."""
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


@dataclass(frozen=True)
class Interpreter:
    """Another Python; `lends` is whether it has to be lent this installation's package."""

    python: str
    lends: bool

    @property
    def label(self) -> str:
        """The interpreter as a person reads it."""
        return f"{PREFIX}{self.python}"


def find_interpreter(asked: str, root: Path) -> Interpreter:
    """The interpreter of `python:PATH`; raises `EnergyError` if no side can run in it."""
    # Not resolved: a virtual environment's python is a link to another's.
    path = Path(os.path.abspath(root / Path(asked.removeprefix(PREFIX)).expanduser()))
    option = f"`--energy-compare={asked}`"
    if path.is_dir() or not os.access(path, os.X_OK):
        raise EnergyError(
            f"{option}: `{path}` is no program; give the path of an interpreter, such as "
            f"`python:.venv-new/bin/python`"
        )
    answer = _asked(path, option)
    if tuple(answer["version"][:2]) < LEAST:
        version = ".".join(map(str, answer["version"]))
        raise EnergyError(
            f"{option} is Python {version}; a side needs {LEAST[0]}.{LEAST[1]} or newer"
        )
    # A side meters by us and stores nothing: of all that our package needs it imports no more.
    if not answer["pytest"]:
        raise EnergyError(
            f"{option} lacks `pytest`, which a side needs; `{path} -m pip install pytest`"
        )
    if answer["pytest_energy"] and not answer["worker"]:
        raise EnergyError(
            f"{option} has a pytest-energy that knows no A/B; upgrade or uninstall it there"
        )
    return Interpreter(str(path), lends=not answer["pytest_energy"])


def lend_package(folder: Path) -> str:
    """A folder for another interpreter's path that holds our package and nothing else."""
    (folder / "pytest_energy").symlink_to(Path(__file__).parents[1])
    return str(folder)


def _asked(path: Path, option: str) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [str(path), "-c", _PROBE],
            cwd=path.parent,  # not the tree, whose packages would answer for the interpreter's
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise EnergyError(
            f"{option}: `{path}` does not answer as a Python interpreter ({error}); run it by "
            f"hand to see why"
        ) from None
    return answer
