"""Git, asked without ever touching the user's checkout, index or hooks."""

from __future__ import annotations

import os
import shutil
import subprocess
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
