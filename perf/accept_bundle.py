"""Collect the wheels that an acceptance needs beside the host's own PyTorch and transformers.

Run by `make accept-bundle`. What is needed follows from the packages installed here; each must have
a wheel of pure Python for the versions below, or be something that the host's own packages need
anyway. The folder is replaced.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[1]
OWN: Final = "pytest-energy"
EXTRAS: Final = ("report",)
HOST: Final = ("torch", "transformers", "accelerate")
OLDEST_PYTHON: Final = "3.10"
MOST_BYTES: Final = 64 << 20


def main() -> int:
    """Fill the folder, and say what lies in it; 1 if something needed can be had by no wheel."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "accept-bundle")
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    _pip("wheel", "--no-deps", "--wheel-dir", str(options.out), str(ROOT))
    by_host = closure(HOST)
    missing = []
    for name in sorted(closure([OWN], EXTRAS) - set(HOST) - {OWN}):
        wanted = _pinned(name)
        if not _downloaded(wanted, options.out) and name not in by_host:
            missing.append(wanted)
    wheels = sorted(options.out.glob("*.whl"))
    size = sum(wheel.stat().st_size for wheel in wheels)
    for wheel in wheels:
        print(f"{wheel.stat().st_size / 1e6:8.2f} MB  {wheel.name}")
    print(f"{size / 1e6:8.2f} MB in {options.out}")
    if missing:
        print(f"no pure wheel, and not the host's: {', '.join(missing)}", file=sys.stderr)
    if size > MOST_BYTES:
        print(f"more than {MOST_BYTES >> 20} MiB", file=sys.stderr)
    return int(bool(missing) or size > MOST_BYTES)


def closure(names: Iterable[str], extras: Iterable[str] = ()) -> set[str]:
    """What is needed for packages to run, themselves included, on this Python or the oldest."""
    found: set[str] = set()
    waiting: list[tuple[str, frozenset[str]]] = [
        (canonicalize_name(name), frozenset(extras)) for name in names
    ]
    seen = set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        found.add(name)
        with suppress(PackageNotFoundError):  # needed on another Python only
            waiting += _needed(name, wanted)
    return found


def _pinned(name: str) -> str:
    """A package in the version that is installed here, if it is."""
    try:
        return f"{name}=={distribution(name).version}"
    except PackageNotFoundError:
        return name


def _needed(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for text in distribution(name).requires or ():
        one = Requirement(text)
        places = [
            {"extra": extra, **version}
            for extra in ("", *extras)
            for version in ({}, {"python_version": OLDEST_PYTHON})
        ]
        if one.marker is None or any(one.marker.evaluate(place) for place in places):
            yield canonicalize_name(one.name), frozenset(one.extras)


def _downloaded(wanted: str, folder: Path) -> bool:
    """Whether there is a wheel of it that runs on any platform and any of the Pythons."""
    pure = ("--platform", "any", "--implementation", "py", "--abi", "none")
    version = ("--python-version", OLDEST_PYTHON)
    try:
        _pip("download", "--no-deps", "--only-binary", ":all:", *pure, *version,
             "--dest", str(folder), wanted)  # fmt: skip
    except subprocess.CalledProcessError:
        return False
    return True


def _pip(command: str, *arguments: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run(
        [sys.executable, "-m", "pip", command, *quiet, *arguments],
        check=True,
        stderr=subprocess.DEVNULL if command == "download" else None,
    )


if __name__ == "__main__":
    sys.exit(main())
