"""`pytest-energy export`: each format against the shape that its reader publishes."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_energy.cli import main
from pytest_energy.metering import Window
from pytest_energy.results import RunRecord, VerdictRecord
from pytest_energy.results import json_codec as jsonfile
from pytest_energy.results.claims import ClaimRecord, EnergyClaim

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


def test_a_run_without_figures_has_nothing_to_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--format", "bencher", str(_written(tmp_path))]) == 4
    assert "holds no figure to export: nothing was metered" in capsys.readouterr().err
    assert main(["export", "--format", "bencher", str(_written(tmp_path, INVALID))]) == 4
    assert "to export: rte/bert-base-uncased (invalid);" in capsys.readouterr().err


def _claim() -> ClaimRecord:
    noted = EnergyClaim("Energy is proportional.", "test_c.py::test_scaling", "counter")
    noted.figure("r_squared", 0.998, at_least=0.99)
    noted.figure("slope", 0.005, "J/token", interval=(0.0049, 0.0052))
    noted.figure("spread", float("nan"), at_most=0.1)
    return noted.record


def _claimed(folder: Path) -> Path:
    path = folder / "run.json"
    jsonfile.write(path, RunRecord(HARDWARE, ENVIRONMENT, claims=(_claim(),)), None)
    return path


@pytest.mark.fault(
    "stores and documents",
    "a run has claims and no other figure",
    "exported; what has no figure is named",
)
def test_a_run_with_claims_alone_is_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmarks = _exported("bencher", _claimed(tmp_path))

    assert benchmarks == {
        "test_scaling/r_squared": {"claim": {"value": 0.998}},
        "test_scaling/slope": {
            "claim": {
                "value": 0.005,
                "lower_value": pytest.approx(0.0048),
                "upper_value": pytest.approx(0.0052),
            }
        },
    }
    said = capsys.readouterr().err
    assert "left out, without a figure: test_scaling/spread (fails)" in said


@pytest.mark.parametrize("form", ["bencher", "github-action-benchmark"])
def test_a_figure_that_is_not_testable_is_no_good_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    noted = EnergyClaim("Energy is proportional.", "test_c.py::test_scaling", "counter")
    noted.figure("joules", 1.0, "J", at_most=2.0, doubt="others used the CPU")
    noted.figure("slope", 0.005, "J/token")
    jsonfile.write(
        tmp_path / "run.json", RunRecord(HARDWARE, ENVIRONMENT, claims=(noted.record,)), None
    )

    found = _exported(form, tmp_path / "run.json")

    assert "test_scaling/slope" in str(found)
    assert "test_scaling/joules" not in str(found)
    said = capsys.readouterr().err
    assert "left out, without a figure: test_scaling/joules (not testable)" in said


def test_a_figure_that_is_better_the_larger_it_is_goes_to_no_tool_for_smaller_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (entry,) = _exported("github-action-benchmark", _claimed(tmp_path))

    assert (entry["name"], entry["unit"]) == ("test_scaling/slope claim [h200]", "J/token")
    assert "test_scaling/r_squared (larger is better)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "value", "wrong"),
    [
        (("hardware",), [], "`hardware` is a list, not a table"),
        (("hardware", "devices"), [{}], "`hardware.devices[0]` has no `domain`"),
        (("environment",), {"torch": 1}, "`environment.torch` is 1, not a text"),
        (("run", "joules"), -5, "`run.joules` is -5, but must be 0 or more"),
        (("run", "gco2e"), "x", "`gco2e` is 'x', not a number"),
        (("commit",), {}, "`commit` is a table, not a text"),
        (("claims",), 5, "`claims` is 5, not a list"),
        (("verdicts", 0, "value"), float("inf"), "`verdicts[0].value` is inf, but must be"),
        (("verdicts", 0, "value"), -0.5, "`sst2/bert-base-uncased` has -0.5 J, and only more"),
        (("verdicts", 0, "id"), None, "`verdicts[0].id` is null, not a text"),
        (("verdicts", 0, "windows", 1, "started"), 1e300, "started` is 1e+300, but must be from 0"),
        (("verdicts", 0, "windows", 1, "joules_by_domain"), {"gpu:0": -3}, "has -3 J, and only"),
        (
            ("claims",),
            [
                {
                    "claim": "c",
                    "nodeid": "",
                    "tables": [{"title": "t", "columns": ["a"], "rows": [[]]}],
                }
            ],
            "the table `t` has rows of other lengths than its columns",
        ),
        (("verdicts", 0, "windows", 0, "method"), "felt", "method` is 'felt', not one of counter"),
    ],
)
@pytest.mark.parametrize("command", [["export", "--format=bencher"], ["report"]])
def test_a_damaged_document_is_refused_with_its_place(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    path: tuple[str | int, ...],
    value: object,
    wrong: str,
    command: list[str],
) -> None:
    record = _written(tmp_path, GATED)
    whole = json.loads(record.read_text())
    holder = whole
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value
    record.write_text(json.dumps(whole))

    assert main([*command, str(record), "-o", str(tmp_path / "out")]) == 4

    said = capsys.readouterr().err
    assert f"pytest-energy: `{record}` is damaged: " in said
    assert wrong in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "`run.json` cannot be read: No such file or directory"),
        ("{", "`run.json` is not valid JSON"),
        ("", "`run.json` is empty; give a file that `--energy-json` wrote"),
        ("[" * 200_000, "`run.json` is not valid JSON: it is nested too deeply"),
        ("[1]", "`run.json` is no record of a run; give a file that `--energy-json` wrote"),
        ('{"schema": 99, "verdicts": []}', "`run.json` has schema 99, of a newer pytest-energy: "),
        ('{"schema": 1, "verdicts": [{}]}', "`run.json` is damaged: has no `hardware`;"),
    ],
)
def test_a_file_of_another_kind_is_bad_input(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("run.json").write_text(content)

    assert main(["export", "--format", "bencher", "run.json"]) == 4
    assert message in capsys.readouterr().err


def test_an_output_that_cannot_be_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = str(_written(tmp_path, GATED))

    assert main(["export", record, "--format", "bencher", "-o", f"{record}/x"]) == 4
    assert "run.json/x` cannot be written (" in capsys.readouterr().err
