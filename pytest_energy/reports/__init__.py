"""The reports that a run writes at its end: files that were asked for, and what GitHub shows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_energy.errors import EnergyError
from pytest_energy.files import write_atomically
from pytest_energy.plugin.options import EnergyConfig
from pytest_energy.reports import github, markdown
from pytest_energy.results import RunRecord
from pytest_energy.results import json_codec as jsonfile
from pytest_energy.results.footprint import footprint

if TYPE_CHECKING:
    from pytest_energy.history.drift import DriftReport


def write_reports(
    record: RunRecord, config: EnergyConfig, environ: Mapping[str, str] = os.environ
) -> None:
    """Write what was asked for; a job's summary by itself, where GitHub gives one.

    Raises `EnergyError` where a file cannot be written after all.
    """
    try:
        _write_files(record, config)
    except OSError as error:
        raise EnergyError(f"`{error.filename}` cannot be written: {error.strerror}") from None
    cost = footprint(record.cost.joules, config.region)
    summary = environ.get("GITHUB_STEP_SUMMARY")
    if summary and record.figures:
        _summarise(Path(summary), markdown.render(record, cost, github.room_in(Path(summary))))


def _write_files(record: RunRecord, config: EnergyConfig) -> None:
    cost = footprint(record.cost.joules, config.region)
    if config.json is not None:
        jsonfile.write(config.json, record, config.region)
    if config.markdown is not None:
        write_atomically(config.markdown, markdown.render(record, cost))
    if config.html is not None:
        from pytest_energy.reports.html import render
        from pytest_energy.results.json_codec import ReportedRun

        drift = None
        if config.history is not None:
            key = str(record.hardware.get("key", "")) or None
            drift = drift_of(config.history, config.baselines, key)
        write_atomically(config.html, render([ReportedRun(record, cost)], drift))


def drift_of(url: str, baselines: Path, hardware: str | None = None) -> DriftReport:
    """What a history says over time, of one hardware or of all; `baselines` may not exist."""
    from pytest_energy.history.drift import report
    from pytest_energy.history.series import read_series

    warnings: list[str] = []
    found = read_series(url, baselines=baselines, hardware=hardware, warn=warnings.append)
    return report(list(found), warnings)


def annotation_lines(
    record: RunRecord, root: Path, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Lines that GitHub turns into annotations; none elsewhere."""
    if environ.get("GITHUB_ACTIONS") != "true":
        return []
    return github.commands(github.annotated(record), root, environ)


def _summarise(path: Path, text: str) -> None:
    try:
        github.append_summary(path, text)
    except OSError:
        # Nobody asked for it, and the terminal says the same: no reason to fail a run.
        return
