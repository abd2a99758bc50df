"""History URLs: which are local, and what opens the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
