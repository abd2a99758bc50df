"""Between two environments: what differs, and copies of one with some packages exchanged."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pytest_energy.bisect import Probe
from pytest_energy.bisect.commits import Graph, reached
from pytest_energy.bisect.probing import NotThereError, Where
from pytest_energy.documents import FaultyDocumentError, parse_json
from pytest_energy.documents.records import converted
from pytest_energy.errors import EnergyError
from pytest_energy.files import read_bytes
from pytest_energy.processes import PrivateFolder, finished

GOOD, BAD = "good", "bad"
_ANSWER_SECONDS, _INSTALL_SECONDS = 120.0, 1800.0
_MOST_BYTES = 1 << 24
_LEFT_OUT = ("pip", "pytest-energy", "setuptools", "uv", "wheel")
"""What a figure cannot come from, or what measures it."""
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


@dataclass(frozen=True)
class Package:
    """A package as an environment has it; `local` if it was installed from a folder or a URL.

    `needs` are its requirements, as its metadata words them.
    """

    version: str
    local: bool
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Inventory:
    """What a Python has: its packages by their plain names, and whether it is an environment."""

    packages: Mapping[str, Package]
    prefix: str
    own: bool
    python: str


@dataclass(frozen=True)
class Exchange:
    """A package whose version differs between the ends; None if an end lacks it.

    `beside` are exchanged with it, since they work with the same version of it only.
    """

    name: str
    old: str | None
    new: str | None
    beside: tuple[Exchange, ...] = ()

    @property
    def text(self) -> str:
        """The exchange as a person reads it."""
        text = f"{self.name} {self.old or 'none'} -> {self.new or 'none'}"
        others = ", ".join(each.text for each in self.beside)
        return f"{text} (with {others})" if others else text

    @property
    def all(self) -> tuple[Exchange, ...]:
        """The exchange of each package."""
        return (*self.beside, self)


def exchanges(good: Inventory, bad: Inventory) -> list[Exchange]:
    """The packages that differ, in an order in which each environment on the way can work.

    A package comes after those that it needs. Those that cannot do without one another are one
    exchange, named by the package that the others are needed by.

    Raises `EnergyError` for what no exchange of packages leads from one to the other by.
    """
    if good.python != bad.python:
        raise EnergyError(
            f"`--python-good` is Python {good.python} and `--python-bad` is {bad.python}: packages "
            f"cannot be exchanged between them; make both of one version"
        )
    if not good.own:
        raise EnergyError(
            "`--python-good` is no virtual environment, and packages are exchanged in copies of "
            "one; make one with what it has"
        )
    names = sorted({*good.packages, *bad.packages} - set(_LEFT_OUT))
    old, new = good.packages, bad.packages
    differing = [n for n in names if _version(old.get(n)) != _version(new.get(n))]
    local = [n for n in differing for has in (old, new) if n in has and has[n].local]
    if local:
        raise EnergyError(
            f"`{local[0]}` differs and was installed from a folder or a URL, so that its other "
            f"version cannot be installed by name; compare its commits with `--good` and `--bad`"
        )
    if not differing:
        raise EnergyError("both environments have the same packages; nothing is left to exchange")
    return [_exchange(step, old, new) for step in _steps(differing, old, new)]


def _exchange(
    names: Sequence[str], old: Mapping[str, Package], new: Mapping[str, Package]
) -> Exchange:
    *beside, last = [Exchange(n, _version(old.get(n)), _version(new.get(n))) for n in names]
    return Exchange(last.name, last.old, last.new, tuple(beside))


def _steps(
    names: Sequence[str], old: Mapping[str, Package], new: Mapping[str, Package]
) -> Iterator[list[str]]:
    """Packages that are exchanged together, the fewest that can be next."""
    order = _needed_first(names, new, old)
    forced = _forced(set(names), old, new)
    left = dict.fromkeys(order)
    while left:
        groups = [
            reached(name, {each: forced[each] & left.keys() for each in left}) for name in left
        ]
        group = min(groups, key=len)
        yield [name for name in order if name in group]
        for name in group:
            del left[name]


def _forced(
    names: set[str], old: Mapping[str, Package], new: Mapping[str, Package]
) -> dict[str, set[str]]:
    """For each package those that must be exchanged with it, or do not work any more."""
    forced: dict[str, set[str]] = {name: set() for name in names}
    for name in names:
        for need in _needs(old.get(name)):
            other = canonicalize_name(need.name)
            if other in names and _meets(old, need) and not _meets(new, need):
                forced[other].add(name)
        for need in _needs(new.get(name)):
            other = canonicalize_name(need.name)
            if other in names and _meets(new, need) and not _meets(old, need):
                forced[name].add(other)
    return forced


def _needs(package: Package | None) -> Iterator[Requirement]:
    """What a package needs without its extras; what is no requirement is passed over."""
    for text in package.needs if package else ():
        try:
            need = Requirement(text)
        except InvalidRequirement:
            continue
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            yield need


def _meets(packages: Mapping[str, Package], need: Requirement) -> bool:
    found = packages.get(canonicalize_name(need.name))
    return found is not None and need.specifier.contains(found.version, prereleases=True)


def _version(package: Package | None) -> str | None:
    return package.version if package else None


def _needed_first(names: Sequence[str], *known: Mapping[str, Package]) -> list[str]:
    order: dict[str, None] = {}

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in order or name in above or name not in names:
            return
        for packages in known:
            for need in _needs(packages.get(name)):
                visit(canonicalize_name(need.name), (*above, name))
        order[name] = None

    for name in names:
        visit(name, ())
    return list(order)


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
        return Where(str(head), Path.cwd(), f"python:{base}")

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
            except (OSError, NotThereError) as error:
                shutil.rmtree(place, ignore_errors=True)
                if isinstance(error, NotThereError):
                    raise
                raise NotThereError(f"the environment cannot be copied ({error})") from None
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
    """The exit code and the last line printed, all of which is in `kept`; or None, and why."""
    variables = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    late = "it took too long"
    code, why, printed = finished(command, folder, variables, seconds, late, folder / "kept")
    return code, why or printed.rpartition("\n")[2]
