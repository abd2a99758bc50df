"""The reports that a run writes at its end: files that were asked for, and what GitHub shows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_energy.errors import EnergyError
from pytest_energy.files import append, write_atomically
from pytest_energy.reports import github, markdown
from pytest_energy.results import RunRecord, json_codec
from pytest_energy.results.footprint import Footprint, footprint

if TYPE_CHECKING:
    from pytest_energy.checks import Settings


def write_reports(
    record: RunRecord, settings: Settings, environ: Mapping[str, str] = os.environ
) -> None:
    """Write what was asked for; a job's summary by itself, if GitHub gives one.

    Raises `EnergyError` if a file cannot be written after all.
    """
    cost = footprint(record.cost.joules, settings.region)
    try:
        if settings.json is not None:
            json_codec.write(settings.json, record, settings.region)
        if settings.markdown is not None:
            write_atomically(settings.markdown, markdown.render(record, cost))
        if settings.html is not None:
            write_atomically(settings.html, _page(record, cost, settings))
    except OSError as error:
        raise EnergyError(f"`{error.filename}` cannot be written: {error.strerror}") from None
    summary = environ.get("GITHUB_STEP_SUMMARY")
    if summary and record.figures:
        # Nobody asked for it, and the terminal says the same: no reason to fail a run.
        with suppress(OSError):
            room = github.room_in(Path(summary))
            append(Path(summary), f"{markdown.render(record, cost, room)}\n")


def _page(record: RunRecord, cost: Footprint, settings: Settings) -> str:
    from pytest_energy.history.drift import drift_of
    from pytest_energy.reports.html import render

    drift = None
    if settings.history is not None:
        key = str(record.hardware.get("key", "")) or None
        drift = drift_of(settings.history, settings.baselines, hardware=key)
    return render([json_codec.ReportedRun(record, cost)], drift)


def annotation_lines(
    record: RunRecord, root: Path, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Lines that GitHub turns into annotations; none elsewhere."""
    if environ.get("GITHUB_ACTIONS") != "true":
        return []
    return github.commands(github.annotated(record), root, environ)
