"""`pytest-energy drift`: what it prints, its JSON and its exit codes."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path

import pytest

from planted import ENVIRONMENT, Day, changed, days, records
from pytest_energy.cli import main
from pytest_energy.history import DriftReport, Series, SeriesDrift, State
from pytest_energy.history.store import LocalStore
from pytest_energy.reports.drift import as_badge


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty history folder, below the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "past"


def _keep(folder: Path, planted: list[Day]) -> None:
    store = LocalStore(folder)
    for record in records(planted):
        store.create(record.name, record.text.encode())


def test_drift_is_told_with_its_date_commit_and_reason(
    past: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = {**ENVIRONMENT, "driver": "590.2"}
    _keep(past, changed(days(120), 70, 1.03, environment=newer))

    assert main(["drift", "--history", "past", "--json", "out/drift.json"]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "h200  sst2/bert  joules_per_token  GPU-a"
    assert lines[1].startswith("  DRIFT, now 5.146 mJ/token; 120 sessions from 2026-01-01")
    assert lines[2].startswith("  +2.9 %  2026-03-12 (0000000000..0000000000): 5.001 mJ/token")
    assert "tokens/s (throughput); driver 580.1 -> 590.2." in lines[3]
    assert lines[4].startswith("  baseline stale: ")
    assert lines[5] == "drift in 1 of 1 series"
    assert lines[6].startswith("next: pytest --energy-hw=h200 --energy-update=replace")
    (series,) = json.loads(Path("out/drift.json").read_text())["series"]
    assert (series["state"], series["sessions"]) == ("drift", 120)
    assert series["change_points"][0]["index"] == 70
    assert series["change_points"][0]["commit"] == f"{70:040x}"


def test_no_drift(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _keep(past, days(60))
    (past / "README").write_text("what is here")

    assert main(["drift", "--history", "past"]) == 0

    text = capsys.readouterr().out
    assert "  steady, now 5." in text
    assert "warning: `README`: neither a record nor a Parquet file; skipped" in text
    assert text.endswith("no drift in 1 series\n")


def test_a_ramp_is_told_as_one(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted = days(200)
    for day in range(60, 200):
        planted = changed(planted, day, 1 + 0.0003 * (day - 60), end=day + 1)
    _keep(past, planted)

    assert main(["drift", "--history", "past"]) == 1
    assert "%  slowly from 2026-0" in capsys.readouterr().out


def test_too_few_sessions(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _keep(past, days(7))

    assert main(["drift", "--history", "past"]) == 2
    assert "can't say: too few sessions; at least 13 more are needed" in capsys.readouterr().out


def test_no_session_of_what_is_asked(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _keep(past, days(30))

    assert main(["drift", "--history", "past", "--hw", "a100"]) == 2
    assert capsys.readouterr().out.endswith("can't say: no sessions\n")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pytest.ini", "[pytest]\nenergy_history = past\n"),
        ("pyproject.toml", "[tool.pytest.ini_options]\nenergy_history = 'past'\n"),
        pytest.param(
            *("pyproject.toml", "[tool.pytest]\nenergy_history = 'past'\n"),
            marks=pytest.mark.skipif(pytest.version_tuple < (9,), reason="a table of pytest 9"),
        ),
        ("setup.cfg", "[tool:pytest]\nenergy_history = past\n"),
    ],
)
def test_the_configuration_names_the_history(past: Path, name: str, text: str) -> None:
    _keep(past, days(60))
    (past.parent / name).write_text(text)

    assert main(["drift"]) == 0


def test_a_path_counts_from_the_configuration_that_names_it(
    past: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _keep(past, days(60))
    (past.parent / "pytest.ini").write_text("[pytest]\nenergy_history = past\n")
    (past.parent / "below").mkdir()
    monkeypatch.chdir(past.parent / "below")

    assert main(["drift"]) == 0


def test_nothing_else_of_the_configuration_matters_or_runs(
    past: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _keep(past, days(60))
    (past.parent / "pytest.ini").write_text(
        "[pytest]\nenergy_history = past\naddopts = --nonsense -x\nunknown = 1\n"
        "filterwarnings = error\n"
    )
    (past.parent / "conftest.py").write_text("raise RuntimeError('imported')\n")
    (past.parent / "test_it.py").write_text("raise RuntimeError('imported')\n")

    assert main(["drift"]) == 0

    out, err = capsys.readouterr()
    assert out.startswith("h200  sst2/bert")
    assert err == ""


def test_a_broken_configuration_is_bad_input(
    past: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (past.parent / "pytest.ini").write_text("[pytest\nenergy_history = past\n")

    assert main(["drift"]) == 4

    message = capsys.readouterr().err
    assert message.startswith("pytest-energy: `energy_history` cannot be read from the pytest conf")
    assert "pytest.ini:1: " in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no history is named: give its URL, or set `energy_history`"),
        (["--history", "nowhere"], "`nowhere` is no folder"),
        (["--history", "past", "--since", "soon"], "`--since=soon` is no date"),
        (["--history", "past", "--baselines", "none"], "`--baselines=none` is no folder"),
        (["past", "--json", "past"], "`--json`: `past` cannot be written"),
    ],
)
def test_bad_input(
    past: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    past.mkdir()

    assert main(["drift", *arguments]) == 4
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["drift", "past", "--hw=h20"], "`--hw=h20`: no session is of it; * of `h200`"),
        (["drift", "past", "--branch=x"], "`--branch=x`: no session is of it; * of `main`"),
        (["history", "list", "--history=past", "--hw=h20"], "`--hw=h20`: no session is of it;*"),
    ],
)
def test_what_there_is_instead_is_named(
    past: Path, command: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _keep(past, days(3))

    assert main(command) == (2 if command[0] == "drift" else 0)
    assert fnmatch("".join(capsys.readouterr()), f"*warning: {message}*")


def test_an_empty_history_may_be_another_one(
    past: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    past.mkdir()

    assert main(["drift", "past"]) == 2
    assert "warning: `past` holds no session with figures; is it" in capsys.readouterr().out


def test_an_unknown_protocol_is_bad_input(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("fsspec")

    assert main(["drift", "--history", "nonsense://x"]) == 4
    assert "`nonsense://x` cannot be opened: Protocol not known" in capsys.readouterr().err


def test_a_broken_baseline_is_bad_input(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _keep(past, days(30))
    Path("baselines").mkdir()
    Path("baselines/h200.toml").write_text("schema = 7\n")

    assert main(["drift", "--history", "past"]) == 4
    assert "`schema` in `baselines/h200.toml`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("states", "message", "colour"),
    [
        (("drift", "steady", "too few"), "1 of 2 figures drift", "red"),
        (("steady", "returned"), "steady", "brightgreen"),
        (("too few",), "too few sessions", "lightgrey"),
        ((), "too few sessions", "lightgrey"),
    ],
)
def test_a_badge(states: tuple[State, ...], message: str, colour: str) -> None:
    series = Series("h200", "joules_per_token", "a/b", "J/token", ())
    report = DriftReport(tuple(SeriesDrift(series, state) for state in states))

    badge = as_badge(report)

    assert (badge["schemaVersion"], badge["label"]) == (1, "energy")
    assert (badge["message"], badge["color"]) == (message, colour)
