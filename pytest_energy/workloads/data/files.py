"""Read text files line by line, and name file and line of what is wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pytest_energy.errors import DataError


def fault(path: Path, line: int | None, wrong: str, expected: str) -> DataError:
    """The error for `path`, at `line` (from 1) where there is one."""
    where = f"`{path}`" if line is None else f"`{path}`, line {line}"
    return DataError(f"{where}: {wrong}; expected {expected}")


def read_bytes(path: Path) -> bytes:
    """What the file holds; `DataError` if it can't be opened."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"`{path}` cannot be read: {error.strerror or error}") from error


def read_text(path: Path, expected: str) -> str:
    """The file as UTF-8 (a byte order mark is dropped); `DataError` if empty or undecodable.

    `expected` says for the error what should have been there.
    """
    data = read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # utf-8-sig counts from behind a byte order mark; the line is the same.
        line = data[: error.start].count(b"\n") + 1
        raise fault(path, line, f"byte 0x{data[error.start]:02x} is not UTF-8", expected) from None
    if not text.strip():
        raise fault(path, None, "the file is empty", expected)
    return text


def read_lines(path: Path, expected: str) -> list[str]:
    """The lines of the file without their ends (`\\n` or `\\r\\n`, nothing else ends a line)."""
    lines = read_text(path, expected).split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def digest(paths: Iterable[Path]) -> str:
    """Eight hex digits of what the files hold, in their order; their names do not matter."""
    total = hashlib.sha256()
    for path in paths:
        total.update(hashlib.sha256(read_bytes(path)).digest())
    return total.hexdigest()[:8]
