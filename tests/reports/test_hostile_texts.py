"""A hostile text in every field of a run and of a history, through every report."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from hostile import HOSTILE, STARTS, faults, poisoned
from pytest_energy.cli.export import FORMATS
from pytest_energy.history import DriftReport
from pytest_energy.reports import annotated, drift, markdown, terminal, workflow_commands
from pytest_energy.results import RunRecord, json_codec
from report_support import drift as drift_report
from report_support import full_run

TEXTS = pytest.mark.parametrize("text", [HOSTILE, STARTS, "[red]::"], ids=("all", "starts", "ends"))


def hostile_run(text: str) -> RunRecord:
    record: RunRecord = poisoned(full_run().record, text)
    device = {"domain": text, "name": text, "uuid": text, "power_limit_watts": 700}
    return replace(record, hardware={"key": text, "devices": [device]}, disturbance=text)


@TEXTS
def test_the_terminal(text: str) -> None:
    shown = terminal.render(
        hostile_run(text),
        region=None,
        colour=False,
        verbose=True,
        written=[(Path(f"/x/{text}.toml"), f"--- a\n+++ b\n+{text}")],
        arguments=[text, f"--energy-wall=http://user:hush@{text}"],
    )

    assert not faults(shown)
    assert "hush" not in shown
    if text == HOSTILE:
        assert "[red]b[/red]" in shown  # shown, not obeyed


@pytest.mark.attack(
    "text",
    "an option's value ends the command that is offered for pasting, and begins another one",
    "quoted for the shell",
)
def test_the_next_command_is_one_that_can_be_pasted() -> None:
    record = hostile_run("h200; touch PWNED $(x)")
    missing = replace(record.verdicts[0], outcome="missing", comparison=None)

    shown = terminal.render(
        replace(record, verdicts=(missing,)),
        region=None,
        colour=False,
        verbose=False,
        arguments=["a b", "-k", "x; touch PWNED"],
    )

    (line,) = [line for line in shown.splitlines() if line.startswith("next: ")]
    assert shlex.split(line.removeprefix("next: ").partition("   #")[0]) == [
        *("pytest", "a b", "-k", "x; touch PWNED", "--energy-hw=h200; touch PWNED $(x)"),
        "--energy-update=new",
    ]


@TEXTS
def test_markdown(text: str) -> None:
    run = full_run()
    shown = markdown.render(hostile_run(text), run.footprint)

    assert not faults(shown)
    assert "<script" not in shown


@TEXTS
def test_annotations(text: str) -> None:
    found = workflow_commands(annotated(hostile_run(text)), Path("/repo"), {})

    assert found
    assert not faults("\n".join(found))
    assert all(line.startswith(("::error ", "::warning ")) for line in found)


@TEXTS
def test_the_page(text: str) -> None:
    pytest.importorskip("plotly")
    from pytest_energy.reports.html import render

    run = replace(full_run(), record=hostile_run(text), source=text)
    page = render([run], replace(poisoned_drift(text), warnings=(text,)))

    body = page.partition("<body>")[2].partition('<script type="application/json"')[0]
    assert not faults(body)
    assert "<script" not in body
    data = page.partition('id="charts">')[2].partition("</script>")[0]
    json.loads(data)
    page.encode("utf-8")


@TEXTS
def test_json_and_what_is_exported_of_it(text: str, tmp_path: Path) -> None:
    record = hostile_run(text)
    path = tmp_path / "run.json"

    json_codec.write(path, record, None)

    found = json.loads(path.read_text(encoding="utf-8"))
    json.dumps(found, ensure_ascii=False).encode("utf-8")  # no half characters
    again = json_codec.read_document(path).record
    for form in FORMATS.values():
        json.dumps(form(again, again.verdicts), ensure_ascii=False).encode("utf-8")


def poisoned_drift(text: str) -> DriftReport:
    report = drift_report()
    series = tuple(
        replace(
            one,
            series=replace(
                one.series,
                hardware=text,
                id=text,
                points=tuple(
                    replace(point, commit=text, device=text) for point in one.series.points
                ),
            ),
            change_points=tuple(
                replace(change, commit=text, last_good=text, reason=text)
                for change in one.change_points
            ),
        )
        for one in report.series
    )
    return replace(report, series=series, warnings=(text, f"`http://u:hush@h/{text}`: skipped"))


@TEXTS
def test_drift(text: str) -> None:
    report = poisoned_drift(text)

    shown = drift.as_text(report)
    assert not faults(shown)
    assert "hush" not in shown + json.dumps(drift.as_document(report))
    if text == HOSTILE:
        (line,) = [line for line in shown.splitlines() if line.startswith("next: ")]
        command = line.partition("   #")[0]
        assert shlex.split(command)[2].startswith("--energy-hw=a\\n")
        assert shlex.split(command)[3:] == ["--energy-update=replace"]
