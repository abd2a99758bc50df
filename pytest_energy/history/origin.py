"""Which code a session ran, and where: from git, else from what the CI says of itself."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# By CI: GitHub, GitLab, Azure, Buildkite, CircleCI, Jenkins.
_COMMIT = ("GITHUB_SHA", "CI_COMMIT_SHA", "BUILD_SOURCEVERSION", "BUILDKITE_COMMIT", "CIRCLE_SHA1",
           "GIT_COMMIT")  # fmt: skip
_BRANCH = ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "BUILD_SOURCEBRANCHNAME",
           "BUILDKITE_BRANCH", "CIRCLE_BRANCH", "GIT_BRANCH")  # fmt: skip
_RUNNER = ("RUNNER_NAME", "CI_RUNNER_DESCRIPTION", "AGENT_NAME", "BUILDKITE_AGENT_NAME",
           "NODE_NAME")  # fmt: skip
_PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class Origin:
    """The code and the place of a session; None where neither git nor the CI says.

    `dirty` is whether tracked files differed from the commit; `runner` the CI's name of the
    machine, else its host name.
    """

    commit: str | None
    branch: str | None
    dirty: bool | None
    host: str
    runner: str


def origin(folder: Path, variables: Mapping[str, str] = os.environ) -> Origin:
    """Where the code in a folder comes from: what is checked out, then what the CI says."""
    commit, branch, dirty = _git(folder)
    host = socket.gethostname()
    return Origin(
        commit=commit or _first(_COMMIT, variables),
        branch=branch or _first(_BRANCH, variables),
        dirty=dirty,
        host=host,
        runner=_first(_RUNNER, variables) or host,
    )


def _git(folder: Path) -> tuple[str | None, str | None, bool | None]:
    command = [
        "git",
        "--no-optional-locks",
        "status",
        "--porcelain=v2",
        "--branch",
        "--untracked-files=no",
    ]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None, None, None
    if done.returncode != 0:
        return None, None, None
    lines = done.stdout.splitlines()
    said = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    commit = said.get("branch.oid", "(initial)")
    branch = said.get("branch.head", "(detached)")
    dirty = any(not line.startswith("#") for line in lines)
    known = None if commit == "(initial)" else commit
    return known, None if branch == "(detached)" else branch, dirty


def _first(names: tuple[str, ...], variables: Mapping[str, str]) -> str | None:
    return next((variables[name] for name in names if variables.get(name)), None)
