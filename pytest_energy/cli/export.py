"""`pytest-energy export` and `comment`: a run for tools that keep it, and for a pull request."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_energy.cli import describe, say, write_text
from pytest_energy.errors import EnergyError
from pytest_energy.outcomes import NO_EVIDENCE
from pytest_energy.reports.markdown import comment
from pytest_energy.results import RunRecord, VerdictRecord
from pytest_energy.results.claims import ClaimRecord, Figure
from pytest_energy.results.json_codec import read_document
from pytest_energy.text import one_line

_CLAIM = "claim"
"""The metric of figures that a test of a claim has noted."""

_LONGEST_NAME = 1024
"""Characters of a name that Bencher takes."""


def add_export(parser: argparse.ArgumentParser) -> None:
    """Register the arguments."""
    describe(
        parser,
        "Write the figures of a run in the format of a tool that keeps them over time.",
        "pytest-energy export run.json --format bencher -o bencher.json",
    )
    parser.add_argument("record", metavar="RECORD.json", type=Path, help="what --energy-json wrote")
    parser.add_argument("--format", required=True, choices=FORMATS, help="whose format")
    parser.add_argument("-o", "--output", metavar="PATH", type=Path, help="(stdout)")
    parser.set_defaults(run=run_export)


def run_export(options: argparse.Namespace) -> int:
    """Write the figures of a `--energy-json` document; what has none is named on stderr."""
    record = read_document(options.record).record
    figures = [*record.verdicts, *_claimed(record.claims, FORMATS[options.format])]
    measured = [
        figure
        for figure in figures
        if figure.outcome not in NO_EVIDENCE
        and figure.value is not None
        and all(map(math.isfinite, (figure.value, figure.uncertainty or 0.0)))
    ]
    left_out = ", ".join(f"{one.id} ({one.outcome})" for one in figures if one not in measured)
    if not measured:
        raise EnergyError(
            f"`{options.record}` holds no figure to export: {left_out or 'nothing was metered'}; "
            f"run the tests until one is measured"
        )
    text = json.dumps(FORMATS[options.format](record, _distinct(measured)), indent=1) + "\n"
    if options.output is None:
        # The same JSON, without what a CI's log would obey.
        sys.stdout.write(text.replace("##", "#\\u0023"))
    else:
        write_text(options.output, text)
        say(f"wrote {options.output}")
    if left_out:
        say(f"left out, without a figure: {left_out}", to=sys.stderr)
    return 0


def _claimed(claims: Sequence[ClaimRecord], form: object) -> Iterator[VerdictRecord]:
    """The figures of claims as records; what is doubtful, or would be misread, has no value."""
    for claim in claims:
        for figure in claim.figures:
            outcome = figure.outcome
            if form is github_action_benchmark and not _smaller_is_better_of(figure):
                outcome = "larger is better"
            value, ends = figure.value, (figure.low, figure.high)
            halves = [abs(end - value) for end in ends if end is not None and value is not None]
            yield VerdictRecord(
                id=f"{claim.nodeid.rpartition('::')[2] or claim.claim}/{figure.name}",
                metric=_CLAIM,
                nodeid=claim.nodeid,
                outcome=outcome,
                unit=figure.unit or "1",
                value=None if outcome in ("not testable", "larger is better") else value,
                uncertainty=max(halves, default=None),
                method=claim.method,
            )


def _smaller_is_better_of(figure: Figure) -> bool:
    """Of joules, and of what must not rise above a bound."""
    return figure.unit.startswith("J") or (figure.at_least is None and figure.at_most is not None)


def _distinct(verdicts: Sequence[VerdictRecord]) -> list[VerdictRecord]:
    """Add to figures of one name their test's, and a number if that is the same, too."""
    names = Counter((verdict.id, verdict.metric) for verdict in verdicts)
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for verdict in verdicts:
        alone = names[verdict.id, verdict.metric] == 1
        name = verdict.id if alone else f"{verdict.id} ({verdict.nodeid})"
        seen[name, verdict.metric] += 1
        number = seen[name, verdict.metric]
        found.append(replace(verdict, id=name if number == 1 else f"{name} ({number})"))
    return found


def bencher(_record: RunRecord, verdicts: Sequence[VerdictRecord]) -> dict[str, dict[str, Any]]:
    """Measures by benchmark; the hardware is Bencher's test bed, which its command line names."""
    found: dict[str, dict[str, Any]] = {}
    for verdict in verdicts:
        slug = verdict.metric.replace("_", "-")
        # Modelled joules are a measure of their own.
        measure = f"{slug}-modelled" if verdict.method == "modelled" else slug
        value, half = verdict.value or 0.0, verdict.uncertainty
        bounds = {} if half is None else {"lower_value": value - half, "upper_value": value + half}
        found.setdefault(verdict.id[-_LONGEST_NAME:], {})[measure] = {"value": value, **bounds}
    return found


def github_action_benchmark(
    record: RunRecord, verdicts: Sequence[VerdictRecord]
) -> list[dict[str, Any]]:
    """One entry a figure; names hold the hardware, whose figures are a series of their own."""
    return [_entry(_smaller_is_better(verdict), record.hardware) for verdict in verdicts]


def _smaller_is_better(verdict: VerdictRecord) -> VerdictRecord:
    """The figure, or for savings what is left of J/token, so that less is better in all of them."""
    if verdict.metric != "savings":
        return verdict
    return replace(
        verdict,
        metric="joules_left",
        unit="fraction of J/token left",
        value=1.0 - (verdict.value or 0.0),
        baseline=None if verdict.baseline is None else 1.0 - verdict.baseline,
        windows=(),  # savings come from pairs, of which no window has a value of its own
    )


def _entry(verdict: VerdictRecord, hardware: Any) -> dict[str, Any]:
    modelled = " (modelled)" if verdict.method == "modelled" else ""
    entry: dict[str, Any] = {
        "name": f"{verdict.id} {verdict.metric} [{hardware.get('key', 'unknown')}]",
        "unit": verdict.unit + modelled,
        "value": verdict.value,
    }
    if verdict.uncertainty is not None:
        entry["range"] = f"± {verdict.uncertainty:.3g}"
    devices = dict.fromkeys(str(device["name"]) for device in hardware.get("devices", ()))
    facts = {
        "verdict": verdict.outcome,
        "baseline": None if verdict.baseline is None else f"{verdict.baseline:.6g}",
        "method": verdict.method,
        "windows": sum(window.valid for window in verdict.windows),
        "workload": verdict.workload,
        "device": ", ".join(devices),
    }
    entry["extra"] = "\n".join(f"{name}: {value}" for name, value in facts.items() if value)
    return entry


FORMATS = {"github-action-benchmark": github_action_benchmark, "bencher": bencher}
"""What makes the document of each format."""


_ADDRESS = re.compile(r"https?://[\w./:%?&=~+-]+")
"""An address that can stand in a link of Markdown."""


def add_comment(parser: argparse.ArgumentParser) -> None:
    """Register the arguments."""
    describe(
        parser,
        "Write the comment of a pull request: verdicts that are not `within`, why, and what to do "
        "next. If all are, it is empty. The record is not trusted: it is checked and escaped.",
        "pytest-energy comment run.json --link https://example.org/runs/7 -o body.md",
    )
    parser.add_argument("record", metavar="RECORD.json", type=Path, help="what --energy-json wrote")
    parser.add_argument("--link", required=True, metavar="URL", help="where the run can be seen")
    parser.add_argument("-o", "--output", metavar="PATH", type=Path, help="(stdout)")
    parser.set_defaults(run=run_comment)


def run_comment(options: argparse.Namespace) -> int:
    """Write the comment, or nothing; always 0."""
    if not _ADDRESS.fullmatch(options.link):
        raise EnergyError(
            f"`--link={one_line(options.link)}` is no address such as https://example.org/runs/7"
        )
    text = comment(read_document(options.record).record, options.link)
    if options.output is not None:
        write_text(options.output, text)
    elif text:
        say(*text.splitlines())
    return 0
