"""Histories read back: every session once, foreign files named and skipped, cards told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from planted import ENVIRONMENT, START, Day, changed, days, document, records
from pytest_energy.baselines import Header, Recording, StoredSession
from pytest_energy.baselines import writing as recording
from pytest_energy.baselines.tables import Acknowledgement
from pytest_energy.cli import main
from pytest_energy.files import write_atomically
from pytest_energy.history import Series
from pytest_energy.history.drift import analyse
from pytest_energy.history.record import Record
from pytest_energy.history.series import read_series
from pytest_energy.history.sessions import compact
from pytest_energy.history.store import HistoryError, LocalStore, open_store


def _keep(folder: Path, kept: Iterator[Record]) -> Path:
    store = LocalStore(folder)
    for record in kept:
        store.create(record.name, record.text.encode())
    return folder


def _only(found: Iterator[Series]) -> Series:
    (one,) = found
    return one


@pytest.fixture
def past(tmp_path: Path) -> Path:
    """Thirty sessions of one figure."""
    return _keep(tmp_path / "past", records(days(30)))


def test_sessions_come_back_as_points(past: Path) -> None:
    one = _only(read_series(str(past)))

    assert (one.hardware, one.metric, one.id, one.unit) == (
        "h200", "joules_per_token", "sst2/bert", "J/token",
    )  # fmt: skip
    assert [p.value for p in one.points] == pytest.approx([d.joules_per_token for d in days(30)])
    first = one.points[0]
    assert first.date == START.isoformat(timespec="milliseconds")
    assert first.commit == "0" * 40
    assert first.mean_watts == pytest.approx(500)
    assert first.tokens_per_second == pytest.approx(500 / first.value)
    assert first.padding_overhead == pytest.approx(3.0, rel=1e-4)
    assert first.environment == ENVIRONMENT
    assert first.environment is one.points[29].environment
    assert (one.baseline, one.tolerance) == (0.005, 0.02)


def test_a_file_is_never_overwritten(past: Path) -> None:
    store = LocalStore(past)
    name = next(store.names())

    with pytest.raises(HistoryError, match="cannot be written"):
        store.create(name, b"other")

    assert (past / name).read_bytes() != b"other"
    assert not list(past.rglob(".*"))


def test_foreign_and_damaged_files_are_named_and_skipped(past: Path) -> None:
    record = json.loads(next(past.rglob("*.json")).read_text())
    newer = {**record, "history": 2, "session": "x"}
    damaged = {**record, "verdicts": [{"id": "a"}]}
    for name, content in {
        "notes.txt": b"hello",
        "h200/run.json": b'{"schema": 1}',
        "h200/cut.json": b'{"history": 1, "ses',
        "h200/list.json": b"[]",
        "h200/latin.json": b'"\xe9"',
        "h200/newer.json": json.dumps(newer).encode(),
        "h200/damaged.json": json.dumps(damaged).encode(),
        "h200/dated.json": json.dumps({**record, "date": "someday"}).encode(),
        "h200/old.parquet": b"PAR1 no",
        ".hidden": b"",
    }.items():
        (past / name).write_bytes(content)
    warnings: list[str] = []

    one = _only(read_series(str(past), warn=warnings.append))

    assert len(one.points) == 30
    assert sorted(warning.split("`")[1] for warning in warnings) == [
        "h200/cut.json", "h200/damaged.json", "h200/dated.json", "h200/latin.json",
        "h200/list.json", "h200/newer.json", "h200/old.parquet", "h200/run.json", "notes.txt",
    ]  # fmt: skip
    told = "schema 2, of a newer pytest-energy: "
    assert any(told in text and text.endswith("upgrade it; skipped") for text in warnings)


def test_compaction_loses_nothing_and_counts_nothing_twice(past: Path) -> None:
    pytest.importorskip("pyarrow")
    before = list(read_series(str(past)))
    texts = sorted(path.read_text() for path in past.rglob("*.json"))

    done = compact(open_store(str(past)), print)
    again = compact(open_store(str(past)), print)
    _keep(past, records(days(10), first=30))

    assert (len(done.written), done.sessions) == (1, 30)
    assert (again.written, again.sessions) == ((), 0)
    assert len(_only(read_series(str(past))).points) == 40
    more = compact(open_store(str(past)), print, remove=True)
    assert (more.sessions, more.removed) == (10, 40)
    assert not list(past.rglob("*.json"))
    after = _only(read_series(str(past)))
    assert after.points[:30] == before[0].points
    assert len(after.points) == 40
    assert texts == sorted(_texts(past))[:30]


def _texts(past: Path) -> list[str]:
    import pyarrow.parquet as pq

    tables = [pq.read_table(path, columns=["record"]) for path in past.rglob("*.parquet")]
    return sorted(
        (text for table in tables for text in table["record"].to_pylist() if text),
        key=lambda text: json.loads(text)["date"],
    )


def test_two_files_that_hold_the_same_session_count_it_once(past: Path) -> None:
    pytest.importorskip("pyarrow")
    compact(open_store(str(past)), print)
    (first,) = past.rglob("*.parquet")
    (past / "compact" / "copy.parquet").write_bytes(first.read_bytes())

    assert len(_only(read_series(str(past))).points) == 30


def test_a_copy_of_a_record_counts_once(past: Path) -> None:
    middle = sorted(past.rglob("*.json"))[15]
    (past / "later").mkdir()
    (past / "later" / "copy.json").write_bytes(middle.read_bytes())

    assert len(_only(read_series(str(past))).points) == 30


def test_a_figure_that_two_tests_measure_counts_once_a_session(tmp_path: Path) -> None:
    past = _keep(tmp_path / "past", records(days(5), identifiers=("sst2/bert", "sst2/bert")))

    assert len(_only(read_series(str(past))).points) == 5


def test_records_without_figures_are_compacted_too(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    past = _keep(tmp_path / "past", records(days(3), identifiers=()))

    assert compact(open_store(str(past)), print).sessions == 3
    assert compact(open_store(str(past)), print).sessions == 0
    assert list(read_series(str(past))) == []


def test_invalid_verdicts_and_windows_are_no_evidence(tmp_path: Path) -> None:
    (record,) = records(days(1))
    content = json.loads(record.text)
    (verdict,) = content["verdicts"]
    spoilt = {**verdict["windows"][0], "valid": False, "joules": 1e9}
    content["verdicts"] = [
        {**verdict, "windows": [*verdict["windows"], spoilt]},
        {**verdict, "id": "thrown/away", "verdict": "invalid"},
    ]
    _keep(tmp_path / "past", iter([Record(record.name, json.dumps(content))]))

    one = _only(read_series(str(tmp_path / "past")))

    assert one.id == "sst2/bert"
    assert one.points[0].value == pytest.approx(days(1)[0].joules_per_token)


def test_a_verdict_on_real_tokens_is_the_same_figure(tmp_path: Path) -> None:
    (record,) = records(days(1))
    content = json.loads(record.text)
    verdict = content["verdicts"][0]
    verdict.update(metric="joules_per_real_token", unit="J/real token", value=0.015, baseline=0.014)
    _keep(tmp_path / "past", iter([Record(record.name, json.dumps(content))]))

    one = _only(read_series(str(tmp_path / "past")))

    assert (one.metric, one.baseline) == ("joules_per_token", None)
    assert one.points[0].value == pytest.approx(days(1)[0].joules_per_token)


def test_the_base_of_an_ab_is_no_accepted_baseline(tmp_path: Path) -> None:
    kept = []
    for record in records(days(3)):
        document = json.loads(record.text)
        document["verdicts"][0]["comparison"] = {"reference": "main"}
        kept.append(replace(record, text=json.dumps(document)))

    one = _only(read_series(str(_keep(tmp_path / "past", iter(kept)))))

    assert (len(one.points), one.baseline, one.tolerance) == (3, None, None)


def test_padding_that_varies_makes_a_series_of_real_tokens(tmp_path: Path) -> None:
    planted = changed(days(30), 20, 1.0, padding_overhead=3.3)
    past = _keep(tmp_path / "past", records(planted))

    real, processed = read_series(str(past))

    assert (real.metric, processed.metric) == ("joules_per_real_token", "joules_per_token")
    assert real.points[25].value / processed.points[25].value == pytest.approx(3.3, rel=1e-4)


def test_a_card_that_takes_anothers_place_continues_its_series(tmp_path: Path) -> None:
    planted = changed(days(60), 40, 1.03, device="GPU-b")
    past = _keep(tmp_path / "past", records(planted))

    found = analyse(_only(read_series(str(past))))

    assert found.state == "drift"
    assert "device GPU-a -> GPU-b" in str(found.change_points[0].reason)


def test_cards_in_use_together_have_a_series_each(tmp_path: Path) -> None:
    planted = [
        replace(day, device=f"GPU-{number % 2}", joules_per_token=day.joules_per_token * factor)
        for number, day in enumerate(days(60))
        for factor in [1.0 + 0.04 * (number % 2)]
    ]
    past = _keep(tmp_path / "past", records(planted))

    found = list(read_series(str(past)))

    assert [one.device for one in found] == ["GPU-0", "GPU-1"]
    assert [analyse(one).change_points for one in found] == [(), ()]


def test_other_work_starts_anew(tmp_path: Path) -> None:
    past = _keep(tmp_path / "past", records(days(30)))
    for record in records(changed(days(5), 0, 2.0), first=30):
        text = record.text.replace("3f9a1c20", "00000000")
        _keep(past, iter([replace(record, text=text)]))

    one = _only(read_series(str(past)))

    assert (one.workload, len(one.points)) == ("00000000", 5)


def test_the_accepted_baseline_says_since_when_and_how_much(past: Path, tmp_path: Path) -> None:
    folder = tmp_path / "baselines"
    stored = StoredSession("2026-01-11T00:00:00Z", 10, 0.0048, 0.003, 0.2, "GPU-a", 3.0)
    header = Header("h200", ("NVIDIA H200*",), 250_000)
    item = Recording("joules_per_token", "sst2/bert", "3f9a1c20", stored, {}, 0.03, 0.05)
    write_atomically(folder / "h200.toml", recording.updated(None, header, [item], "append"))

    one = _only(read_series(str(past), baselines=folder))

    assert (one.baseline, one.tolerance, one.baseline_sessions) == (0.0048, 0.03, 1)
    assert one.since == "2026-01-11T00:00:00.000+00:00"
    assert len(one.points) == 20


@pytest.mark.parametrize(("until", "counts"), [("2999-01-01", True), ("2026-01-02", False)])
def test_what_the_baseline_acknowledges_counts_until_its_day(
    past: Path, tmp_path: Path, until: str, counts: bool
) -> None:
    folder = tmp_path / "baselines"
    stored = StoredSession("2026-01-11T00:00:00Z", 10, 0.0048, 0.003, 0.2, "GPU-a", 3.0)
    header = Header("h200", ("NVIDIA H200*",), 250_000)
    item = Recording("joules_per_token", "sst2/bert", "3f9a1c20", stored, {}, 0.03, 0.05)
    text = recording.updated(None, header, [item], "append")
    stated = Acknowledgement("joules_per_token", "sst2/bert", 0.07, until, "why")
    write_atomically(folder / "h200.toml", recording.with_acknowledgement(text, stated))

    one = _only(read_series(str(past), baselines=folder))

    assert one.acknowledged == (stated if counts else None)


def test_branch_hardware_and_date_narrow_a_history(past: Path) -> None:
    _keep(past, records(days(4), branch="wild", first=30))
    url = str(past)

    assert len(_only(read_series(url, branch="wild")).points) == 4
    assert list(read_series(url, hardware="a100")) == []
    assert len(_only(read_series(url, since="2026-01-26T00:00:00.000+00:00")).points) == 9


def test_a_history_in_memory_reads_like_a_folder(past: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("pyarrow")
    remote = open_store("memory://other/past")
    for record in records(days(30)):
        remote.create(record.name, record.text.encode())

    assert list(read_series("memory://other/past")) == list(read_series(str(past)))
    with pytest.raises(HistoryError, match="there is one already"):
        remote.create(record.name, b"")
    assert compact(remote, print, remove=True).removed == 30
    assert list(read_series("memory://other/past")) == list(read_series(str(past)))
    fsspec.filesystem("memory").rm("/other", recursive=True)


def test_listing_and_compacting_by_command(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")

    assert main(["history", "compact", str(past), "--remove"]) == 0
    assert main(["history", "list", str(past), "--last", "2"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("wrote compact/")
    assert lines[1] == "30 sessions compacted"
    assert lines[2].startswith("30 JSON files removed")
    assert lines[3].startswith("2026-01-29T03:00:00Z  h200")
    assert lines[-1] == f"30 sessions with figures in {past}"


def test_a_history_of_one_day_is_no_drift_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    past = _keep(tmp_path / "past", records([Day(0.005)]))

    assert main(["drift", "--history", str(past)]) == 2
    assert "1 session: 19 more are needed to say" in capsys.readouterr().out
    assert document(Day(0.005))["schema"] == 1


def test_a_processor_is_told_by_its_host(tmp_path: Path) -> None:
    (record,) = records(days(1))
    card = '{"domain":"gpu:0","name":"NVIDIA H200","uuid":"GPU-a"}'
    processor = '{"domain":"cpu","name":"Xeon","uuid":"cpu"}'
    text = record.text.replace(card, processor)
    _keep(tmp_path / "past", iter([replace(record, text=text)]))

    assert _only(read_series(str(tmp_path / "past"))).device == "cpu@host"
