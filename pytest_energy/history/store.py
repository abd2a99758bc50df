"""Where a history is kept: a local folder, or what fsspec opens by URL.

A local folder has a class of its own. Reading many small files through fsspec takes a fifth more
CPU time, and what it writes may replace a file that is there already.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_energy.errors import DataError, EnergyError
from pytest_energy.files import LARGEST_BYTES, read_bytes
from pytest_energy.text import one_line

_REMOTE = ("s3", "s3a", "gs", "gcs")
"""Protocols whose packages are in the extra `remote`."""

_AT_ONCE = 256
"""Remote files fetched together, so that as many waits become one."""

LARGEST_RECORD = 1 << 28
"""Bytes of a record that are read."""

_SMALL = 1 << 20
"""Bytes of a remote file that is fetched together with others."""

Content = bytes | Exception
"""What a file holds, or why it cannot be read."""


class HistoryError(EnergyError):
    """A history cannot be opened, read or written; names the URL."""


def is_local(url: str) -> bool:
    """Whether a URL is a folder of this machine, which needs no package."""
    return _protocol(url) in ("", "file", "local")


def local_path(url: str) -> Path:
    """The folder that a local URL names."""
    return Path(os.path.expanduser(url.partition("://")[2] if "://" in url else url))


def open_store(url: str) -> LocalStore | RemoteStore:
    """The store behind a URL; raises `EnergyError` by name for what cannot be opened here."""
    return LocalStore(local_path(url)) if is_local(url) else RemoteStore(url)


def _protocol(url: str) -> str:
    """`s3` of `s3://bucket`, the first of a chain `a::b://c`, empty for a plain path."""
    head = url.partition("://")[0] if "://" in url else ""
    return url.partition("::")[0] if "::" in url else head


class LocalStore:
    """Files of a history in a local folder, by name: relative paths, parts joined with `/`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.url = str(root)

    def names(self) -> Iterator[str]:
        """All files, sorted within each folder, without hidden ones; none if there is no folder."""
        for folder, folders, files in os.walk(self._root, onerror=_cannot_list):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            inside = Path(folder).relative_to(self._root).as_posix()
            prefix = "" if inside == "." else f"{inside}/"
            yield from (prefix + name for name in sorted(files) if not name.startswith("."))

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Content]]:
        """Names and contents in the order of the names; what failed as its exception."""
        for name in names:
            try:
                content: Content = read_bytes(self._root / name, most_bytes(name))
            except DataError as error:
                content = error
            yield name, content

    def create(self, name: str, content: bytes) -> None:
        """Write a file that must not exist yet; a reader sees all of it or nothing."""
        path = self._root / name
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _move_without_replacing(temporary, path)
        except OSError as error:
            raise HistoryError(f"`{path}` cannot be written: {error.strerror or error}") from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def remove(self, names: Sequence[str]) -> None:
        """Delete files; one that is gone already is no fault."""
        name = ""
        try:
            for name in names:
                (self._root / name).unlink(missing_ok=True)
        except OSError as error:
            why = error.strerror or error
            raise HistoryError(f"`{self._root / name}` cannot be deleted: {why}") from error


def most_bytes(name: str) -> int:
    """The most that is read of a file: of a record, or of a Parquet file of many."""
    return LARGEST_BYTES if name.endswith(".parquet") else LARGEST_RECORD


def _cannot_list(error: OSError) -> None:
    """A folder that cannot be looked into is no empty one."""
    if not isinstance(error, FileNotFoundError):
        raise HistoryError(f"`{error.filename}` cannot be listed: {error.strerror}") from error


def _move_without_replacing(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links; the name's random part keeps runners apart
        if path.exists():
            raise FileExistsError(17, "there is one already") from None
        os.replace(temporary, path)


class RemoteStore:
    """The same behind an fsspec file system, whose writes appear whole."""

    def __init__(self, url: str) -> None:
        remote = _protocol(url) in _REMOTE
        own = "s3fs" if _protocol(url).startswith("s3") else "gcsfs"
        install = f"`pip install fsspec{f' {own}' if remote else ''}`"
        try:
            import fsspec
        except ModuleNotFoundError:
            raise EnergyError(
                f"`{url}` needs fsspec, which is not installed: {install}; a local folder needs "
                "nothing"
            ) from None
        try:
            # Others write to it meanwhile, so that what was listed once does not stay true.
            self._files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            what = install if remote else error
            raise EnergyError(f"`{url}` needs a package that is not installed: {what}") from None
        except ValueError as error:
            raise EnergyError(
                f"`{url}` cannot be opened: {error}; give a folder, or a URL such as "
                "`s3://bucket/path`"
            ) from None
        except Exception as error:  # every back end has errors of its own
            raise EnergyError(f"`{url}` cannot be opened: {error}") from error
        self.url = url
        self._root = str(root).rstrip("/")
        self._sizes: dict[str, int] = {}

    def names(self) -> Iterator[str]:
        """All files, as of a local folder."""
        folders = [self._root]
        while folders:
            for entry in self._listed(folders.pop()):
                path = str(entry["name"])
                if PurePosixPath(path).name.startswith("."):
                    continue
                if entry["type"] == "directory":
                    folders.append(path)
                else:
                    self._sizes[path.strip("/")] = entry.get("size") or 0
                    yield path.strip("/").removeprefix(self._root.strip("/")).strip("/")

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Content]]:
        """Names and contents as of a local folder, fetched some hundred at a time."""
        rest = iter(names)
        while batch := list(islice(rest, _AT_ONCE)):
            sizes = {name: self._size(name) for name in batch}
            fitting = [name for name in batch if sizes[name] <= most_bytes(name)]
            few = [name for name in fitting if sizes[name] <= _SMALL]
            together = self._fetched(few)
            for name in batch:
                if name in together:
                    yield name, together[name]
                elif name in fitting:
                    yield name, self._fetched([name])[name]
                else:
                    why = f"larger than {most_bytes(name):,} bytes, the most that is read of it"
                    yield name, DataError(why)

    def _size(self, name: str) -> int:
        """Bytes of a file as it was listed, else as it says itself; 0 if nobody knows."""
        path = self._path(name).strip("/")
        if path not in self._sizes:
            try:
                self._sizes[path] = self._files.info(self._path(name)).get("size") or 0
            except Exception:  # every back end has errors of its own; reading says what is wrong
                return 0
        return self._sizes[path]

    def _fetched(self, names: Sequence[str]) -> dict[str, Content]:
        paths = {name: self._path(name) for name in names}
        try:
            found = self._files.cat(list(paths.values()), on_error="return") if paths else {}
        except Exception as error:  # every back end has errors of its own
            raise HistoryError(f"`{self.url}` cannot be read: {one_line(error)}") from error
        by_path = {str(path).strip("/"): content for path, content in found.items()}
        missing = FileNotFoundError("no such file")
        return {name: by_path.get(path.strip("/"), missing) for name, path in paths.items()}

    def create(self, name: str, content: bytes) -> None:
        """Write in one call, which object stores make visible at its end."""
        path = self._path(name)
        try:
            if self._files.exists(path):
                raise FileExistsError("there is one already")
            self._files.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
            self._files.pipe_file(path, content)
        except Exception as error:  # every back end has errors of its own
            raise HistoryError(f"`{self.url}`: `{name}` cannot be written: {error}") from error

    def remove(self, names: Sequence[str]) -> None:
        """Delete files."""
        try:
            for name in names:
                with suppress(FileNotFoundError):
                    self._files.rm_file(self._path(name))
        except Exception as error:  # every back end has errors of its own
            raise HistoryError(f"files of `{self.url}` cannot be deleted: {error}") from error

    def _listed(self, folder: str) -> list[dict[str, Any]]:
        try:
            found = self._files.ls(folder, detail=True)
        except FileNotFoundError:
            return []
        except Exception as error:  # every back end has errors of its own
            raise HistoryError(f"`{self.url}` cannot be listed: {error}") from error
        return sorted(found, key=lambda entry: str(entry["name"]))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


Store = LocalStore | RemoteStore
