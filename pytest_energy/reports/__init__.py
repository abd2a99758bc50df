"""The reports that a run writes at its end: files that were asked for, and what GitHub shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pytest_energy.errors import informing
from pytest_energy.files import append, write_atomically
from pytest_energy.outcomes import EXPLAINED
from pytest_energy.reports import markdown, wording
from pytest_energy.results import RunRecord, json_codec
from pytest_energy.results.footprint import Footprint, footprint
from pytest_energy.text import safe_line

if TYPE_CHECKING:
    from pytest_energy.checks import Settings


STEP_SUMMARY_BYTES = 1024 * 1024
"""GitHub takes so much of a step's summary, or nothing of it."""

MOST_OF_A_KIND = 10
"""GitHub shows so many errors, and so many warnings, of a step."""


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
            room = room_in(Path(summary))
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


def room_in(path: Path) -> int:
    """Bytes that the step's summary still takes."""
    return STEP_SUMMARY_BYTES - (path.stat().st_size if path.is_file() else 0)


def annotation_lines(record: RunRecord, root: Path) -> list[str]:
    """Lines that GitHub turns into annotations; none elsewhere."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return []
    return workflow_commands(annotated(record), root)


@dataclass(frozen=True)
class Annotation:
    """A message at a place: `file` is relative to pytest's root, `line` counts from 1."""

    kind: Literal["error", "warning"]
    title: str
    message: str
    file: str | None = None
    line: int | None = None


_NOT = {"fails": "Not here", "not testable": "Not testable here"}


def annotated(record: RunRecord) -> list[Annotation]:
    """What a person must see beside the code, the worst first."""
    found = [
        Annotation(
            "error",
            f"energy claim {claim.outcome}",
            f"{claim.claim} {_NOT[claim.outcome]}: {claim.reason}",
            *(claim.location or ()),
        )
        for claim in record.claims
        if claim.fails
    ]
    found += [
        Annotation(
            "error" if verdict.fails else "warning",
            f"energy {verdict.outcome}: {wording.name(verdict)}",
            wording.reason(verdict),
            *(verdict.location or ()),
        )
        for verdict in wording.worst_first(record.verdicts)
        if verdict.fails or verdict.outcome in EXPLAINED
    ]
    if demanded := tuple(one for one in record.not_measured if one.fails):
        message = "; ".join(wording.not_measured(replace(record, not_measured=demanded)))
        found.append(Annotation("error", "energy figures not measured", message))
    if record.interrupted is not None:
        message = wording.interruption(record)
        found.append(Annotation("warning", "energy run interrupted", message))
    return found


def workflow_commands(
    found: Sequence[Annotation], root: Path, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Annotations as workflow commands, one line each; the last of a kind counts what is hidden."""
    workspace = Path(environ.get("GITHUB_WORKSPACE") or root)
    lines = []
    for kind in ("error", "warning"):
        group = [one for one in found if one.kind == kind]
        if len(group) > MOST_OF_A_KIND:
            title = f"energy: {len(group) - (MOST_OF_A_KIND - 1)} more"
            more = Annotation(group[0].kind, title, "GitHub shows no more of them; see the summary")
            group = [*group[: MOST_OF_A_KIND - 1], more]
        lines += [_command(annotation, root, workspace) for annotation in group]
    return lines


def _command(annotation: Annotation, root: Path, workspace: Path) -> str:
    properties = []
    if annotation.file is not None:
        # GitHub looks for the file from the checkout, which may hold pytest's root in a folder.
        file = os.path.relpath(root / annotation.file, workspace)
        properties.append(f"file={_property(Path(file).as_posix())}")
        properties.append(f"line={annotation.line}")
    properties.append(f"title={_property(annotation.title)}")
    return f"::{annotation.kind} {','.join(properties)}::{_data(annotation.message)}"


def _data(text: str) -> str:
    return safe_line(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
