"""Data files that are something else than they are called."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_energy import DataError, get_task
from pytest_energy.workloads.data.readers import read_glue, read_squad
from workloads_support import squad

ROWS = "sentence\tlabel\n" + "a good film\t1\na bad film\t0\n" * 20


def _gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(ROWS.encode()))


def _wide(path: Path) -> None:
    path.write_text(ROWS, encoding="utf-16")


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(4096))


def _pointer(path: Path) -> None:
    path.write_text(
        "version https://git-lfs.github.com/spec/v1\n"
        "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
        "size 12345\n"
    )


def _page(path: Path) -> None:
    path.write_text("<!DOCTYPE html>\n<html><body>Sign in</body></html>\n")


@pytest.mark.parametrize("make", [_gzip, _wide, _zeros, _pointer, _page])
@pytest.mark.fault(
    "data",
    "a table is packed by gzip, coded as UTF-16, full of zeros, a pointer of Git LFS, or a page to "
    "sign in",
    "refused with its path and line",
)
def test_a_table_that_is_none(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "train.tsv"
    make(path)

    with pytest.raises(DataError, match=rf"`{path}`, line 1: ") as refused:
        read_glue(path, get_task("sst2"))
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("kind", ["pipe", "endless", "loop", "folder"])
@pytest.mark.fault(
    "data",
    "a data file is a pipe, an endless device, a link to itself, or a folder",
    "refused with its path, nothing is waited for",
)
def test_a_file_that_is_none(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "train.tsv"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.mkdir()

    with pytest.raises(DataError, match=rf"`{path}` (cannot be read|is .*: give a file)"):
        read_glue(path, get_task("sst2"))


@pytest.mark.fault(
    "data",
    "a download of a table was cut in the middle of a row",
    "refused with the line of that row",
)
def test_a_table_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text(ROWS + "a film without its lab")

    with pytest.raises(DataError, match=rf"`{path}`, line 42: 1 columns; expected 2"):
        read_glue(path, get_task("sst2"))


@pytest.mark.fault(
    "data",
    "a download of questions was cut in the middle of its JSON",
    "refused with the line where it ends",
)
def test_questions_that_were_cut(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    text = squad("Ada lives in Oslo.", a="Oslo")
    path.write_text(text[: len(text) // 2])

    with pytest.raises(DataError, match=rf"`{path}`, line \d+: broken JSON"):
        read_squad(path, get_task("squad_v1"))


@pytest.mark.fault(
    "data",
    "questions nest their JSON ten thousand deep",
    "refused with the path, no traceback",
)
def test_questions_that_nest_too_deep(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text('{"data": ' + "[" * 10_000 + "]" * 10_000 + "}")

    with pytest.raises(DataError, match=rf"`{path}`"):
        read_squad(path, get_task("squad_v1"))


@pytest.mark.fault(
    "data",
    "a label's id is written with as many digits as fill a line",
    "refused with the line, in a short sentence",
)
def test_a_label_of_many_digits(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text("sentence\tlabel\na film\t" + "1" * 5000 + "\n")

    with pytest.raises(DataError, match=rf"`{path}`, line 2: label '1") as refused:
        read_glue(path, get_task("sst2"))
    assert len(str(refused.value)) < 1000


@pytest.mark.fault(
    "data",
    "a table has ten thousand columns, and none that is needed",
    "refused with the first twenty",
)
def test_a_table_of_many_columns(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text("\t".join(f"c{number}" for number in range(10_000)) + "\n")

    with pytest.raises(DataError, match=r"line 1: no column `sentence` .*`c18`, `c19`, …$"):
        read_glue(path, get_task("sst2"))
