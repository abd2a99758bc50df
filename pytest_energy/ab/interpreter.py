"""Another interpreter as a side: whether it can run our worker, and how it finds our package."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_energy.errors import EnergyError

PREFIX = "python:"
LEAST = (3, 10)
_SECONDS = 120
_NEEDED = ("pytest", "filelock", "tomlkit", "pynvml")
_PROBE = """
import importlib.util, json, sys
found = {name: importlib.util.find_spec(name) is not None for name in sys.argv[1:]}
worker = found["pytest_energy"] and importlib.util.find_spec("pytest_energy.ab") is not None
print(json.dumps({"version": list(sys.version_info[:3]), "found": found, "worker": worker}))
"""


@dataclass(frozen=True)
class Interpreter:
    """Another Python; `lends` is whether it has to be lent this installation's package."""

    python: str
    version: str
    lends: bool

    @property
    def label(self) -> str:
        """The interpreter as a person reads it."""
        return f"{PREFIX}{self.python}"


def find_interpreter(asked: str, root: Path) -> Interpreter:
    """The interpreter of `python:PATH`; raises `EnergyError` where no side can run in it."""
    # Not resolved: a virtual environment's python is a link to another's.
    path = Path(os.path.abspath(root / Path(asked.removeprefix(PREFIX)).expanduser()))
    option = f"`--energy-compare={asked}`"
    if path.is_dir() or not os.access(path, os.X_OK):
        raise EnergyError(
            f"{option}: `{path}` is no program; give the path of an interpreter, such as "
            f"`python:.venv-new/bin/python`"
        )
    answer = _asked(path, option)
    version = ".".join(str(part) for part in answer["version"])
    if tuple(answer["version"][:2]) < LEAST:
        raise EnergyError(
            f"{option} is Python {version}; a side needs {LEAST[0]}.{LEAST[1]} or newer"
        )
    found = answer["found"]
    missing = [name for name in _NEEDED if not found[name]]
    if missing:
        names = " ".join("nvidia-ml-py" if name == "pynvml" else name for name in missing)
        raise EnergyError(
            f"{option} lacks {', '.join(f'`{name}`' for name in missing)}, which a side needs; "
            f"`{path} -m pip install {names}`"
        )
    if found["pytest_energy"] and not answer["worker"]:
        raise EnergyError(
            f"{option} has a pytest-energy that knows no A/B; upgrade or uninstall it there"
        )
    return Interpreter(str(path), version, lends=not found["pytest_energy"])


def lend_package(folder: Path) -> str:
    """A folder for another interpreter's path that holds our package and nothing else."""
    import pytest_energy

    (folder / "pytest_energy").symlink_to(Path(pytest_energy.__file__).parent)
    return str(folder)


def _asked(path: Path, option: str) -> dict[str, Any]:
    names = [*_NEEDED, "pytest_energy"]
    try:
        done = subprocess.run(
            [str(path), "-c", _PROBE, *names],
            cwd=path.parent,  # not the tree, whose packages would answer for the interpreter's
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise EnergyError(
            f"{option}: `{path}` does not answer as a Python interpreter ({error}); run it by "
            f"hand to see why"
        ) from None
    return answer
