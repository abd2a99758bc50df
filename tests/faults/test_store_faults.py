"""Histories with folders named like records, records cut or coded otherwise, and loops."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planted import days, records
from pytest_energy.cli import main
from pytest_energy.history.sessions import compact
from pytest_energy.history.store import LocalStore, open_store


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty sessions of one figure, below the current folder."""
    monkeypatch.chdir(tmp_path)
    store = LocalStore(tmp_path / "past")
    for record in records(days(30)):
        store.create(record.name, record.text.encode())
    return tmp_path / "past"


@pytest.fixture
def one_more() -> Any:
    """The document of a session that is not stored yet."""
    (record,) = records(days(1), first=30)
    return json.loads(record.text)


def drift(capsys: pytest.CaptureFixture[str]) -> str:
    """What `drift` says of the history, which holds thirty sessions that can be read."""
    code = main(["drift", "past"])
    found = capsys.readouterr()
    assert code == 0, found
    assert "30 sessions from 2026-01-01" in found.out
    return found.out + found.err


@pytest.mark.parametrize("name", ["folder.json", "folder.parquet"])
@pytest.mark.fault(
    "stores and documents",
    "a history has a folder that is named like a record",
    "it is a folder as others: the sessions are read",
)
def test_a_folder_named_like_a_record(
    past: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (past / "h200" / name).mkdir()
    (past / name / "inner.json").mkdir(parents=True)

    drift(capsys)
    assert main(["history", "compact", "past"]) == 0


def _half(text: str) -> bytes:
    return text.encode()[: len(text) // 2]


def _zeros(text: str) -> bytes:
    return bytes(len(text))


def _twice(text: str) -> bytes:
    return (text + text).encode()


def _nothing(text: str) -> bytes:
    return b""


@pytest.mark.parametrize("code", [_half, _zeros, _twice, _nothing])
@pytest.mark.fault(
    "stores and documents",
    "a record is cut, empty, full of zeros, or there twice in one file",
    "named and skipped",
)
def test_a_record_that_is_no_json(
    past: Path,
    one_more: Any,
    code: Callable[[str], bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (past / "h200" / "odd.json").write_bytes(code(json.dumps(one_more)))

    assert "warning: `h200/odd.json`: " in drift(capsys)


@pytest.mark.fault(
    "stores and documents",
    "a record was written by a newer release, with another schema",
    "named and skipped, with both numbers",
)
def test_a_record_of_the_future(
    past: Path, one_more: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (past / "h200" / "odd.json").write_text(json.dumps({**one_more, "history": 99}))

    said = drift(capsys)

    assert "warning: `h200/odd.json`: " in said
    assert "99" in said.partition("odd.json")[2].partition("\n")[0]


@pytest.mark.fault(
    "stores and documents",
    "folders of a history are linked in a circle",
    "each session is read once",
)
def test_folders_in_a_circle(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (past / "h200" / "again").symlink_to(past)

    drift(capsys)


@pytest.mark.fault(
    "stores and documents",
    "a record disappears between listing and reading",
    "named and left out, the others are read",
)
def test_a_record_that_goes_while_it_is_read(past: Path) -> None:
    store = open_store(str(past))
    names = list(store.names())
    (past / names[3]).unlink()

    found = dict(store.read(names))

    assert [name for name, content in found.items() if isinstance(content, Exception)] == [names[3]]


@pytest.mark.fault(
    "stores and documents",
    "a packed history was cut while it was copied",
    "the Parquet file is named and skipped, loose records are read",
)
def test_a_packed_history_that_was_cut(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    compact(open_store(str(past)), print, remove=False)
    (packed,) = past.rglob("*.parquet")
    os.truncate(packed, packed.stat().st_size // 2)

    assert f"warning: `{packed.relative_to(past)}`: " in drift(capsys)


@pytest.mark.fault(
    "stores and documents",
    "two records hold one session with different figures",
    "the one that has the session in its name counts, the other one is named",
)
def test_one_session_with_two_figures(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = drift(capsys)
    other = json.loads(sorted(past.rglob("*.json"))[4].read_text())
    for window in other["verdicts"][0]["windows"]:
        window["joules"] *= 3
    (past / "a.json").write_text(json.dumps(other))

    said = drift(capsys)

    assert "warning: `a.json`: differs from the record of the same session; skipped" in said
    assert before.splitlines()[1] in said


@pytest.mark.fault(
    "stores and documents",
    "a history is removed as a whole between two commands",
    "exit code 4, and the folder is named",
)
def test_a_history_that_is_gone(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(past)

    assert main(["drift", "past"]) == 4
    assert "past" in capsys.readouterr().err


@pytest.mark.fault(
    "stores and documents",
    "the record of a session is there already, as another file or as a folder",
    "nothing is overwritten, and the path is named",
)
@pytest.mark.parametrize("folder", [False, True])
def test_a_name_that_is_taken(past: Path, folder: bool) -> None:
    (record,) = records(days(1), first=31)
    path = past / record.name
    path.parent.mkdir(parents=True, exist_ok=True)
    if folder:
        path.mkdir()
    else:
        path.write_text("mine")

    with pytest.raises(Exception, match="cannot be written: File exists"):
        LocalStore(past).create(record.name, b"{}")

    assert folder or path.read_text() == "mine"
    assert [each for each in path.parent.iterdir() if each.name.startswith(".")] == []


@pytest.mark.fault(
    "stores and documents",
    "a run's JSON is read while it is empty, as between opening and writing",
    "exit code 4, one sentence",
)
def test_a_document_that_is_not_written_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.json"
    path.touch()

    assert main(["report", str(path)]) == 4
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("schema = 1", "schema = 2"),
        ("[hardware]", "[hardware]\n[hardware]"),
        ("schema", "\0schema"),
    ],
    ids=["another schema", "a table twice", "a zero"],
)
@pytest.mark.fault(
    "stores and documents",
    "a baseline file has another schema, a table twice, or a zero byte",
    "exit code 4, one sentence with the file",
)
def test_a_baseline_that_is_wrong(
    tmp_path: Path, old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "h200.toml"
    text = 'schema = 1\n[hardware]\nkey = "h200"\ntokens_per_window = 250000\n'
    path.write_text(text.replace(old, new, 1))

    assert main(["baselines", "--check", str(path)]) == 4
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"`{path}`" in said
