"""`pytest-energy report`: a page of documents and histories, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_energy.cli import USAGE_ERROR, main
from pytest_energy.history.record import RunningSession
from pytest_energy.results import Origin
from pytest_energy.results.json_codec import ReportedRun, as_document, read_document
from report_support import LEVEL, full_run, gated, run

pytest.importorskip("plotly")
pytest.importorskip("jinja2")

ORIGIN = Origin("4f2a9c1d7e", "main", False, "host", "runner")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)


def document(reported: ReportedRun) -> dict[str, Any]:
    """The document of a run, as a file gives it back."""
    whole: dict[str, Any] = json.loads(json.dumps(as_document(reported.record, None)))
    return whole


def written(name: str, reported: ReportedRun) -> Path:
    """A file of `--energy-json`."""
    path = Path(name)
    path.write_text(json.dumps(document(reported)))
    return path


def kept(count: int) -> str:
    """A history of so many sessions."""
    for number in range(count):
        session = RunningSession("history", ORIGIN, Path("spare"))
        session.append(document(run(gated(f"sst2/{number}"))))
    return "history"


def test_a_document_becomes_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    written("run.json", full_run())

    assert main(["report", "run.json", "-o", "out/page.html"]) == 0

    assert capsys.readouterr().out == (
        "wrote out/page.html: 1 of 3 verdicts fails, 1 regression shown only, "
        "1 of 1 claims fails, 1 window metered\n"
    )
    text = Path("out/page.html").read_text(encoding="utf-8")
    assert "<span>run.json</span>" in text
    assert "Over time" not in text


def test_a_document_gives_all_of_the_run_back() -> None:
    original = full_run().record
    path = written("run.json", full_run())

    found = read_document(path).record

    # NaN in a claim's plot is not equal to itself.
    assert repr(found.claims) == repr(original.claims)
    assert found.verdicts == original.verdicts
    assert found.cost == original.cost


def test_several_documents_share_a_page() -> None:
    written("a.json", run(gated("sst2/on-a")))
    written("b.json", run(gated("sst2/on-b")))

    assert main(["report", "a.json", "b.json"]) == 0

    text = Path("report.html").read_text(encoding="utf-8")
    assert text.count("<h1") == 2
    assert "sst2/on-a" in text
    assert "sst2/on-b" in text


def test_a_history_shows_its_newest_run_and_its_series(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--history", kept(3)]) == 0

    assert capsys.readouterr().out == "wrote report.html: no failure in 1 verdict\n"
    text = Path("report.html").read_text(encoding="utf-8")
    assert "Over time" in text
    assert '<a href="#r0-v0">sst2/2</a>' in text
    assert "4f2a9c1d7e" in text
    assert text.count("19 more sessions are needed") >= 3


def test_documents_and_a_history_go_together() -> None:
    written("run.json", run(gated("mine")))

    assert main(["report", "run.json", "--history", kept(1)]) == 0

    text = Path("report.html").read_text(encoding="utf-8")
    assert '<a href="#r0-v0">mine</a>' in text
    assert "Over time" in text


def test_a_newest_record_that_cannot_be_shown_is_passed_over() -> None:
    kept(2)
    newest = max(Path("history").rglob("*.json"), key=lambda path: path.name)
    newest.write_text(newest.read_text().replace('"verdict":', '"outcome":'))

    assert main(["report", "--history", "history"]) == 0

    assert '<a href="#r0-v0">sst2/0</a>' in Path("report.html").read_text(encoding="utf-8")


def test_the_configured_history_is_taken_where_nothing_is_named() -> None:
    kept(1)
    Path("pytest.ini").write_text("[pytest]\nenergy_history = history\n")

    assert main(["report"]) == 0

    assert "Over time" in Path("report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "`x.json` cannot be read: No such file or directory; give a file that"),
        ("{", "`x.json` is not valid JSON: "),
        ("[1]", "`x.json` is no record of a run; give a file that `--energy-json` wrote"),
        ('{"schema": 9, "verdicts": []}', "`x.json` has schema 9, of a newer pytest-energy: "),
        ('{"schema": 1, "verdicts": [{}]}', "`x.json` is damaged: has no `hardware`;"),
    ],
)
def test_what_is_no_document_is_refused_by_name(
    content: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        Path("x.json").write_text(content)

    assert main(["report", "x.json"]) == USAGE_ERROR

    assert message in capsys.readouterr().err
    assert not Path("report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no history is named: give a RECORD.json of `--energy-json` or `--history=URL`"),
        (("--history=nowhere",), "`nowhere` is no folder"),
        (("--history=.", "--baselines=nowhere"), "`--baselines=nowhere` is no folder"),
        (("--history=.", "-o", "."), "`--output`: `.` cannot be written"),
    ],
)
def test_what_is_asked_in_vain_is_named(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", *arguments]) == USAGE_ERROR

    assert message in capsys.readouterr().err


def test_missing_libraries_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "jinja2", None)

    assert main(["report", "x.json"]) == USAGE_ERROR

    assert "needs jinja2 and plotly, which are not installed: `pip install" in (
        capsys.readouterr().err
    )


def test_the_baselines_folder_gives_the_band() -> None:
    kept(1)
    Path("baselines").mkdir()
    Path("baselines/h200.toml").write_text(
        'schema = 1\n[hardware]\nkey = "h200"\nmatch = ["NVIDIA H200*"]\n'
        "tokens_per_window = 100000\n"
        '[joules_per_token."sst2/0"]\ntolerance = 0.02\ndetect = 0.05\nsessions = [\n'
        f"  {{ date = 2026-01-01T00:00:00Z, windows = 10, mean = {2 * LEVEL}, cv = 0.003 }},\n]\n"
    )

    assert main(["report", "--history", "history"]) == 0

    assert '"y0":10.0,"y1":10.0' in Path("report.html").read_text(encoding="utf-8")
