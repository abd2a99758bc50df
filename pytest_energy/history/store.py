"""History URLs: which are local, and what opens the others."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from pytest_energy.errors import EnergyError

# Packages that open a protocol; what is not named here says itself what it wants.
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "az": "adlfs",
}


def is_local(url: str) -> bool:
    """Whether a URL is a folder of this machine, which needs no package."""
    return protocol(url) in ("", "file", "local")


def protocol(url: str) -> str:
    """`s3` of `s3://bucket`, the first of a chain `a::b://c`, empty for a plain path."""
    head = url.partition("://")[0] if "://" in url else ""
    return url.partition("::")[0] if "::" in url else head


def local_path(url: str) -> Path:
    """The folder that a local URL names."""
    return Path(url.partition("://")[2] if "://" in url else url).expanduser()


def open_filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it; raises `EnergyError` by name."""
    try:
        import fsspec
    except ModuleNotFoundError:
        raise EnergyError(
            f"`{url}` needs fsspec, which is not installed: "
            f"`pip install 'pytest-energy[{_extra(url)}]'`; a local folder needs nothing"
        ) from None
    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = _PACKAGES.get(protocol(url))
        what = f"`pip install {package}`" if package else str(error)
        if package in ("s3fs", "gcsfs"):
            what = "`pip install 'pytest-energy[remote]'`"
        raise EnergyError(f"`{url}` needs a package that is not installed: {what}") from None
    except ValueError as error:
        raise EnergyError(
            f"`{url}` cannot be opened: {error}; give a folder, or a URL such as `s3://bucket/path`"
        ) from None
    except Exception as error:  # every back end has errors of its own
        raise EnergyError(f"`{url}` cannot be opened: {error}") from error
    return filesystem, str(root)


def _extra(url: str) -> str:
    return "remote" if _PACKAGES.get(protocol(url)) in ("s3fs", "gcsfs") else "drift"


_AT_ONCE = 256
"""Remote files fetched together, so that as many waits become one."""


class HistoryError(EnergyError):
    """A history cannot be opened, read or written; names the URL."""


class Store(Protocol):
    """Files of a history by name: paths relative to its root, parts joined with `/`."""

    url: str

    def names(self) -> Iterator[str]:
        """All files, sorted within each folder; hidden ones left out."""

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | Exception]]:
        """Contents in the order of the names, a few at a time; what failed as its exception."""

    def create(self, name: str, content: bytes) -> None:
        """Write a file that must not exist yet; a reader sees all of it or nothing."""

    def remove(self, names: Sequence[str]) -> None:
        """Delete files."""


def open_store(url: str) -> Store:
    """The store behind a URL; raises `HistoryError` for what cannot be opened here."""
    if is_local(url):
        return LocalStore(local_path(url))
    filesystem, root = open_filesystem(url)
    return RemoteStore(url, filesystem, root)


class LocalStore:
    """A history in a local folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.url = str(root)

    def names(self) -> Iterator[str]:
        """All files below the folder; none where it is missing."""
        for folder, folders, files in os.walk(self._root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            inside = Path(folder).relative_to(self._root).as_posix()
            prefix = "" if inside == "." else f"{inside}/"
            for name in sorted(files):
                if not name.startswith("."):
                    yield prefix + name

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | Exception]]:
        """Contents, one file at a time."""
        for name in names:
            yield name, self._content(name)

    def _content(self, name: str) -> bytes | Exception:
        try:
            with open(os.path.join(self._root, name), "rb") as file:
                return file.read()
        except OSError as error:
            return error

    def create(self, name: str, content: bytes) -> None:
        """Write beside the place and link into it, which fails where a file is there already."""
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
        for name in names:
            (self._root / name).unlink(missing_ok=True)


class RemoteStore:
    """A history behind an fsspec file system, whose writes appear whole."""

    def __init__(self, url: str, filesystem: Any, root: str) -> None:
        self.url = url
        self._files = filesystem
        self._root = root.rstrip("/")

    def names(self) -> Iterator[str]:
        """All files below the root, folder by folder; none where it is missing."""
        yield from self._below(self._root)

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | Exception]]:
        """Contents, fetched some hundred at a time."""
        rest = iter(names)
        while batch := list(islice(rest, _AT_ONCE)):
            paths = {name: self._path(name) for name in batch}
            found = self._files.cat(list(paths.values()), on_error="return")
            by_path = {str(path).strip("/"): content for path, content in found.items()}
            for name, path in paths.items():
                yield name, by_path.get(path.strip("/"), FileNotFoundError(path))

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
        for name in names:
            self._files.rm_file(self._path(name))

    def _below(self, folder: str) -> Iterator[str]:
        for path in self._listed(folder):
            name = PurePosixPath(path["name"]).name
            if name.startswith("."):
                continue
            if path["type"] == "directory":
                yield from self._below(path["name"])
            else:
                yield str(path["name"]).strip("/").removeprefix(self._root.strip("/")).strip("/")

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


def _move_without_replacing(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links; the name's random part keeps runners apart
        if path.exists():
            raise FileExistsError(17, "there is one already") from None
        os.replace(temporary, path)
