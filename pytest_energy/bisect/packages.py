"""Which packages differ between two environments, and how they can be exchanged in turn; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pytest_energy.errors import EnergyError

_LEFT_OUT = ("pip", "pytest-energy", "setuptools", "uv", "wheel")
"""What a figure cannot come from, or what measures it."""


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
        groups = [_reached(name, forced, left) for name in left]
        group = min(groups, key=len)
        yield [name for name in order if name in group]
        for name in group:
            del left[name]


def _reached(name: str, forced: Mapping[str, set[str]], left: Mapping[str, None]) -> set[str]:
    """The package, and all of those left that have to be exchanged with it."""
    group, todo = {name}, [name]
    while todo:
        more = {other for other in forced[todo.pop()] if other in left} - group
        group |= more
        todo += more
    return group


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
