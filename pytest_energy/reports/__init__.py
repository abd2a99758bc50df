"""The reports that a run writes at its end: files that were asked for, and what GitHub shows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_energy.errors import EnergyError
from pytest_energy.files import write_atomically
from pytest_energy.reports import github, markdown
from pytest_energy.results import RunRecord, json_codec
from pytest_energy.results.footprint import Footprint, footprint

if TYPE_CHECKING:
    from pytest_energy.plugin.options import EnergyConfig


def write_reports(
    record: RunRecord, config: EnergyConfig, environ: Mapping[str, str] = os.environ
) -> None:
    """Write what was asked for; a job's summary by itself, if GitHub gives one.

    Raises `EnergyError` if a file cannot be written after all.
    """
    cost = footprint(record.cost.joules, config.region)
    try:
        if config.json is not None:
            json_codec.write(config.json, record, config.region)
        if config.markdown is not None:
            write_atomically(config.markdown, markdown.render(record, cost))
        if config.html is not None:
            write_atomically(config.html, _page(record, cost, config))
    except OSError as error:
        raise EnergyError(f"`{error.filename}` cannot be written: {error.strerror}") from None
    summary = environ.get("GITHUB_STEP_SUMMARY")
    if summary and record.figures:
        # Nobody asked for it, and the terminal says the same: no reason to fail a run.
        with suppress(OSError):
            room = github.room_in(Path(summary))
            github.append_summary(Path(summary), markdown.render(record, cost, room))


def _page(record: RunRecord, cost: Footprint, config: EnergyConfig) -> str:
    from pytest_energy.history.drift import drift_of
    from pytest_energy.reports.html import render
    from pytest_energy.results.json_codec import ReportedRun

    drift = None
    if config.history is not None:
        key = str(record.hardware.get("key", "")) or None
        drift = drift_of(config.history, config.baselines, hardware=key)
    return render([ReportedRun(record, cost)], drift)


def annotation_lines(
    record: RunRecord, root: Path, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Lines that GitHub turns into annotations; none elsewhere."""
    if environ.get("GITHUB_ACTIONS") != "true":
        return []
    return github.commands(github.annotated(record), root, environ)
