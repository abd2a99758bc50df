"""Where the code of a run comes from, by git and the CI, and how pytest was called."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path

from pytest_energy.results import Origin
from pytest_energy.text import MASK, decoded, masked_argument, one_line

# By CI: GitHub, GitLab, Azure, Buildkite, CircleCI, Jenkins.
_COMMIT = ("GITHUB_SHA", "CI_COMMIT_SHA", "BUILD_SOURCEVERSION", "BUILDKITE_COMMIT", "CIRCLE_SHA1",
           "GIT_COMMIT")  # fmt: skip
_BRANCH = ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "BUILD_SOURCEBRANCHNAME",
           "BUILDKITE_BRANCH", "CIRCLE_BRANCH", "GIT_BRANCH")  # fmt: skip
_RUNNER = ("RUNNER_NAME", "CI_RUNNER_DESCRIPTION", "AGENT_NAME", "BUILDKITE_AGENT_NAME",
           "NODE_NAME")  # fmt: skip
_PATIENCE_SECONDS = 20
_UNKNOWN = "commit and branch are taken from the CI's variables, if there are any"
_PROJECT = ("GITHUB_REPOSITORY", "CI_PROJECT_PATH", "BUILD_REPOSITORY_NAME",
            "BUILDKITE_PIPELINE_SLUG", "CIRCLE_PROJECT_REPONAME")  # fmt: skip


def origin(
    folder: Path,
    variables: Mapping[str, str] = os.environ,
    note: Callable[[str], None] = lambda _: None,
    command: str | None = None,
) -> Origin:
    """Where the code in a folder comes from: what is checked out, then what the CI says.

    The project is what the CI calls it, else the folder. `note` is told if there is a repository
    that git refuses to look into.
    """
    commit, branch, dirty = _git(folder, note)
    host = socket.gethostname()
    return Origin(
        commit=commit or _first(_COMMIT, variables),
        branch=branch or _first(_BRANCH, variables),
        dirty=dirty,
        host=host,
        runner=_first(_RUNNER, variables) or host,
        project=_first(_PROJECT, variables) or folder.name or None,
        command=command,
    )


def _git(folder: Path, note: Callable[[str], None]) -> tuple[str | None, str | None, bool | None]:
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch",
               "--untracked-files=no"]  # fmt: skip
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except OSError:  # there is no git
        return None, None, None
    except subprocess.TimeoutExpired:
        note(f"git did not answer within {_PATIENCE_SECONDS} s in `{folder}`; {_UNKNOWN}")
        return None, None, None
    if done.returncode:
        said = decoded(done.stderr)
        if "not a git repository" not in said:
            why = one_line(" ".join(said.split()))
            note(f"git refuses to look into `{folder}`: {why}; {_UNKNOWN}")
        return None, None, None
    lines = decoded(done.stdout).splitlines()
    facts = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    commit, branch = facts.get("branch.oid"), facts.get("branch.head")
    dirty = any(not line.startswith("#") for line in lines)
    known = None if commit == "(initial)" else commit
    return known, None if branch == "(detached)" else branch, dirty


def _first(names: tuple[str, ...], variables: Mapping[str, str]) -> str | None:
    return next((variables[name] for name in names if variables.get(name)), None)


_OURS = "--energy-"
_SECRET = "--energy-notify"
"""Whose value is a secret as a whole: who knows the address can write there."""
_SHOWN = ("-k", "-m", "-n", "-p")
"""Options of pytest's own with values that select or spread tests."""


def typed(arguments: Iterable[str], selected: Container[str]) -> str:
    """The command that pytest was called with; `selected` are its files, folders and tests.

    The values of options that are neither this package's nor select tests are left out: they may
    be secrets of other plugins.
    """
    shown, is_told = [], False
    for argument in arguments:
        name, joined, _ = argument.partition("=")
        is_option = argument.startswith("-")
        is_ours = argument.startswith((_OURS, *_SHOWN)) and name != _SECRET
        if is_ours or (not is_option and (is_told or argument in selected)):
            shown.append(shlex.quote(masked_argument(argument)))
        else:
            hidden = f"{shlex.quote(name)}={MASK}" if joined else shlex.quote(name)
            shown.append(hidden if is_option else MASK)
        is_told = is_ours and not joined
    return " ".join(["pytest", *shown])
