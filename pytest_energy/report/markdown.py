"""The run as Markdown, for a job's summary or a comment; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_energy.carbon import Footprint
from pytest_energy.claims import ClaimRecord, Table
from pytest_energy.records import RunRecord, VerdictRecord
from pytest_energy.report import wording
from pytest_energy.report.claims import cell, figure_rows, is_numeric
from pytest_energy.report.following import next_command
from pytest_energy.report.markup import escaped, folded, sentence, table
from pytest_energy.report.sides import side_rows

_LAST_LINE_BYTES = 200

_MARKS = {
    "within": "✅",
    "holds": "✅",
    "recorded": "📝",
    "improvement": "⚡",
    "inconclusive": "⚠️",
    "invalid": "⚠️",
    "missing": "⚠️",
    "regression": "⚠️",
    "fails": "❌",
}


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


def _verdicts(record: RunRecord) -> str:
    ordered = wording.worst_first(record.verdicts)
    if not ordered:
        return _warnings(record)
    rows = [
        (
            _marked(verdict.outcome, verdict.fails) + wording.caveat(verdict),
            escaped(wording.name(verdict)),
            wording.value(verdict),
            wording.baseline(verdict),
            wording.change(verdict),
        )
        for verdict in ordered
    ]
    headings = ("verdict", "benchmark", "value", "baseline", "change")
    parts = [table(headings, rows, right=(2, 3, 4)), _reasons(ordered), _warnings(record)]
    following = next_command(record)
    if following:
        parts.append(f"Next: <code>{escaped(following)}</code>")
    return "\n\n".join(part for part in parts if part)


def _reasons(verdicts: Sequence[VerdictRecord]) -> str:
    return "\n".join(
        f"- **{escaped(wording.name(verdict))}**: {sentence(wording.reason(verdict))}"
        for verdict in verdicts
        if verdict.outcome in wording.EXPLAINED
    )


def _warnings(record: RunRecord) -> str:
    return "\n".join(f"- warning: {sentence(warning)}" for warning in wording.warnings(record))


def _comparisons(record: RunRecord) -> Iterator[str]:
    for verdict in record.verdicts:
        if verdict.comparison is not None:
            rows = [[escaped(text) for text in row] for row in side_rows(verdict.comparison)]
            body = table(("", "base", "head", "change"), rows, right=(1, 2, 3))
            yield folded(f"{escaped(wording.name(verdict))}: base and head", body)


def _claim(claim: ClaimRecord) -> str:
    modelled = " (modelled)" if claim.method == "modelled" else ""
    parts = [f"### {_marked(claim.outcome, claim.outcome == 'fails')}: {escaped(claim.claim)}"]
    parts[0] += modelled
    if claim.reason:
        parts.append(sentence(claim.reason))
    if claim.figures:
        rows = [[escaped(text) for text in row] for row in figure_rows(claim)]
        headings = ("figure", "value", "claimed", "paper", "outcome")
        parts.append(table(headings, rows, right=(1,)))
    parts += [folded(escaped(one.title), _table(one)) for one in claim.tables]
    return "\n\n".join(parts)


def _table(one: Table) -> str:
    rows = [[escaped(cell(content)) for content in row] for row in one.rows]
    right = [i for i in range(len(one.columns)) if is_numeric(one.rows, i)]
    return table([escaped(column) for column in one.columns], rows, right)


def _environment(record: RunRecord) -> str:
    changed = {
        name: both
        for verdict in record.verdicts
        for name, both in verdict.changed_environment.items()
    }
    parts = []
    if changed:
        rows = [[escaped(n), escaped(a or "-"), escaped(b or "-")] for n, (a, b) in changed.items()]
        parts += ["### What changed around it", table(("", "baseline", "now"), rows)]
    facts = {**_hardware(record), **record.environment}
    if facts:
        rows = [[escaped(name), escaped(str(value))] for name, value in facts.items()]
        parts.append(folded("Environment", table(("", "now"), rows)))
    return "\n\n".join(parts)


def _hardware(record: RunRecord) -> dict[str, str]:
    devices = record.hardware.get("devices", ())
    key = {"hardware": str(record.hardware["key"])} if "key" in record.hardware else {}
    return key | {str(device["domain"]): str(device["name"]) for device in devices}


def _cost(record: RunRecord, footprint: Footprint) -> str:
    text = escaped(wording.cost(record, footprint))
    if record.wall_joules is not None:
        text += f"; at the wall about {record.wall_joules:,.0f} J"
    return f"{text[0].upper()}{text[1:]}."


def _marked(outcome: str, fails: bool) -> str:
    mark = _MARKS["fails"] if fails else _MARKS.get(outcome, "")
    return f"{mark} {outcome}".strip()
