"""Files: text read with its faults named by line, written whole or not at all, and digests."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pytest_energy.errors import BaselineError, DataError

LARGEST_BYTES = 1 << 30
"""The most that is read of one file unless a reader says less."""


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's text in one step, so that a reader sees the old or the new one, whole.

    A link is followed: its target is replaced, and the link stays. What is no regular file (a
    pipe, a device) or belongs to another user is written into, since a new file in its place would
    be another thing. An `OSError` names the path.
    """
    target = Path(os.path.realpath(path))
    with _naming(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        found = target.stat() if target.exists() else None
        if found is not None and not _is_replaceable(found):
            target.write_text(text, encoding="utf-8")
            return
        _replace(target, text, 0o666 & ~_umask() if found is None else found.st_mode & 0o7777)


def _is_replaceable(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == os.geteuid()


def _replace(target: Path, text: str, mode: int) -> None:
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:200]}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """A failed write on a descriptor has no file name (`OSError.filename`): it gets `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def require_writable(path: Path, option: str) -> None:
    """Raise `BaselineError` if a file could not be written later, naming the option."""
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise BaselineError(
            f"`{option}`: `{path}` cannot be written; give a file in a folder that you may write to"
        )


def unified_diff(old: str | None, new: str, name: str) -> str:
    """A unified diff of a file's text, empty if nothing changed."""
    lines = difflib.unified_diff(
        (old or "").splitlines(), new.splitlines(), f"a/{name}", f"b/{name}", lineterm="", n=1
    )
    return "\n".join(lines)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def fault(path: Path, line: int | None, wrong: str, expected: str) -> DataError:
    """The error for `path`, at `line` (from 1) if there is one."""
    where = f"`{path}`" if line is None else f"`{path}`, line {line}"
    return DataError(f"{where}: {wrong}; expected {expected}")


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read; `DataError` for anything else.

    A pipe, a device or a socket is refused without waiting for it.
    """
    try:
        # Without a wait for the other end of a pipe; a terminal does not become ours.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        found = os.fstat(handle)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if stat.S_ISREG(found.st_mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISDIR(found.st_mode):
        raise DataError(f"`{path}` is a folder: give a file")
    raise DataError(f"`{path}` is no regular file (a pipe or a device): give a file")


def read_bytes(path: Path, limit: int = LARGEST_BYTES) -> bytes:
    """What a regular file of at most `limit` bytes holds; `DataError` for anything else."""
    with open_regular(path) as file:
        try:
            data = file.read(limit + 1)
        except OSError as error:
            raise _unreadable(path, error) from error
    if len(data) > limit:
        raise DataError(f"`{path}` is larger than {limit:,} bytes, the most that is read of it")
    return data


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"`{path}` cannot be read: {getattr(error, 'strerror', None) or error}")


def read_text(path: Path, expected: str, limit: int = LARGEST_BYTES) -> str:
    """The file as UTF-8 (a byte order mark is dropped); `DataError` if empty or undecodable.

    `expected` says for the error what should have been there.
    """
    data = read_bytes(path, limit)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # utf-8-sig counts from behind a byte order mark; the line is the same.
        line = data[: error.start].count(b"\n") + 1
        raise fault(path, line, f"byte 0x{data[error.start]:02x} is not UTF-8", expected) from None
    if not text.strip():
        raise fault(path, None, "the file is empty", expected)
    return text


def read_lines(path: Path, expected: str, limit: int = LARGEST_BYTES) -> list[str]:
    """The lines of the file without their ends (`\\n` or `\\r\\n`, nothing else ends a line)."""
    lines = read_text(path, expected, limit).split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def files_digest(paths: Iterable[Path]) -> str:
    """Eight hex digits of what the files hold, in their order; their names do not matter."""
    total = hashlib.sha256()
    for path in paths:
        total.update(hashlib.sha256(read_bytes(path)).digest())
    return total.hexdigest()[:8]


def digest_of(fields: object, separators: tuple[str, str] = (",", ":")) -> str:
    """Eight hex digits of some fields, as their JSON with sorted keys; a text is taken as it is.

    `separators` are those of `json.dumps`; other ones give other digits.
    """
    text = fields
    if not isinstance(text, str):
        text = json.dumps(fields, sort_keys=True, separators=separators, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
