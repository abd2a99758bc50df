"""`pytest-energy drift`: which figures moved, since when, since which commit, and why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pytest_energy.commands.histories import require_history, what_there_is
from pytest_energy.drift import report
from pytest_energy.errors import EnergyError
from pytest_energy.history import read_series
from pytest_energy.history.dates import in_utc
from pytest_energy.recording import require_writable, write
from pytest_energy.report.drift import as_document, as_text

_BASELINES = Path("baselines")


@dataclass(frozen=True)
class Question:
    """What is asked: a history, and what of it; `baselines` None: `baselines/` if it is there."""

    url: str
    baselines: Path | None = None
    json: Path | None = None
    hardware: str | None = None
    since: str | None = None
    branch: str | None = None


def run(question: Question) -> int:
    """Print the report; 0 no drift, 1 drift, 2 too few sessions to say."""
    since = _date(question.since) if question.since else None
    if question.json is not None:
        require_writable(question.json, "--json")
    require_history(question.url)
    warnings: list[str] = []
    series = list(
        read_series(
            question.url,
            baselines=_folder(question.baselines),
            hardware=question.hardware,
            since=since,
            branch=question.branch,
            warn=warnings.append,
        )
    )
    if not series:
        instead = what_there_is(question.url, question.hardware, question.branch)
        warnings += [instead] if instead else []
    found = report(series, warnings)
    print(as_text(found))
    if question.json is not None:
        write(question.json, json.dumps(as_document(found), indent=1) + "\n")
    return found.exit_code


def _folder(given: Path | None) -> Path | None:
    if given is None:
        return _BASELINES if _BASELINES.is_dir() else None
    if not given.is_dir():
        raise EnergyError(f"`--baselines={given}` is no folder; give that of the baseline files")
    return given


def _date(text: str) -> str:
    try:
        return in_utc(text)
    except ValueError:
        raise EnergyError(f"`--since={text}` is no date; write it as 2026-11-24") from None
