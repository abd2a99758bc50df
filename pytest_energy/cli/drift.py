"""A history that a command is given, and whether there is anything in it of what is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pytest_energy.errors import EnergyError
from pytest_energy.files import require_writable, write_atomically
from pytest_energy.history.drift import report
from pytest_energy.history.reading import read_figures
from pytest_energy.history.record import in_utc
from pytest_energy.history.series import read_series
from pytest_energy.history.store import HistoryError, is_local, local_path, open_store
from pytest_energy.reports.drift import as_document, as_text


def require_history(url: str) -> None:
    """Raise `HistoryError` where a local history is not there, which is a misspelt name."""
    if is_local(url) and not local_path(url).is_dir():
        raise HistoryError(
            f"`{url}` is no folder; give the history that `--energy-history` writes to"
        )


def what_there_is(url: str, hardware: str | None, branch: str | None = None) -> str | None:
    """What a history has instead, where no session at all is of a hardware or a branch.

    To be called where nothing was found: it reads the history once more.
    """
    seen = [(one.hardware, one.branch) for one in read_figures(open_store(url), lambda _: None)]
    if not seen:
        return f"`{url}` holds no session with figures; is it what `--energy-history` writes to?"
    for option, value, known in (
        ("--hw", hardware, {key for key, _ in seen}),
        ("--branch", branch, {name for _, name in seen}),
    ):
        names = ", ".join(f"`{name}`" for name in sorted(filter(None, known)))
        if value is not None and value not in known and names:
            return f"`{option}={value}`: no session is of it; there are those of {names}"
    return None


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
        write_atomically(question.json, json.dumps(as_document(found), indent=1) + "\n")
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
