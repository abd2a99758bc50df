"""Histories with files that are damaged, dated wrongly, endless or too large: named and skipped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planted import changed, days, document, records
from pytest_energy.cli import main
from pytest_energy.history import Series
from pytest_energy.history.measurement import in_utc, out_of_place
from pytest_energy.history.record import Record, make_record
from pytest_energy.history.series import read_series
from pytest_energy.history.sessions import compact
from pytest_energy.history.store import HistoryError, LocalStore, open_store
from pytest_energy.results.origin import origin


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty sessions of one figure, below the current folder."""
    monkeypatch.chdir(tmp_path)
    _keep(tmp_path / "past", *records(days(30)))
    return tmp_path / "past"


def _keep(folder: Path, *kept: Record) -> None:
    store = LocalStore(folder)
    for record in kept:
        store.create(record.name, record.text.encode())


def _read(folder: Path) -> tuple[Series, list[str]]:
    warnings: list[str] = []
    (one,) = read_series(str(folder), warn=warnings.append)
    return one, warnings


def _dated(date: str, number: int = 900) -> Record:
    """The record of a session that a clock dated wrongly."""
    (record,) = records(days(1, mean=0.01), first=number)
    whole = json.loads(record.text)
    stamp = date.replace("-", "") + "T000000000Z"
    name = f"h200/{date[:4]}/{date[5:7]}/{stamp}-{whole['session']}.json"
    return Record(name, json.dumps({**whole, "date": f"{date}T00:00:00Z"}))


@pytest.mark.attack(
    "commands",
    "somebody keeps a record that no run writes, with lists for texts",
    "`drift` names and skips it, and its exit code is that of the others",
)
@pytest.mark.parametrize(
    "damage",
    [
        {"session": []}, {"session": None}, {"commit": {}}, {"branch": 5}, {"date": 1e308},
        {"date": "0001-01-01T00:00:00+23:00"}, {"hardware": []}, {"hardware": {"key": "h200"}},
        {"environment": {"torch": {}}}, {"environment": None}, {"verdicts": {}},
        {"verdicts": [{"workload": {}}]}, {"verdicts": [None] * 3},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_with_a_wrong_type_is_skipped_by_name(past: Path, damage: dict[str, Any]) -> None:
    (record,) = records(days(1), first=30)
    whole = json.loads(record.text)
    if damage.get("verdicts") == [{"workload": {}}]:
        damage = {"verdicts": [{**whole["verdicts"][0], "workload": {}}]}
    (past / "h200" / "bad.json").write_text(json.dumps({**whole, **damage}))

    one, (warning,) = _read(past)

    assert len(one.points) == 30
    assert warning.startswith("`h200/bad.json`: damaged: ")
    assert main(["drift", "past"]) == 0


@pytest.mark.parametrize(
    ("window", "verdict"),
    [
        ({"joules": -5.0}, {}), ({"joules": 10**400}, {}), ({"tokens": 0}, {}),
        ({"seconds": -1}, {}), ({"valid": 1}, {}), ({"joules": "9" * 400}, {}),
        ({}, {"tolerance": -0.1}), ({}, {"tokens": "many"}), ({}, {"local": None}),
    ],
    ids=str,
)  # fmt: skip
def test_a_figure_that_cannot_be_is_skipped_by_name(
    past: Path, window: dict[str, Any], verdict: dict[str, Any]
) -> None:
    (record,) = records(days(1), first=30)
    whole = json.loads(record.text)
    whole["verdicts"][0].update(verdict)
    whole["verdicts"][0]["windows"][0].update(window)
    (past / "h200" / "bad.json").write_text(json.dumps(whole))

    one, (warning,) = _read(past)

    assert len(one.points) == 30
    assert warning.startswith("`h200/bad.json`: damaged: ")


@pytest.mark.attack(
    "stores",
    "somebody puts a pipe, an endless device or a sparse file into a history",
    "named and skipped, nothing is waited for",
)
@pytest.mark.fault(
    "stores and documents",
    "a history holds a broken link",
    "named and skipped",
)
def test_what_is_no_file_is_named_and_not_waited_for(
    past: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(past / "h200" / "pipe.json")
    (past / "h200" / "zero.json").symlink_to("/dev/zero")
    (past / "h200" / "endless.parquet").symlink_to("/dev/zero")
    (past / "h200" / "gone.json").symlink_to("nowhere")
    with (past / "h200" / "large.json").open("wb") as file:
        file.truncate(1 << 40)  # sparse

    assert main(["drift", "past"]) == 0
    said = capsys.readouterr().out
    assert main(["history", "past"]) == 0
    listed = capsys.readouterr()

    for name in ("pipe.json", "zero.json", "endless.parquet", "gone.json", "large.json"):
        for text in (said, listed.err):
            assert f"warning: `h200/{name}`: cannot be read (" in text
    assert "30 sessions with figures in past" in listed.out


@pytest.mark.attack(
    "text",
    "somebody gives names with line breaks and CI commands to files of a history",
    "shown on one line, obeyed by nobody",
)
def test_a_file_that_is_named_like_a_command_is_shown_on_one_line(
    past: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (past / "a\n::error::b.json").write_text("{")
    (past / os.fsdecode(b"latin\xe9.json")).write_text("{")

    assert main(["history", "past"]) == 0

    said = capsys.readouterr().err
    assert "\n::error::" not in said
    assert "latin" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_a_folder_that_cannot_be_looked_into_is_no_empty_one(past: Path) -> None:
    (past / "h200").chmod(0)
    try:
        assert main(["drift", "past"]) == 4
    finally:
        (past / "h200").chmod(0o700)


@pytest.mark.fault(
    "clocks",
    "three records are dated 2099 and one 1970",
    "named and left out; the drift is found",
)
def test_sessions_of_the_future_hide_no_drift(
    past: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _keep(past, *records(changed(days(60), 0, 1.04)[30:], first=30))
    _keep(past, *(_dated(f"2099-01-0{day}", 900 + day) for day in (1, 2, 3)))
    _keep(past, _dated("1970-01-01"))

    assert main(["drift", "past"]) == 1

    said = capsys.readouterr().out
    assert said.count("dated 2099-01-0") == 3
    assert "warning: session `00000000-0000-4000-8000-000000000385` of `h200`: dated 1970" in said
    assert "60 sessions from 2026-01-01 to 2026-03-01" in said


def test_other_commands_leave_out_the_same_sessions(
    past: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _keep(past, _dated("2099-01-01"), _dated("1970-01-01", 901))

    assert main(["history", "past", "--last", "100"]) == 0

    listed = capsys.readouterr()
    assert "2099" not in listed.out
    assert "1970" not in listed.out
    assert "dated 2099-01-01, which is still to come" in listed.err
    assert "dated 1970-01-01, far from all others" in listed.err


NIGHTS = [f"2026-{month:02}-{day:02}" for month in (7, 8, 9) for day in range(1, 29)]


@pytest.mark.parametrize(
    ("dates", "far"),
    [
        (["2025-12-01", "2025-12-02", *NIGHTS], ["2025-12-01", "2025-12-02"]),
        ([*NIGHTS, "2027-03-01", *(f"2027-11-{day:02}" for day in range(1, 9))], ["2027-03-01"]),
        (["2025-12-01", "2025-12-02", "2025-12-03", *NIGHTS], []),  # three can say something
        ([*NIGHTS, "2027-03-01"], []),  # a history that goes on after a rest
        (["2026-01-01", "2026-06-01", "2026-11-01"], []),  # no usual distance
        (
            ["1970-01-01", "1970-01-02", "1970-01-03", *NIGHTS],
            ["1970-01-01", "1970-01-02", "1970-01-03"],
        ),
    ],
)
@pytest.mark.fault(
    "clocks",
    "one or two sessions are dated months from all others",
    "each is named and left out",
)
def test_sessions_far_from_all_others_are_named(dates: list[str], far: list[str]) -> None:
    by_date = {in_utc(date): date for date in dates}
    said: list[str] = []

    left_out = out_of_place("h200", by_date, said.append)

    assert sorted(by_date[date] for date in left_out) == far
    assert len(said) == len(far)
    assert all(f"session `{date}` of `h200`" in " ".join(said) for date in far)


def test_a_page_shows_no_run_of_the_future(past: Path) -> None:
    pytest.importorskip("plotly")
    pytest.importorskip("jinja2")
    _keep(past, _dated("2099-01-01"))

    assert main(["report", "--history", "past"]) == 0

    text = Path("report.html").read_text(encoding="utf-8")
    assert "dated 2099-01-01, which is still to come" in text
    assert text.count("2099-") == 1


@pytest.mark.fault(
    "clocks",
    "a baseline is dated in the future",
    "named, all sessions count",
)
def test_a_baseline_of_the_future_hides_no_session(
    past: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("baselines").mkdir()
    Path("baselines/h200.toml").write_text(
        'schema = 1\n[hardware]\nkey = "h200"\ntokens_per_window = 250000\n'
        '[joules_per_token."sst2/bert"]\nworkload = "3f9a1c20"\n'
        "sessions = [{ date = 2099-01-01, windows = 10, mean = 0.005, cv = 0.003 }]\n"
    )

    assert main(["drift", "past"]) == 0

    said = capsys.readouterr().out
    assert "warning: the baseline of `sst2/bert` for `h200` is dated 2099-01-01" in said
    assert "30 sessions from 2026-01-01" in said


def test_a_clock_that_is_hours_ahead_counts(past: Path) -> None:
    from datetime import datetime, timedelta, timezone

    ahead = datetime.now(timezone.utc) + timedelta(hours=12)
    _keep(past, make_record(document(days(1)[0]), origin(past), now=ahead))

    one, warnings = _read(past)

    assert (len(one.points), warnings) == (31, [])


def test_a_pause_of_years_leaves_most_sessions_in(tmp_path: Path) -> None:
    """The one newest session after a long pause does not throw the others out."""
    _keep(tmp_path, *(_dated(f"2020-01-{day:02}", day) for day in range(1, 25)))
    _keep(tmp_path, *records(days(1)))

    one, warnings = _read(tmp_path)

    assert (len(one.points), warnings) == (25, [])


def _packed(past: Path, change: Callable[[Any, Any], Any], **options: Any) -> Path:
    """A history in Parquet alone, rewritten by hand."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    compact(open_store(str(past)), print, remove=True)
    (path,) = past.rglob("*.parquet")
    table = change(parquet.read_table(path), pa)
    parquet.write_table(table, path, **options)
    return path


@pytest.mark.fault(
    "stores and documents",
    "a row of Parquet has NaN, a negative figure, no date or no session",
    "the row is left out, and counted",
)
@pytest.mark.parametrize(
    ("column", "value", "wrong"),
    [
        ("value", float("nan"), "`value` is nan, but must be a number up to"),
        ("value", -1.0, "`value` is -1 J/token"),
        ("date", None, "`date` is null, not a text"),
        ("date", "someday", "`date` is 'someday', not a date"),
        ("mean_watts", -1.0, "`mean_watts` is -1.0, but must be 0 or more"),
        ("environment", "[1]", "is a list, not a table"),
        ("session", None, "`session` is null, not a text"),
    ],
)
def test_a_damaged_row_of_parquet_is_left_out_and_told(
    past: Path, column: str, value: object, wrong: str
) -> None:
    def damaged(table: Any, pa: Any) -> Any:
        values = [*table[column].to_pylist()[:-1], value]
        number = table.schema.names.index(column)
        return table.set_column(number, table.schema.field(column), pa.array(values))

    _packed(past, damaged)

    one, (warning,) = _read(past)

    assert len(one.points) == 29
    assert ".parquet`: 1 row left out, such as one damaged: " in warning
    assert wrong in warning


@pytest.mark.attack(
    "stores",
    "somebody sends a Parquet file with missing columns, lists for texts, or endless texts",
    "skipped by name",
)
@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda table, _: table.drop_columns(["value"]), "has no column `value`"),
        (
            lambda table, pa: table.set_column(0, "session", pa.array([[1]] * 30)),
            "column `session` is a list<",
        ),
        (
            lambda table, pa: table.set_column(5, "unit", pa.array(["x" * 30_000] * 30)),
            "`unit` has a text of 30,000 bytes",
        ),
    ],
)
def test_parquet_of_another_shape_is_skipped_by_name(
    past: Path, change: Callable[[Any, Any], Any], wrong: str
) -> None:
    _packed(past, change)
    _keep(past, *records(days(5), first=40))

    one, (warning,) = _read(past)

    assert len(one.points) == 5
    assert wrong in warning
    assert warning.endswith("skipped")


@pytest.mark.attack(
    "stores",
    "somebody sends a Parquet file of a few kilobytes that unfolds to gigabytes",
    "skipped by name",
)
@pytest.mark.parametrize("dictionary", [True, False])
def test_parquet_that_unfolds_to_gigabytes_is_skipped(past: Path, dictionary: bool) -> None:
    """A few kilobytes on the disk: one text of a megabyte, or as many, in 1,100 rows."""

    def bomb(table: Any, pa: Any) -> Any:
        many = pa.concat_tables([table] * 37)
        texts = pa.DictionaryArray.from_arrays(pa.array([0] * 1110, pa.int32()), ["y" * 2**20])
        column = texts if dictionary else texts.cast(pa.string())
        return many.set_column(5, "unit", column)

    path = _packed(past, bomb, compression="zstd", use_dictionary=dictionary)
    _keep(past, *records(days(5), first=40))

    one, (warning,) = _read(past)

    assert path.stat().st_size < 500_000
    assert len(one.points) == 5
    assert "unfolds to more than" in warning or "`unit` has a text of 1,048,576" in warning


def test_json_is_kept_unless_parquet_holds_its_whole_text(past: Path) -> None:
    def without_texts(table: Any, pa: Any) -> Any:
        number = table.schema.names.index("record")
        return table.set_column(number, table.schema.field("record"), pa.nulls(30, pa.string()))

    kept = {path: path.read_bytes() for path in past.rglob("*.json")}
    _packed(past, without_texts)
    for path, content in kept.items():
        path.write_bytes(content)

    compact(open_store(str(past)), print, remove=True)

    assert sorted(past.rglob("*.json")) == sorted(kept)


@pytest.fixture
def remote(past: Path) -> Any:
    """A file system that says what it is asked, and keeps listings if it is let."""
    fsspec = pytest.importorskip("fsspec")
    from fsspec.implementations.local import LocalFileSystem

    class Cached(LocalFileSystem):  # type: ignore[misc]
        protocol = "cached"
        asked: list[str] = []  # noqa: RUF012

        @classmethod
        def _strip_protocol(cls, path: str) -> Any:
            return super()._strip_protocol(path.removeprefix("cached://"))

        def ls(self, path: str, detail: bool = False, **more: Any) -> Any:
            path = self._strip_protocol(path)
            if path in self.dircache:
                return self.dircache[path]
            found = self.dircache[path] = super().ls(path, detail=True)
            return found

        def cat_file(self, path: str, *rest: Any, **more: Any) -> Any:
            self.asked.append(path)
            return super().cat_file(path, *rest, **more)

    fsspec.register_implementation("cached", Cached, clobber=True)
    return Cached


@pytest.mark.attack(
    "stores",
    "somebody puts a terabyte into a remote history",
    "not fetched, named",
)
def test_a_remote_file_that_is_too_large_is_not_fetched(past: Path, remote: Any) -> None:
    with (past / "h200" / "large.json").open("wb") as file:
        file.truncate(1 << 40)

    (one,) = read_series(f"cached://{past}", warn=(warnings := list[str]()).append)

    assert len(one.points) == 30
    assert ["larger than" in warning for warning in warnings] == [True]
    assert not any("large.json" in path for path in remote.asked)


def test_what_others_write_to_a_remote_history_meanwhile_is_seen(past: Path, remote: Any) -> None:
    store = open_store(f"cached://{past}")
    before = list(store.names())

    _keep(past, *records(days(3), first=30))

    assert len(list(store.names())) == len(before) + 3


@pytest.mark.fault(
    "stores and documents",
    "a remote store's access has expired",
    "exit code 4 with the store's words",
)
def test_a_remote_history_that_fails_ends_in_a_sentence(
    past: Path, remote: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("token has expired")

    monkeypatch.setattr(remote, "cat", refused)

    assert main(["drift", f"cached://{past}"]) == 4
    assert "cannot be read: token has expired" in capsys.readouterr().err


def test_what_cannot_be_deleted_is_named(past: Path) -> None:
    store = open_store(str(past))
    (past / "folder.json").mkdir()

    with pytest.raises(HistoryError, match=r"folder.json` cannot be deleted: "):
        store.remove(["folder.json"])


def test_a_baseline_that_no_figure_can_have_counts_as_none(past: Path) -> None:
    (record,) = records(days(1), first=30)
    text = record.text.replace('"baseline":0.005', '"baseline":-0.005')
    _keep(past, replace(record, text=text))

    one, warnings = _read(past)

    assert (len(one.points), one.baseline, warnings) == (31, None, [])
