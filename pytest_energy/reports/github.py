"""What GitHub Actions shows of a run: annotations at the benchmarks' lines, the step's summary."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pytest_energy.outcomes import EXPLAINED
from pytest_energy.reports import wording
from pytest_energy.results import RunRecord
from pytest_energy.text import safe_line

STEP_SUMMARY_BYTES = 1024 * 1024
"""GitHub takes so much of a step's summary, or nothing of it."""

MOST_OF_A_KIND = 10
"""GitHub shows so many errors, and so many warnings, of a step."""


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


def commands(
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


def room_in(path: Path) -> int:
    """Bytes that the step's summary still takes."""
    return STEP_SUMMARY_BYTES - (path.stat().st_size if path.is_file() else 0)


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
