"""The reports that a run writes at its end: files that were asked for, and what GitHub shows."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_energy.errors import informing
from pytest_energy.files import append, write_atomically
from pytest_energy.reports import github, markdown
from pytest_energy.results import RunRecord, json_codec
from pytest_energy.results.footprint import Footprint, footprint

if TYPE_CHECKING:
    from pytest_energy.checks import Settings


def write_reports(record: RunRecord, settings: Settings) -> list[str]:
    """Write what was asked for; a job's summary by itself, if GitHub gives one.

    The sentences returned say what of it is missing, and why: one report does not wait for another.
    """
    cost = footprint(record.cost.joules, settings.region)
    missing: list[str] = []

    def write(name: str, path: Path | None, write_to: Callable[[Path], None]) -> None:
        with informing(f"`--energy-{name}`: `{path}` cannot be written", missing.append):
            if path is not None:
                write_to(path)

    write("json", settings.json, lambda at: json_codec.write(at, record, settings.region))
    text = partial(markdown.render, record, cost)
    write("markdown", settings.markdown, lambda at: write_atomically(at, text()))
    page = partial(_page, record, cost, settings)
    write("html", settings.html, lambda at: write_atomically(at, page()))
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary and (record.figures or record.not_measured or record.interrupted):
        # Nobody asked for it, and the terminal says the same: no reason to fail a run.
        with informing("the summary"):
            room = github.room_in(Path(summary))
            append(Path(summary), f"{text(room)}\n")
    return missing


def _page(record: RunRecord, cost: Footprint, settings: Settings) -> str:
    from pytest_energy.history.drift import drift_of
    from pytest_energy.reports.html import render

    drift = None
    if settings.history is not None:
        key = str(record.hardware.get("key", "")) or None
        drift = drift_of(settings.history, settings.baselines, hardware=key)
    return render([json_codec.ReportedRun(record, cost)], drift)


def annotation_lines(record: RunRecord, root: Path) -> list[str]:
    """Lines that GitHub turns into annotations; none elsewhere."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return []
    return github.commands(github.annotated(record), root)
