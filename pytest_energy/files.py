"""Files: text read with its faults named by line, written whole or not at all, and digests."""

from __future__ import annotations

import difflib
import errno
import hashlib
import json
import os
import select
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pytest_energy.errors import BaselineError, DataError
from pytest_energy.text import encodable

LARGEST_BYTES = 1 << 30
"""The most that is read of one file unless a reader says less."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace what a file holds in one step, so that a reader sees the old or the new one, whole.

    A link is followed: its target is replaced, and the link stays. What would be another thing
    after a replacement is written into: a pipe, a device, or a file of another user. So is a file
    with several names, or in a folder that takes no new file. Mode, group and access list stay. Of
    a text, bytes that were no UTF-8 become replacement characters. An `OSError` names the path,
    also for a pipe that nobody reads.
    """
    data = content if isinstance(content, bytes) else encodable(content).encode()
    with _naming(path):
        found = _found(path)
        target = Path(os.path.realpath(path))
        if found is None:
            target.parent.mkdir(parents=True, exist_ok=True)
        elif is_stream(path) or not _is_replaceable(target, found):
            return _write_into(path, data)
        try:
            _replace(target, data, found)
        except OSError as error:
            # A file that is a mount of its own, as containers have them, or of a group not ours.
            if found is None or error.errno not in (errno.EBUSY, errno.EXDEV, errno.EPERM):
                raise
            _write_into(path, data)


def append(path: Path, text: str) -> None:
    """Append to a file that other programs write to as well; made if it is not there."""
    with _naming(path):
        _write_into(path, encodable(text).encode(), os.O_APPEND | os.O_CREAT)


def require_writable(path: Path, option: str) -> None:
    """Raise `BaselineError` if a file could not be written later, naming the option."""
    try:
        why = _unwritable(path)
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        raise BaselineError(
            f"`{option}`: `{path}` cannot be written ({why}); give a file in a folder that you may "
            f"write to"
        )


def is_stream(path: Path) -> bool:
    """Whether a path leads to what a process has open, such as our own output."""
    return os.path.abspath(path).startswith(_STREAMS) or _printed(_found(path)) is not None


_PIPE_SECONDS = 10.0
"""How long a pipe's reader may let the writer wait."""

_STREAMS = ("/dev/std", "/dev/fd/", "/proc/")
"""Where paths begin that name what a process has open, such as its output."""


def _unwritable(path: Path) -> str | None:
    """Why `write_atomically` could not write a file now; None if it could."""
    found = _found(path)
    if found is None:
        folder = Path(os.path.realpath(path)).parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir():
            return f"`{folder}` is no folder"
        return None if _may_write(folder) else f"you may not write to `{folder}`"
    if stat.S_ISDIR(found.st_mode):
        return "it is a folder"
    if stat.S_ISBLK(found.st_mode) or stat.S_ISSOCK(found.st_mode):
        return "it is a disk or a socket"
    return None if _may_write(path) else "you may not write to it"


def _found(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _may_write(path: Path) -> bool:
    """Whether a file may be changed, or one made in a folder: some take none from anybody."""
    if path.is_dir():
        try:
            with tempfile.TemporaryFile(dir=path):
                return True
        except OSError:
            return False
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _is_replaceable(target: Path, found: os.stat_result) -> bool:
    alone = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    ours = found.st_uid == os.geteuid() and _may_write(target)
    return alone and ours and _may_write(target.parent)


def _replace(target: Path, data: bytes, old: os.stat_result | None) -> None:
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".pytest-energy-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if old is None:
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
        else:
            os.chown(temporary, -1, old.st_gid)
            shutil.copystat(target, temporary)  # the mode, and the access list if there is one
            os.utime(temporary)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _write_into(path: Path, data: bytes, flags: int | None = None) -> None:
    """Write into what is there; `OSError` for a pipe that nobody reads, a disk or a socket."""
    found = _found(path)
    if found is not None and (stat.S_ISBLK(found.st_mode) or stat.S_ISSOCK(found.st_mode)):
        raise OSError(errno.EPERM, "it is a disk or a socket")
    if flags is None:
        flags = os.O_APPEND if is_stream(path) else os.O_TRUNC
    printed = _printed(found)
    try:
        # Without a wait for the other end of a pipe; a terminal does not become ours.
        flags |= os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        handle = os.open(path, flags, 0o666) if printed is None else os.dup(printed)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(error.errno, "nobody reads this pipe", os.fspath(path)) from None
        raise
    try:
        left = memoryview(data)
        while left:
            if not select.select([], [handle], [], _PIPE_SECONDS)[1]:
                raise TimeoutError(errno.ETIMEDOUT, "its reader does not read")
            left = left[os.write(handle, left[: select.PIPE_BUF]) :]  # so much does not wait
    finally:
        os.close(handle)


def _printed(found: os.stat_result | None) -> int | None:
    """The descriptor of our output, or of our errors, if a file is that.

    Opened anew it would have a place of its own, and what is printed later would be written over.
    """
    for number in (1, 2):
        with suppress(OSError):
            if found is not None and os.path.samestat(found, os.fstat(number)):
                return number
    return None


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """A failed write on a descriptor has no file name (`OSError.filename`): it gets `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def unified_diff(old: str | None, new: str, name: str) -> str:
    """A unified diff of a file's text, empty if nothing changed."""
    lines = difflib.unified_diff(
        (old or "").splitlines(), new.splitlines(), f"a/{name}", f"b/{name}", lineterm="", n=1
    )
    return "\n".join(lines)


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
            size = os.fstat(file.fileno()).st_size
            # What says that it is too large is not read for it.
            data = b"" if size > limit else _at_most(file, limit, size)
        except OSError as error:
            raise _unreadable(path, error) from error
    if max(size, len(data)) > limit:
        raise DataError(f"`{path}` is larger than {limit:,} bytes, the most that is read of it")
    return data


def _at_most(file: BinaryIO, limit: int, size: int) -> bytes:
    """All of a file, or a little more than `limit` bytes; what is no file on a disk has size 0.

    Memory for `limit` bytes is not asked for at once: that takes longer than to read a small file.
    """
    parts, left = list[bytes](), limit + 1
    while left > 0 and (part := file.read(min(left, max(size + 1, 1 << 16)))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


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
