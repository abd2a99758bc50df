"""The record of a session: where its code comes from, and how it is written."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pytest_energy.clocks import real_time
from pytest_energy.text import decoded, one_line

# By CI: GitHub, GitLab, Azure, Buildkite, CircleCI, Jenkins.
_COMMIT = ("GITHUB_SHA", "CI_COMMIT_SHA", "BUILD_SOURCEVERSION", "BUILDKITE_COMMIT", "CIRCLE_SHA1",
           "GIT_COMMIT")  # fmt: skip
_BRANCH = ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "BUILD_SOURCEBRANCHNAME",
           "BUILDKITE_BRANCH", "CIRCLE_BRANCH", "GIT_BRANCH")  # fmt: skip
_RUNNER = ("RUNNER_NAME", "CI_RUNNER_DESCRIPTION", "AGENT_NAME", "BUILDKITE_AGENT_NAME",
           "NODE_NAME")  # fmt: skip
_PATIENCE_SECONDS = 20
_UNKNOWN = "the history takes commit and branch from the CI's variables, if there are any"


@dataclass(frozen=True)
class Origin:
    """The code and the place of a session; None if neither git nor the CI says.

    `dirty` is whether tracked files differed from the commit; `runner` the CI's name of the
    machine, else its host name.
    """

    commit: str | None
    branch: str | None
    dirty: bool | None
    host: str
    runner: str


def origin(
    folder: Path,
    variables: Mapping[str, str] = os.environ,
    note: Callable[[str], None] = lambda _: None,
) -> Origin:
    """Where the code in a folder comes from: what is checked out, then what the CI says.

    `note` is told if there is a repository that git refuses to look into.
    """
    commit, branch, dirty = _git(folder, note)
    host = socket.gethostname()
    return Origin(
        commit=commit or _first(_COMMIT, variables),
        branch=branch or _first(_BRANCH, variables),
        dirty=dirty,
        host=host,
        runner=_first(_RUNNER, variables) or host,
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


RECORD_SCHEMA = 1

_SESSION_LENGTH = 36


@dataclass(frozen=True)
class Record:
    """A record as it is stored: its name below the history's root, and its text."""

    name: str
    text: str


def make_record(
    document: Mapping[str, Any],
    origin: Origin,
    *,
    session: uuid.UUID | None = None,
    now: datetime | None = None,
) -> Record:
    """The record of a session that has just ended; its name is unique and sorts by time."""
    session = session or uuid.uuid4()
    now = (now or real_time.utc()).astimezone(timezone.utc)
    key = str(document.get("hardware", {}).get("key") or "unknown")
    content = {
        "history": RECORD_SCHEMA,
        "session": str(session),
        "date": now.isoformat(timespec="milliseconds"),
        **asdict(origin),
        **document,
    }
    stamp = now.strftime("%Y%m%dT%H%M%S") + f"{now.microsecond // 1000:03d}Z"
    name = f"{_safe(key)}/{now:%Y}/{now:%m}/{stamp}-{session}.json"
    return Record(name, json.dumps(content, separators=(",", ":")) + "\n")


def session_of_name(name: str) -> str | None:
    """The session that a file name carries, None if it has none."""
    candidate = name.rpartition("/")[2].removesuffix(".json").partition("-")[2]
    return candidate if len(candidate) == _SESSION_LENGTH else None


def _safe(key: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in key).lstrip(".") or "unknown"
