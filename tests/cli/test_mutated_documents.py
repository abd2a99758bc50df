"""Every command on documents with faults: each ends in an answer, or in a sentence and code 4."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hypothesis", reason="hypothesis is of the extra `dev`")

from hypothesis import given
from hypothesis import strategies as st

from document_mutations import TOML, VALUES, as_text, cut, fuzzed, mutated, with_raw
from planted import days, document, records
from pytest_energy.baselines import pooled_of, session_stats, sessions_of
from pytest_energy.baselines.reading import known_hardware, read
from pytest_energy.checks import TestSettings
from pytest_energy.checks.policy import levels as levels_of
from pytest_energy.cli import main
from pytest_energy.errors import EnergyError
from pytest_energy.gate.gates import SequentialGate
from pytest_energy.gate.sentences import gap_warning
from pytest_energy.history.store import LocalStore
from pytest_energy.results.json_codec import as_document
from report_support import full_run, gated

FOLDER = Path("mutated")
_WHOLE = full_run().record
_SAVINGS = replace(
    gated("sst2"), metric="savings", unit="fraction", value=0.5, baseline=0.49, uncertainty=0.01
)
RUN: dict[str, Any] = json.loads(
    json.dumps(as_document(replace(_WHOLE, verdicts=(*_WHOLE.verdicts, _SAVINGS)), None))
)
BASELINE: dict[str, Any] = {
    "schema": 1,
    "hardware": {"key": "h200", "match": ["NVIDIA H200*"], "tokens_per_window": 250_000},
    "claims": {
        "savings": {"source": "paper", "counter": [0.4, 0.6]},
        "joules_per_token": {"source": "paper", "*/bert": {"low": 0.1, "mean": 0.2, "high": 0.3}},
    },
    "joules_per_token": {
        "sst2/bert": {
            "tolerance": 0.02,
            "detect": 0.05,
            "workload": "3f9a1c20",
            "sessions": [
                {
                    "date": f"2026-01-{day:02}T10:12:03Z", "device": "GPU-a", "windows": 10,
                    "tokens": 250_000, "mean": 0.005 + 1e-6 * day, "cv": 0.003,
                    "autocorrelation": 0.2, "padding_overhead": 3.0, "mean_watts": 500.0,
                    "tokens_per_second": 1e5, "environment": "a41b",
                }
                for day in range(1, 5)
            ],
        },
        "rte/bert": {"sessions": [{"date": "2026-01-01", "windows": 9, "mean": 0.1, "cv": 0.01}]},
    },
    "savings": {"sst2": {"sessions": [
        {"date": "2026-01-01", "pairs": 6, "mean": 0.51, "sd": 0.004},
        {"date": "2026-01-02", "pairs": 6, "mean": 0.5, "sd": 0.004},
    ]}},
    "environment": {"a41b": {"torch": "2.13.0"}},
    "calibration": {"GPU-a": {
        "offset_watts": 132.4, "offset_watts_low": 128.1, "offset_watts_high": 136.7,
        "slope": 1.083, "slope_low": 1.071, "slope_high": 1.095, "r_squared": 0.9991,
        "pairs": 12, "date": "2026-11-24", "wall": "plug",
    }},
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Work in a folder with a history of thirty sessions, the last to be mutated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("mutations"))
        store = LocalStore(Path("history"))
        for record in records(days(29)):
            store.create(record.name, record.text.encode())
        yield


def command(*arguments: str, codes: tuple[int, ...]) -> str:
    """Run a command, whose exit code must be one of those; what it said."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    said = out.getvalue() + err.getvalue()
    assert code in codes, said[-3000:]
    if code == 4:
        assert err.getvalue().startswith("pytest-energy: ")
        assert err.getvalue().count("\n") == 1
        assert len(said) < 2000
    return said


def run_documents() -> st.SearchStrategy[bytes]:
    return mutated(RUN).map(lambda found: as_text(found).encode()) | cut(json.dumps(RUN).encode())


@pytest.mark.attack(
    "commands",
    "somebody changes a document at random: a run's JSON for a page",
    "one of the codes that the command has, no traceback",
)
@fuzzed(60)
@given(content=run_documents())
def test_a_page_of_a_mutated_run(content: bytes) -> None:
    pytest.importorskip("plotly")
    pytest.importorskip("jinja2")
    Path("run.json").write_bytes(content)

    command("report", "run.json", codes=(0, 4))


@pytest.mark.attack(
    "commands",
    "somebody changes a document at random: a run's JSON for an export",
    "one of the codes that the command has, no traceback",
)
@fuzzed(300)
@given(content=run_documents(), form=st.sampled_from(["bencher", "github-action-benchmark"]))
def test_an_export_of_a_mutated_run(content: bytes, form: str) -> None:
    Path("run.json").write_bytes(content)

    command("export", "run.json", "--format", form, "-o", "out.json", codes=(0, 4))


(LAST,) = records(days(30)[29:], first=29)


@pytest.mark.attack(
    "commands",
    "somebody changes a document at random: a record of a history",
    "one of the codes that the command has, no traceback",
)
@fuzzed(100)
@given(
    content=mutated(json.loads(LAST.text)).map(lambda found: as_text(found).encode())
    | cut(LAST.text.encode())
)
def test_a_history_with_a_mutated_record(content: bytes) -> None:
    path = Path("history") / LAST.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

    command("drift", "history", codes=(0, 1, 2))
    command("history", "history", codes=(0,))


# Parquet has no objects without a field.
CELLS = [None, float("nan"), *(value for value in VALUES if "{}" not in repr(value))]


@pytest.mark.attack(
    "commands",
    "somebody changes a document at random: columns and cells of Parquet",
    "one of the codes that the command has, no traceback",
)
@fuzzed(40)
@given(
    changes=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 9)), max_size=3),
    cells=st.lists(
        st.tuples(st.integers(0, 19), st.integers(0, 24), st.sampled_from(CELLS)), max_size=3
    ),
)
def test_a_history_with_a_mutated_parquet_file(
    changes: list[tuple[int, int]], cells: list[tuple[int, int, Any]]
) -> None:
    Path("packed").mkdir(exist_ok=True)
    Path("packed/x.parquet").write_bytes(_parquet(changes, cells))

    command("drift", "packed", codes=(0, 1, 2))
    command("history", "packed", codes=(0,))


@pytest.mark.attack(
    "commands",
    "somebody changes a document at random: bytes of Parquet",
    "one of the codes that the command has, no traceback",
)
@fuzzed(40)
@given(data=st.data())
def test_a_history_with_a_cut_parquet_file(data: st.DataObject) -> None:
    Path("packed").mkdir(exist_ok=True)
    Path("packed/x.parquet").write_bytes(data.draw(cut(_parquet([]))))

    command("drift", "packed", codes=(0, 1, 2))


def _parquet(changes: list[tuple[int, int]], cells: Sequence[tuple[int, int, Any]] = ()) -> bytes:
    """The bytes of a compacted history with other columns, and then with other cells."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    store = LocalStore(Path("compacted"))
    if not Path("compacted").exists():
        for record in records(days(25)):
            store.create(record.name, record.text.encode())
        assert main(["history", "compact", "compacted"]) == 0
    (path,) = Path("compacted").rglob("*.parquet")
    table = parquet.read_table(path)
    for column, kind in changes:
        if column < table.num_columns:
            table = _with_column(table, column, kind, pa)
    for column, row, value in cells:
        if column < table.num_columns and row < table.num_rows:
            table = _with_cell(table, column, row, value, pa)
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def _with_column(table: Any, column: int, kind: int, pa: Any) -> Any:
    name, count = table.schema.names[column], table.num_rows
    old = table[column].to_pylist()
    values = (
        [None] * count, [float("nan")] * count, [-1.0] * count, [1e308] * count, [2**62] * count,
        ["x" * 30_000] * count, [{"a": [1]}] * count, [b"\xff\xfe"] * count,
        [*old[:-1], None], None,
    )[kind]  # fmt: skip
    if values is None:
        return table.drop_columns([name])
    return table.set_column(column, name, pa.array(values))


def _with_cell(table: Any, column: int, row: int, value: Any, pa: Any) -> Any:
    """The table with another value in one cell; if its column has no such values, in all of it."""
    name, old = table.schema.names[column], table[column]
    values = old.to_pylist()
    values[row] = value
    try:
        cells = pa.array(values, type=old.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        cells = pa.array([value] * len(values), type=pa.uint64() if value == 2**63 else None)
    return table.set_column(column, name, cells)


def baselines() -> st.SearchStrategy[str]:
    tomlkit = pytest.importorskip("tomlkit")
    whole = mutated(BASELINE, TOML).map(lambda found: _toml(found, tomlkit))
    text = _toml(BASELINE, tomlkit).encode()
    return whole | cut(text).map(lambda found: found.decode("latin-1"))


def _toml(found: Any, tomlkit: Any) -> str:
    return with_raw(tomlkit.dumps(found) if isinstance(found, dict) else "x = 1", TOML)


@pytest.mark.attack(
    "commands",
    "somebody changes a document at random: a baseline file",
    "one of the codes that the command has, no traceback",
)
@fuzzed(150)
@given(text=baselines())
def test_a_mutated_baseline(text: str) -> None:
    folder = Path("stored")
    folder.mkdir(exist_ok=True)
    path = folder / "h200.toml"
    path.write_text(text, encoding="utf-8")

    command("baselines", "--check", str(path), codes=(0, 1, 4))
    command("drift", "history", "--baselines", "stored", codes=(0, 1, 2, 4))
    command("estimate", "sst2", "--hw=h200", "--model=bert", "--baselines=stored", codes=(0, 4))
    _as_a_run_reads(path)


def _as_a_run_reads(path: Path) -> None:
    """What a run makes of a baseline file before and while it measures."""
    try:
        known_hardware(path.parent)
        stored = read(path)
    except EnergyError:
        return
    for entry in stored.entries.values():
        try:
            levels = levels_of(entry.metric, TestSettings(), None, entry)
        except EnergyError:  # as a run says of levels that contradict each other
            continue
        pooled = pooled_of(stored, entry)
        if entry.metric == "joules_per_token" and entry.sessions:
            gap_warning(sessions_of(entry), levels.tolerance, levels.detect, pooled=pooled)
            gate = SequentialGate(
                session_stats(entry), levels.tolerance, levels.detect, pooled=pooled
            )
            for value in (0.005, 0.0051, 0.0049):
                gate.add(value)


def test_the_corpus_is_sound() -> None:
    """Each document is accepted as it is: else its mutations would all fail for one reason."""
    tomlkit = pytest.importorskip("tomlkit")
    Path("run.json").write_text(json.dumps(RUN))
    Path("stored").mkdir(exist_ok=True)
    Path("stored/h200.toml").write_text(_toml(BASELINE, tomlkit))

    command("export", "run.json", "--format=bencher", "-o", "out.json", codes=(0,))
    assert "no faults" in command("baselines", "--check", "stored", codes=(0,))
    assert document(days(1)[0])["schema"] == 1
