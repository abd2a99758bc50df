"""Between two environments: what each has, and copies of one with some packages exchanged."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from pytest_energy.bisect import Probe
from pytest_energy.bisect.commits import Graph
from pytest_energy.bisect.packages import Exchange, Inventory
from pytest_energy.bisect.probing import NotThereError, Where, finished
from pytest_energy.documents import FaultyDocumentError, parse_json
from pytest_energy.documents.records import converted
from pytest_energy.errors import EnergyError
from pytest_energy.files import read_bytes
from pytest_energy.private_folders import PrivateFolder

GOOD, BAD = "good", "bad"
_ANSWER_SECONDS, _INSTALL_SECONDS = 120.0, 1800.0
_MOST_BYTES = 1 << 24
_PROGRAM = """
import json, re, sys
from importlib.metadata import distributions

def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()

packages = {}
for one in distributions():
    name = plain(one.metadata["Name"] or "")
    if name and name not in packages:
        packages[name] = {
            "version": one.version,
            "local": one.read_text("direct_url.json") is not None,
            "needs": sorted(one.requires or ()),
        }
print(json.dumps({
    "packages": packages,
    "prefix": sys.prefix,
    "own": sys.prefix != sys.base_prefix,
    "python": "%d.%d" % sys.version_info[:2],
}))
"""


def inventory(python: Path) -> Inventory:
    """What a Python says that it has; raises `EnergyError` if it does not answer."""
    folder = PrivateFolder("inventory")
    try:
        code, output = _finished([str(python), "-c", _PROGRAM], folder.path, _ANSWER_SECONDS)
        if code != 0:
            raise EnergyError(f"`{python}` does not answer as a Python interpreter ({output})")
        data = read_bytes(folder.path / "kept", _MOST_BYTES).splitlines()
        return converted(Inventory, parse_json(data[-1] if data else b""))
    except (OSError, FaultyDocumentError) as error:
        raise EnergyError(f"`{python}` does not answer as a Python interpreter ({error})") from None
    finally:
        folder.remove()


def graph_of(found: Sequence[Exchange]) -> Graph:
    """A line of environments from `good` to `bad`: each has one package more of the bad one."""
    names = [GOOD, *(f"+{each.name}" for each in found[:-1]), BAD]
    return Graph(GOOD, BAD, {new: (old,) for old, new in pairwise(names)})


class EnvironmentGround:
    """Copies of the good environment, with packages exchanged, in which pytest runs here.

    Files are shared with the environment by hard links if that is possible. They live until
    `close`.
    """

    def __init__(self, good: Path, bad: Path, prefix: str, found: Sequence[Exchange]) -> None:
        self._good, self._bad, self._prefix = good, bad, Path(prefix)
        self._found = list(found)
        self._folder = PrivateFolder("environments")

    def close(self) -> None:
        """Remove the copies; a second call does nothing."""
        self._folder.remove()

    def where(self, probe: Probe, made: ExitStack) -> Where:
        """This folder, with the environments of the two ends of a probe."""
        del made  # a copy serves later probes, too
        head, base = self._python(probe.commit), self._python(probe.against)
        return Where(str(head), Path.cwd(), f"python:{base}", lambda word: word)

    def _python(self, name: str) -> Path:
        if name in (GOOD, BAD):
            return self._good if name == GOOD else self._bad
        count = [f"+{each.name}" for each in self._found].index(name) + 1
        place = self._folder.path / str(count)
        python = place / "bin" / "python"
        if not place.exists():
            try:
                shutil.copytree(self._prefix, place, symlinks=True, copy_function=_linked)
                self._exchange(python, [one for each in self._found[:count] for one in each.all])
            except (OSError, shutil.Error) as error:
                shutil.rmtree(place, ignore_errors=True)
                raise NotThereError(f"the environment cannot be copied ({error})") from None
            except NotThereError:
                shutil.rmtree(place, ignore_errors=True)
                raise
        return python

    def _exchange(self, python: Path, found: Sequence[Exchange]) -> None:
        wanted = [f"{each.name}=={each.new}" for each in found if each.new]
        dropped = [each.name for each in found if not each.new]
        for action, names in (("install", wanted), ("uninstall", dropped)):
            if not names:
                continue
            command = _installer(python, action)
            code, said = _finished([*command, *names], self._folder.path, _INSTALL_SECONDS)
            if code != 0:
                raise NotThereError(f"{' '.join(names)} cannot be {action}ed: {said}")


def _linked(source: str, target: str) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another disk
        shutil.copy2(source, target, follow_symlinks=False)
    return target


def _installer(python: Path, action: str) -> list[str]:
    """A command that installs in, or uninstalls from, another environment; uv's if it is there.

    No dependencies are resolved: the versions that belong together are known.
    """
    alone = ["--no-deps"] if action == "install" else []
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", action, "--python", str(python), *alone]
    if find_spec("pip") is None:
        raise EnergyError("neither `uv` nor `pip` is here to exchange packages; install one")
    own = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    return [*own, action, *(alone or ["--yes"])]


def _finished(command: Sequence[str], folder: Path, seconds: float) -> tuple[int | None, str]:
    """The exit code (None: it took too long) and the last line printed; all of it is in `kept`."""
    variables = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    code, _, printed = finished(command, folder, variables, seconds, folder / "kept")
    return code, printed.rpartition("\n")[2]
