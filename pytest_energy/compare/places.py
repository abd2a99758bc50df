"""Where a side runs: its tree, its interpreter, and what it imports from."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pytest_energy.locks import HELD_VARIABLE, held_devices
from pytest_energy.workloads import allocator

_PACKAGES = ("site-packages", "dist-packages")
_QUIET = {"OMP_NUM_THREADS": "1", **allocator.VARIABLES}
"""Modelled joules are CPU time. Threads that wait for each other spin, and memory that goes back to
the kernel at each step is zeroed at each step: by per cents another figure in each process."""


@dataclass(frozen=True)
class Place:
    """One side's whereabouts; `root` is pytest's root there, `toplevel` the tree around it.

    `import_path` comes first on the side's path; entries under `ignored` are taken off it.
    """

    name: str
    reference: str
    python: str
    toplevel: Path
    root: Path
    import_path: tuple[str, ...]
    ignored: Path | None = None

    def moved(self, path: Path, source: Path) -> Path:
        """What a path under another tree is here; one from elsewhere stays."""
        path = path.resolve()
        if not path.is_relative_to(source):
            return path
        return self.toplevel / path.relative_to(source)

    def variables(self, method: str) -> dict[str, str]:
        """The environment of the side's process, whose joules a meter of that method reads."""
        inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        others = [p for p in inherited if p and not _is_under(p, self.ignored)]
        # A side reports to us alone, not into the job's summary.
        dropped = ("PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "GITHUB_STEP_SUMMARY")
        variables = {k: v for k, v in os.environ.items() if k not in dropped}
        path = os.pathsep.join([*self.import_path, *others])
        # Nor may git, asked by some plugin there, rewrite the user's index.
        own = {"PYTHONPATH": path, "GIT_OPTIONAL_LOCKS": "0"}
        # Whoever meters holds the devices for both sides.
        own[HELD_VARIABLE] = "\n".join(held_devices())
        quiet = _QUIET if method == "modelled" else {}
        return {**quiet, **variables, **own}


def import_path(root: Path, toplevel: Path, place: Path) -> tuple[str, ...]:
    """The entries of our own path that lie in the user's tree, as they are in the tree `place`.

    pytest's root and a folder `src` beside it come first, whether they are on our path or not.
    """
    own = [root, root / "src", *_in_tree(sys.path, toplevel)]
    moved = [place / path.relative_to(toplevel) for path in own]
    return tuple(dict.fromkeys(str(path) for path in moved if path.is_dir()))


def _in_tree(entries: Iterable[str], toplevel: Path) -> list[Path]:
    """Entries under a tree, without those that packages are installed in."""
    environment = Path(sys.prefix).resolve()
    found = []
    for entry in entries:
        path = Path(entry or ".").resolve()
        installed = path.is_relative_to(environment) and environment != toplevel
        if path.is_relative_to(toplevel) and not installed and path.name not in _PACKAGES:
            found.append(path)
    return found


def _is_under(entry: str, folder: Path | None) -> bool:
    return folder is not None and Path(entry).resolve().is_relative_to(folder)
