"""The record of a session: where its code comes from, how it is written, what was measured."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean
from typing import Any

from pytest_energy.clocks import real_time
from pytest_energy.outcomes import NO_EVIDENCE
from pytest_energy.units import FRACTION


def in_utc(text: str) -> str:
    """An ISO date or time as UTC in one form, which sorts as text; raises `ValueError`."""
    moment = real_time.moment.fromisoformat(text.strip().replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")


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
    """The code and the place of a session; None if neither git nor the CI says.

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
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch",
               "--untracked-files=no"]  # fmt: skip
    try:
        output = subprocess.check_output(
            command, cwd=folder, stderr=subprocess.DEVNULL, text=True, timeout=_PATIENCE_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None, None, None
    lines = output.splitlines()
    said = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    commit, branch = said.get("branch.oid"), said.get("branch.head")
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


class ForeignRecordError(ValueError):
    """A file is no record of a session that this version reads; says why."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A figure in one session: `value` in `unit`, of the work `workload` in `tokens` a window.

    `environment` is JSON text, the same text for the same environment; `baseline` and `tolerance`
    are those of its verdict, if the baseline was a committed one.
    """

    session: str
    date: str
    hardware: str
    metric: str
    id: str
    unit: str
    value: float
    device: str | None = None
    workload: str | None = None
    tokens: int | None = None
    method: str = ""
    commit: str | None = None
    branch: str | None = None
    environment: str = "{}"
    mean_watts: float | None = None
    tokens_per_second: float | None = None
    padding_overhead: float | None = None
    baseline: float | None = None
    tolerance: float | None = None


def parse(content: bytes) -> dict[str, Any]:
    """A record's document; raises `ForeignRecordError` for what is none."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ForeignRecordError(f"no JSON ({error})") from None
    if not isinstance(document, dict) or "history" not in document:
        raise ForeignRecordError("no record of a session")
    if document["history"] != RECORD_SCHEMA:
        raise ForeignRecordError(
            f"schema {document['history']!r}, this version reads {RECORD_SCHEMA}"
        )
    return document


def measurements_of(document: Mapping[str, Any]) -> list[Measurement]:
    """All measurements of a record; raises `ForeignRecordError` if the record is damaged."""
    try:
        hardware, environment = document["hardware"], document["environment"]
        shared = {
            "session": str(document["session"]),
            "date": in_utc(_text(document["date"])),
            "hardware": _text(hardware["key"]),
            "device": _device(hardware["devices"], document.get("host")),
            "commit": document.get("commit"),
            "branch": document.get("branch"),
            "environment": json.dumps(dict(sorted(environment.items()))),
        }
        found = (_measurement(verdict, shared) for verdict in document["verdicts"])
        return [one for one in found if one is not None]
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ForeignRecordError(f"damaged ({type(error).__name__}: {error})") from None


def _measurement(verdict: Mapping[str, Any], shared: Mapping[str, Any]) -> Measurement | None:
    if verdict["verdict"] in NO_EVIDENCE or verdict.get("value") is None:
        return None
    windows = [row for row in verdict["windows"] if row["valid"]]
    metric, unit, value = _text(verdict["metric"]), _text(verdict["unit"]), verdict["value"]
    known: dict[str, Any] = {}
    own = True
    if metric.startswith("joules_per_") and windows:
        # The first metric stands for both: padding is exact, so it gives the second.
        own = metric == "joules_per_token"
        metric, unit = "joules_per_token", "J/token"
        known = _rates(windows)
        value = math.exp(fmean(math.log(row["joules"] / row["tokens"]) for row in windows))
    if not _usable(value, unit):
        return None
    # What an A/B compares with is another commit in the same session, and no accepted baseline.
    compared = own and not verdict.get("local") and not verdict.get("comparison")
    return Measurement(
        metric=metric,
        id=_text(verdict["id"]),
        unit=unit,
        value=float(value),
        workload=verdict.get("workload"),
        tokens=verdict.get("tokens"),
        method=verdict.get("method") or "",
        baseline=verdict.get("baseline") if compared else None,
        tolerance=verdict.get("tolerance") if compared else None,
        **known,
        **shared,
    )


def _rates(windows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    joules, seconds, tokens, real = (
        sum(row[name] for row in windows) for name in ("joules", "seconds", "tokens", "real_tokens")
    )
    return {
        "mean_watts": joules / seconds if seconds > 0 else None,
        "tokens_per_second": tokens / seconds if seconds > 0 else None,
        "padding_overhead": tokens / real if real > 0 else None,
    }


def _usable(value: object, unit: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    return value < 1 if unit == FRACTION else value > 0


def _device(devices: Sequence[Mapping[str, Any]], host: object) -> str | None:
    """The cards' UUIDs; a processor has none that tells it from another host's."""
    named = [device for device in devices if device.get("uuid")]
    gpus = [device["uuid"] for device in named if device["domain"].startswith("gpu")]
    if gpus or not named:
        return "+".join(gpus) or None
    return "+".join(device["uuid"] for device in named) + f"@{host}"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
