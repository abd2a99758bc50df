"""The parts of a side: its command line, its place, its faults, what must agree."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from pytest_energy.ab.protocol import (
    Ready,
    RunFacts,
    SideFaultError,
    changed_settings,
    ending,
    is_memory,
    last_error,
    other_work,
)
from pytest_energy.ab.side_place import SidePlace, import_path, passed_on, side_arguments
from pytest_energy.baselines.store import BaselineStore
from pytest_energy.checks import Settings, TestSettings
from pytest_energy.checks.policy import MISSED, CheckContext
from pytest_energy.errors import EnergyError
from pytest_energy.metering.device_session import DeviceSession
from pytest_energy.meters import Meter
from pytest_energy.processes import tail_of
from pytest_energy.reports.terminal import pair_changes, side_by_side
from pytest_energy.results import ComparisonRecord, Side, VerdictRecord
from pytest_energy.results.json_codec import as_json, from_json
from pytest_energy.stats.sequential import ErrorBudget


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("benchmarks -k sst2 -x -vv", ""),
        ("-p no:benchmark -o xfail_strict=1 -W error -pother", "-p no:benchmark -o xfail_strict=1"
         " -W error -pother"),
        ("-n 4 -n2 --dist loadfile --maxfail=2 --lf --junitxml r.xml tests/test_a.py::test_b", ""),
        ("--energy-compare HEAD --energy-tokens=300 --energy-strict --energy-json out.json", ""),
        ("--device cuda:1 --size=large --import-mode=importlib", "--device cuda:1 --size=large"
         " --import-mode=importlib"),
        ("--cov=mine --cov-report=html --no-cov --html r.html", ""),
    ],
)  # fmt: skip
def test_what_of_a_command_line_a_side_is_given(given: str, kept: str) -> None:
    files = ["benchmarks", "tests/test_a.py::test_b"]
    with_value = {"--energy-compare", "--energy-json"}
    assert passed_on(given.split(), [f for f in files if f in given], with_value) == kept.split()


def test_a_sides_command_line_stores_nothing(tmp_path: Path) -> None:
    reset = ["--energy-json=", "--energy-update="]
    ini = tmp_path / "pytest.ini"
    found = side_arguments("t.py::test[a b]", tmp_path, ini, ["-s"], "hub", None, reset)

    assert found[-1] == "t.py::test[a b]"
    assert {"--energy-json=", "--energy-update="} < {*found}
    assert "--energy-data=hub" in found
    assert found[found.index("-c") + 1] == str(tmp_path / "pytest.ini")
    assert found[-5:-1] == ["-m", "", "-k", ""]  # an ini file's own would deselect the test
    bare = side_arguments("t.py", tmp_path, None, [], "hub", tmp_path / "models", reset)
    assert "-c" not in bare
    assert f"--energy-models={tmp_path / 'models'}" in bare


def test_a_tree_comes_first_and_the_other_one_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, other = tmp_path / "mine", tmp_path / "tree"
    for folder in ("package/src", "package/tests", "lib", "venv/lib/site-packages"):
        (top / folder).mkdir(parents=True)
        (other / folder).mkdir(parents=True)
    installed = str(top / "venv/lib/site-packages")
    monkeypatch.setattr(sys, "path", [str(top / "lib"), installed, "/usr/lib/python3"])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(top / "lib"), "/elsewhere"]))

    path = import_path(top / "package", top, other)
    place = SidePlace("base", "HEAD", "python", other, other / "package", path, ignored=top)

    assert path == tuple(str(other / each) for each in ("package", "package/src", "lib"))
    assert place.variables("counter")["PYTHONPATH"] == os.pathsep.join([*path, "/elsewhere"])
    quiet = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_MAX_": "0"}
    for name in quiet:
        monkeypatch.delenv(name, raising=False)
    assert not quiet.keys() & place.variables("counter").keys()
    assert quiet.items() <= place.variables("modelled").items()
    for name in quiet:
        monkeypatch.setenv(name, "4")
    assert dict.fromkeys(quiet, "4").items() <= place.variables("modelled").items()
    ini, elsewhere = top / "package" / "pytest.ini", tmp_path / "pytest.ini"
    elsewhere.touch()
    assert place.own(ini) is None
    (other / "package" / "pytest.ini").touch()
    assert place.own(ini) == other / "package" / "pytest.ini"
    assert place.own(elsewhere) == elsewhere


def test_faults_are_named(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.write_text("".join(f"line {n}\n" for n in range(100)) + "E   ValueError: 3\nend\n")
    place = SidePlace("base", "HEAD", "python", tmp_path, tmp_path, ())
    fault = SideFaultError(place, "died", "code 7", tail_of(output))

    assert str(fault) == "the base (`HEAD`) died: code 7"
    assert fault.tail.startswith("line 77\n")
    assert last_error(fault.tail) == "ValueError: 3"
    assert tail_of(tmp_path / "missing") == ""
    assert last_error("all well") is None
    assert ending(3) == ("died", "its process ended with code 3")
    assert ending(-11)[1] == "its process was ended by SIGSEGV"
    assert ending(-9) == (
        "memory", "its process was killed (SIGKILL), as the kernel does to free memory"
    )  # fmt: skip
    assert ending(-35)[1] == "its process was ended by signal 35"  # one without a name


def test_memory_is_recognised_behind_other_errors() -> None:
    error = EnergyError("does not fit")
    error.__cause__ = MemoryError()
    assert is_memory(error)
    assert is_memory(type("OutOfMemoryError", (RuntimeError,), {})())
    assert not is_memory(ValueError("memory"))
    assert not is_memory(None)


def facts(identifier: str = "sst2/tiny", digest: str | None = "a", **fields: Any) -> RunFacts:
    return RunFacts(identifier, digest, 2.0, 1000, None, fields)


def test_another_task_model_or_data_is_refused() -> None:
    same = facts(task="sst2", model="tiny", padding="dynamic", seed=0)
    assert other_work(same, facts(task="sst2", model="tiny", padding="fixed", seed=0)) is None
    assert other_work(same, facts()) is None  # a run of the user's own says no more
    assert "`rte/tiny`" in (other_work(same, facts("rte/tiny")) or "")
    reason = other_work(same, facts(task="sst2", model="tiny", seed=1)) or ""
    assert "`seed` of `sst2/tiny` is 0 in the base and 1" in reason


def test_changed_settings_are_named() -> None:
    old = facts(padding="dynamic", batch_size=32, precision="bf16")
    new = facts(digest="b", padding="fixed", batch_size=16, precision="bf16")
    assert changed_settings(old, new) == (
        {"padding": "dynamic", "batch_size": "32"},
        {"padding": "fixed", "batch_size": "16"},
    )
    assert changed_settings(facts(), facts(digest="b")) == ({"workload": "a"}, {"workload": "b"})
    assert changed_settings(facts(), facts()) == ({}, {})


def test_a_run_says_what_it_is() -> None:
    class Run:
        id, digest, padding_overhead = "mine", None, 1.5
        tokens, parameters = 100, (1, 2)

        def window(self) -> Any:
            raise AssertionError

    ready = Ready(0, "joules_per_token", None, (RunFacts.of(Run()),), {"torch": "2.13.0"})
    assert ready.runs[0] == RunFacts("mine", None, 1.5, 100, (1, 2), {})
    assert from_json(Ready, json.loads(json.dumps(as_json(ready)))) == ready


@pytest.mark.parametrize(("settle", "stages"), [(None, 1), ("auto", 2)])
def test_both_stages_have_half_of_the_error_budget(
    tmp_path: Path, settle: str | None, stages: int
) -> None:
    device = DeviceSession.over(cast("Meter", Idle()))
    settings = Settings(root=tmp_path, baselines=tmp_path, settle=settle, tokens=1)
    context = CheckContext(
        test="node",
        asked=TestSettings(),
        settings=settings,
        hardware=device.hardware,
        method="counter",
        store=BaselineStore(device, tmp_path, tmp_path),
        error_budget=ErrorBudget(5),
        on_window=lambda *_: None,
        on_output=lambda *_: None,
    )

    assert context.alpha() == ErrorBudget(5).take("node") / stages
    assert context.beta == MISSED / stages


class Idle:
    """A meter of a CPU, that is never read."""

    name, method = "idle", "counter"
    devices = ()


COMPARISON = ComparisonRecord(
    reference="main (3f2a1b9)",
    kind="revision",
    base=Side("base", "main (3f2a1b9)", 0.005, 500.0, 100_000.0, 3.0, {"torch": "2.13.0"}),
    head=Side("head", "working tree", 0.0053, 530.0, 100_000.0, None, {"torch": "2.13.0"}),
    pairs=tuple((0.005, 0.005 * (1 + change / 100)) for change in range(15)),
    within_pair_drift=0.003,
    settles=True,
    notes=("the sides took turns",),
)


def test_both_sides_are_shown_beside_each_other() -> None:
    record = VerdictRecord("sst2/bert", "joules_per_token", comparison=COMPARISON)
    lines = side_by_side(record, COMPARISON)

    assert lines[0] == "sst2/bert settled against main (3f2a1b9), 15 pairs, second of a pair +0.3 %"
    assert lines[1].split("  ")[1:4] == ["base", "5.000 mJ/token", "500.0 W"]
    assert lines[2].endswith("working tree")
    assert lines[3].startswith("  pairs +0.0 +1.0 +2.0 ")
    assert lines[3].endswith(" % and 3 more")
    assert lines[4] == "  the sides took turns"
    assert pair_changes(COMPARISON).count("+") == 12


def test_a_comparison_survives_json() -> None:
    record = VerdictRecord("sst2/bert", "joules_per_token", comparison=COMPARISON)
    text = json.dumps(as_json(record))
    assert from_json(VerdictRecord, cast("dict[str, Any]", json.loads(text))) == record
