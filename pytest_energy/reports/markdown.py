"""The run as Markdown, with texts from tests and files made harmless; pure."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from pytest_energy.meters.protocol import shown_name
from pytest_energy.outcomes import EXPLAINED
from pytest_energy.reports import tables, wording
from pytest_energy.reports.next_steps import next_steps
from pytest_energy.results import RunRecord, VerdictRecord
from pytest_energy.results.claims import ClaimRecord
from pytest_energy.results.footprint import Footprint
from pytest_energy.text import safe_line

_ACTIVE = re.compile(r"[\\`*_~\[\]|$#!]")


def escaped(text: str) -> str:
    """Text as Markdown that shows it as it is, on one line, in a table's cell as well."""
    # Entities first: what is added afterwards holds nothing that they would change.
    shown = _ACTIVE.sub(r"\\\g<0>", html.escape(safe_line(text), quote=False))
    return shown.replace("@", "@<!-- -->")  # else GitHub tells whoever is called so


def sentence(text: str, escape: Callable[[str], str] = escaped) -> str:
    """A sentence whose names stand in backticks, with those names as code; all is escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a name holds a backtick itself: which ones are pairs is not known
        return escape(text)
    return "".join(
        f"<code>{escape(part)}</code>" if number % 2 else escape(part)
        for number, part in enumerate(parts)
    )


def table(shown: tables.TextTable) -> str:
    """A Markdown table, whose texts are escaped."""
    columns = range(len(shown.headings))
    rules = ["---:" if number in shown.right else "---" for number in columns]
    lines = ([escaped(text) for text in row] for row in (shown.headings, *shown.rows))
    first, *others = (f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join([first, f"| {' | '.join(rules)} |", *others])


def folded(title: str, body: str) -> str:
    """A section that opens on a click; `title` is escaped already."""
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


_LAST_LINE_BYTES = 200


def render(record: RunRecord, footprint: Footprint, most_bytes: int | None = None) -> str:
    """The whole document, what failed first; sections that do not fit are left out, and named."""
    sections = [
        ("verdicts", _verdicts(record)),
        ("comparisons", "\n\n".join(_comparisons(record))),
        ("claims", "\n\n".join(_claim(claim) for claim in record.claims)),
        ("environment", _environment(record)),
        ("cost", _cost(record, footprint)),
    ]
    text, left_out = f"## Energy: {wording.headline(record)}\n", []
    for name, section in sections:
        longer = f"{text}\n{section}\n" if section else text
        if most_bytes is not None and len(longer.encode()) > most_bytes - _LAST_LINE_BYTES:
            left_out.append(name)
        else:
            text = longer
    if left_out:
        text += f"\nToo long for this summary: {', '.join(left_out)}; see `--energy-html`.\n"
    return text


MOST_COMMENT_BYTES = 60_000
"""GitHub takes 65,536 characters of a comment."""


def comment(record: RunRecord, run: str) -> str:
    """What a pull request is told of a run at a URL; empty if there is nothing to tell.

    That is so if every verdict is `within`, and no claim fails.
    """
    told = tuple(verdict for verdict in record.verdicts if verdict.outcome in EXPLAINED)
    broken = tuple(claim for claim in record.claims if claim.fails)
    if not told and not broken and record.interrupted is None:
        return ""
    parts = [
        f"### Energy: {wording.headline(record)}",
        _verdicts(replace(record, verdicts=told)),
        *(_claim(claim) for claim in broken),
    ]
    last = f"Every window, and power over time: the artifact of [this run]({run})."
    text = "\n\n".join(part for part in parts if part)
    if len(text.encode()) > MOST_COMMENT_BYTES:
        text = f"{parts[0]}\n\nToo long for a comment."
    return f"{text}\n\n{last}\n"


def _verdicts(record: RunRecord) -> str:
    ordered = wording.worst_first(record.verdicts)
    if not ordered:
        return _warnings(record)
    rows = [
        (_marked(one.outcome, one.fails) + wording.caveat(one), *wording.cells(one))
        for one in ordered
    ]
    headings = ("verdict", "benchmark", "value", wording.held_against(record), "change")
    verdicts = table(tables.TextTable(headings, rows, right=(2, 3, 4)))
    parts = [verdicts, _reasons(ordered), _warnings(record)]
    if steps := next_steps(record):
        parts.append("Next: " + ", or ".join(f"<code>{escaped(step)}</code>" for step in steps))
    return "\n\n".join(part for part in parts if part)


def _reasons(verdicts: Sequence[VerdictRecord]) -> str:
    return "\n".join(
        f"- **{escaped(wording.name(verdict))}**: {sentence(wording.reason(verdict))}"
        for verdict in verdicts
        if verdict.outcome in EXPLAINED
    )


def _warnings(record: RunRecord) -> str:
    return "\n".join(f"- warning: {sentence(warning)}" for warning in wording.warnings(record))


def _comparisons(record: RunRecord) -> Iterator[str]:
    for verdict in record.verdicts:
        if verdict.comparison is not None:
            title = f"{escaped(wording.name(verdict))}: base and head"
            notes = "\n".join(f"- {sentence(note)}" for note in verdict.comparison.notes)
            sides = table(tables.sides(verdict.comparison))
            yield folded(title, f"{sides}\n\n{notes}".rstrip())
        if verdict.profile is not None:
            title = f"{escaped(wording.name(verdict))}: time of a token under the profiler"
            shown = tables.profile_tables(verdict.profile, wording.against(verdict))
            exchanged = wording.exchanged(verdict.profile)
            parts = [*map(table, shown), *(escaped(f"{name}: {text}") for name, text in exchanged)]
            yield folded(title, "\n\n".join(parts))


def _claim(claim: ClaimRecord) -> str:
    modelled = " (modelled)" if claim.method == "modelled" else ""
    parts = [f"### {_marked(claim.outcome, claim.fails)}: {escaped(claim.claim)}{modelled}"]
    if claim.reason:
        parts.append(sentence(claim.reason))
    if claim.figures:
        parts.append(table(tables.figures(claim)))
    parts += [folded(escaped(one.title), table(tables.noted(one))) for one in claim.tables]
    return "\n\n".join(parts)


def _environment(record: RunRecord) -> str:
    parts = []
    changed = tables.changed_environment(record)
    if changed.rows:
        parts += ["### What changed around it", table(changed)]
    hardware = record.hardware
    rows = [("hardware", str(hardware["key"]))] if "key" in hardware else []
    rows += [
        (one["domain"], shown_name(one["domain"], one["name"]))
        for one in hardware.get("devices", ())
    ]
    rows += record.environment.items()
    if rows:
        parts.append(folded("Environment", table(tables.TextTable(("", "now"), rows))))
    return "\n\n".join(parts)


def _cost(record: RunRecord, footprint: Footprint) -> str:
    text = escaped(wording.cost(record, footprint))
    if record.wall_joules is not None:
        text += f"; at the wall about {record.wall_joules:,.0f} J"
    return f"{wording.sentence_case(text)}."


def _marked(outcome: str, fails: bool) -> str:
    mark = wording.look("fails" if fails else outcome).mark
    return f"{mark} {outcome}".strip()
