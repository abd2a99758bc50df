"""`pytest-energy export`: each format against the shape that its reader publishes."""

from __future__ import annotations

import json
import math
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_energy.cli import main
from pytest_energy.metering import Window
from pytest_energy.results import RunRecord, VerdictRecord
from pytest_energy.results import json_codec as jsonfile

JOULES = (5.0, 5.1, 4.9, 5.0)
WINDOWS = tuple(
    Window("w", "counter", {"gpu:0": joules}, 2.0, 0.01, 1.7e9 + n, tokens=1000, real_tokens=400)
    for n, joules in enumerate(JOULES)
)
GATED = VerdictRecord(
    id="sst2/bert-base-uncased",
    metric="joules_per_token",
    nodeid="test_a.py::test_sst2",
    outcome="within",
    value=0.005,
    uncertainty=0.00004,
    baseline=0.0051,
    method="counter",
    workload="3f9a1c20",
    windows=WINDOWS,
)
SAVINGS = replace(
    GATED, id="sst2", metric="savings", unit="fraction", value=0.51, uncertainty=0.004, baseline=0.5
)
INVALID = replace(GATED, id="rte/bert-base-uncased", outcome="invalid", value=None)
MEASURED = replace(
    GATED,
    id="test_mine/train",
    metric="joules",
    unit="J",
    outcome="measured",
    value=5.0,
    baseline=None,
    workload=None,
    windows=WINDOWS[:1],
)
HARDWARE = {"key": "h200", "devices": [{"domain": "gpu:0", "name": "NVIDIA H200"}]}
ENVIRONMENT = {"python": "3.11.7", "os": "Linux 6.8", "torch": "2.13.0"}


def _written(folder: Path, *verdicts: VerdictRecord) -> Path:
    path = folder / "run.json"
    jsonfile.write(path, RunRecord(HARDWARE, ENVIRONMENT, verdicts), None)
    return path


def _exported(form: str, record: Path) -> Any:
    output = record.with_name("exported.json")
    assert main(["export", "--format", form, str(record), "-o", str(output)]) == 0
    return json.loads(output.read_text())


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def test_github_action_benchmark_takes_it(tmp_path: Path) -> None:
    entries = _exported("github-action-benchmark", _written(tmp_path, GATED, SAVINGS, MEASURED))

    for entry in entries:
        assert (
            {"name", "unit", "value"} <= entry.keys() <= {"name", "unit", "value", "range", "extra"}
        )
        assert _is_number(entry["value"])
        assert all(isinstance(text, str) for name, text in entry.items() if name != "value")
        shown = re.search(r"(\+-|±)\s*(\d.*)", entry["range"])  # its reader's own pattern
        assert shown is not None
        assert float(shown[2]) > 0
    assert len({entry["name"] for entry in entries}) == 3
    assert entries[0]["name"] == "sst2/bert-base-uncased joules_per_token [h200]"
    assert (entries[0]["value"], entries[0]["unit"]) == (0.005, "J/token")
    assert "verdict: within\nbaseline: 0.0051" in entries[0]["extra"]
    # Savings are better the larger they are, which a tool for smaller figures would take for worse.
    assert entries[1]["value"] == pytest.approx(0.49)
    assert "left" in entries[1]["unit"]


def test_bencher_takes_it(tmp_path: Path) -> None:
    benchmarks = _exported("bencher", _written(tmp_path, GATED, SAVINGS, MEASURED))

    for name, measures in benchmarks.items():
        assert 0 < len(name) <= 1024
        for measure, metric in measures.items():
            assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", measure)
            assert len(measure) <= 64
            assert set(metric) == {"value", "lower_value", "upper_value"}
            assert all(_is_number(number) for number in metric.values())
            assert metric["lower_value"] < metric["value"] < metric["upper_value"]
    assert benchmarks["sst2"]["savings"]["value"] == 0.51
    assert benchmarks["sst2/bert-base-uncased"]["joules-per-token"]["value"] == 0.005


@pytest.mark.parametrize("form", ["github-action-benchmark", "bencher"])
def test_modelled_joules_are_never_shown_as_measured(tmp_path: Path, form: str) -> None:
    text = json.dumps(_exported(form, _written(tmp_path, replace(GATED, method="modelled"))))

    assert text.count("modelled") >= 1
    assert '"J/token"' not in text
    assert '"joules-per-token"' not in text


def test_figures_of_one_name_stay_apart(tmp_path: Path) -> None:
    elsewhere = replace(MEASURED, nodeid="test_b.py::test_mine", value=6.0)
    record = _written(tmp_path, MEASURED, replace(MEASURED, value=7.0), elsewhere)

    benchmarks = _exported("bencher", record)

    values = {name: measures["joules"]["value"] for name, measures in benchmarks.items()}
    assert values == {
        "test_mine/train (test_a.py::test_sst2)": 5.0,
        "test_mine/train (test_a.py::test_sst2) (2)": 7.0,
        "test_mine/train (test_b.py::test_mine)": 6.0,
    }


def test_what_has_no_figure_is_named_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = _written(tmp_path, GATED, INVALID)

    assert main(["export", "--format", "bencher", str(record)]) == 0

    printed = capsys.readouterr()
    assert list(json.loads(printed.out)) == ["sst2/bert-base-uncased"]
    assert "left out, without a figure: rte/bert-base-uncased (invalid)" in printed.err


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two commits, as the working directory."""
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    for message in ("one", "two"):
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", message], check=True)
    return tmp_path


def _hash(revision: str) -> str:
    command = ["git", "rev-parse", revision]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _asv(record: Path, *options: str) -> None:
    assert main(["export", "--format", "asv", str(record), "-o", "results", *options]) == 0


def test_asv_reads_the_results_folder(repository: Path) -> None:
    _asv(_written(repository, GATED, SAVINGS))

    results = repository / "results"
    machine = json.loads((results / "h200" / "machine.json").read_text())
    assert {"machine", "os", "arch", "cpu", "num_cpu", "ram"} < machine.keys()
    assert (machine["version"], machine["machine"]) == (1, "h200")
    head = _hash("HEAD")
    stored = json.loads((results / "h200" / f"{head[:8]}-pytest-energy.json").read_text())
    assert stored["version"] == 2
    assert (stored["commit_hash"], stored["params"]["machine"]) == (head, "h200")
    assert stored["date"] > 1e12  # milliseconds
    assert {"requirements", "env_vars", "env_name", "python", "durations"} < stored.keys()
    known = {"result", "params", "version", "started_at", "duration", "samples", "profile"}
    stats = {f"stats_{name}" for name in ("ci_99_a", "ci_99_b", "q_25", "q_75", "number", "repeat")}
    assert set(stored["result_columns"]) <= known | stats
    benchmarks = json.loads((results / "benchmarks.json").read_text())
    assert benchmarks.pop("version") == 2
    assert benchmarks.keys() == stored["results"].keys()
    for name, benchmark in benchmarks.items():
        row = dict(zip(stored["result_columns"], stored["results"][name], strict=False))
        assert (benchmark["name"], benchmark["type"]) == (name, "track")
        assert benchmark["params"] == benchmark["param_names"] == row["params"] == []
        assert benchmark["version"] == row["version"]
        assert len(row["result"]) == 1
        assert _is_number(row["result"][0])
    gated = stored["results"]["sst2.bert-base-uncased.joules_per_token"]
    row = dict(zip(stored["result_columns"], gated, strict=True))
    assert row["result"] == [0.005]
    assert row["samples"] == [[joules / 1000 for joules in JOULES]]
    (low,), (high,) = row["stats_ci_99_a"], row["stats_ci_99_b"]
    assert high - low == pytest.approx(2 * 0.00004 * 2.5758 / 1.96, rel=1e-3)
    assert low < row["stats_q_25"][0] < row["stats_q_75"][0] < high
    assert (row["stats_number"], row["stats_repeat"]) == ([1], [4])
    assert stored["results"]["sst2.joules_left"][0] == [pytest.approx(0.49)]


def test_asv_keeps_what_other_runs_exported(repository: Path) -> None:
    _asv(_written(repository, GATED), "--commit", "HEAD~1")
    _asv(_written(repository, SAVINGS))
    _asv(_written(repository, MEASURED))

    results = repository / "results"
    benchmarks = json.loads((results / "benchmarks.json").read_text())
    stored = {
        path.name[:8]: sorted(json.loads(path.read_text())["results"])
        for path in (results / "h200").glob("*-pytest-energy.json")
    }
    assert sorted(benchmarks) == [
        "sst2.bert-base-uncased.joules_per_token",
        "sst2.joules_left",
        "test_mine.train.joules",
        "version",
    ]
    assert stored == {
        _hash("HEAD~1")[:8]: ["sst2.bert-base-uncased.joules_per_token"],
        _hash("HEAD")[:8]: ["sst2.joules_left", "test_mine.train.joules"],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "`run.json` cannot be read (No such file or directory)"),
        ("{", "`run.json` is not JSON"),
        ("[1]", "`run.json` is no document of `--energy-json`"),
        ('{"schema": 99, "verdicts": [], "hardware": {}, "environment": {}}', "but 99"),
        ('{"schema": 1, "verdicts": [], "hardware": {}, "environment": {}}', "nothing was metered"),
        ('{"schema": 1, "verdicts": [{}], "hardware": {}, "environment": {}}', "is not whole"),
    ],
)
def test_a_file_of_another_kind_is_bad_input(
    repository: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    if content is not None:
        (repository / "run.json").write_text(content)

    assert main(["export", "--format", "bencher", "run.json"]) == 4
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "asv"], "give `-o` the `results_dir`"),
        (["--format", "asv", "-o", "run.json"], "is a file; give a folder"),
        (["--format", "asv", "-o", "x", "--commit", "nowhere"], "`--commit nowhere` is no commit"),
        (["--format", "bencher", "-o", "run.json/x"], "cannot be written"),
    ],
)
def test_outputs_that_cannot_be(
    repository: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    _written(repository, GATED)

    assert main(["export", "run.json", *options]) == 4
    assert message in capsys.readouterr().err


def test_a_foreign_file_in_asvs_place_is_kept(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _written(repository, GATED)
    (repository / "results").mkdir()
    (repository / "results" / "benchmarks.json").write_text("[1, 2]")

    assert main(["export", "--format", "asv", "run.json", "-o", "results"]) == 4
    assert "benchmarks.json` is there and is no file of asv's" in capsys.readouterr().err
    assert (repository / "results" / "benchmarks.json").read_text() == "[1, 2]"
