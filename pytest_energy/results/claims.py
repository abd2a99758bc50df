"""What a benchmark of a claim found: figures with their bounds, tables and plots."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from pytest_energy.documents import AnyFloat
from pytest_energy.errors import EnergyError

Cell: TypeAlias = str | int | AnyFloat | None


@dataclass(frozen=True)
class Figure:
    """One figure of a claim, in `unit`; `low` and `high` are its 95 % interval.

    `at_least` and `at_most` are the bounds that it must keep, None if nothing is asserted;
    `paper` is the paper's figure with its mark, such as `0.997 (derived)`.
    """

    name: str
    value: AnyFloat
    unit: str = ""
    low: AnyFloat | None = None
    high: AnyFloat | None = None
    at_least: AnyFloat | None = None
    at_most: AnyFloat | None = None
    paper: str | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the figure keeps its bounds; None if it has none. NaN keeps none."""
        if self.at_least is None and self.at_most is None:
            return None
        above = self.at_least is None or self.value >= self.at_least
        return above and (self.at_most is None or self.value <= self.at_most)


@dataclass(frozen=True)
class Series:
    """Points (x, y) of a plot under one name, drawn as a line or as marks."""

    name: str
    points: tuple[tuple[AnyFloat, AnyFloat], ...]
    line: bool = False


@dataclass(frozen=True)
class Plot:
    """A plot of a claim; names of axes carry their units."""

    title: str
    x_name: str
    y_name: str
    series: tuple[Series, ...]
    logarithmic: bool = False
    """Whether both axes are."""


@dataclass(frozen=True)
class Table:
    """A table of a claim; headings carry the units of their columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class ClaimRecord:
    """One test of a claim: what is claimed, and what was found here, by which kind of meter."""

    claim: str
    nodeid: str
    method: str = ""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    location: tuple[str, int] | None = None
    """The test's file, relative to pytest's root, and its line, from 1."""

    @property
    def outcome(self) -> str:
        """`holds`, `fails`, or `measured` if no figure has a bound."""
        held = [figure.holds for figure in self.figures if figure.holds is not None]
        if not held:
            return "measured"
        return "holds" if all(held) else "fails"

    @property
    def reason(self) -> str:
        """The figures that break their bounds, in one sentence; empty if none does."""
        return "; ".join(_broken(f) for f in self.figures if f.holds is False)


class EnergyClaim:
    """What a test of a claim holds: it notes figures, tables and plots, and is judged at its end.

    A figure outside its bounds fails the test once its call has ended, so that all are reported.
    """

    def __init__(self, claim: str, nodeid: str, method: str) -> None:
        self.record = ClaimRecord(claim, nodeid, method)
        """What has been noted so far."""

    @property
    def modelled(self) -> bool:
        """Whether joules are modelled here, so that bounds have to be wider."""
        return self.record.method == "modelled"

    def figure(
        self,
        name: str,
        value: float,
        unit: str = "",
        *,
        interval: tuple[float, float] | None = None,
        at_least: float | None = None,
        at_most: float | None = None,
        paper: str | None = None,
    ) -> Figure:
        """Note a figure in `unit` with its 95 % interval and the bounds that it must keep."""
        if any(known.name == name for known in self.record.figures):
            raise EnergyError(f"`{name}` was noted before: give each figure a name of its own")
        low, high = interval or (None, None)
        noted = Figure(name, float(value), unit, low, high, at_least, at_most, paper)
        self.record = replace(self.record, figures=(*self.record.figures, noted))
        return noted

    def table(self, title: str, columns: tuple[str, ...], *rows: tuple[Cell, ...]) -> None:
        """Note a table; each row has a cell for every column."""
        for row in rows:
            if len(row) != len(columns):
                raise EnergyError(
                    f"`{title}` has {len(columns)} columns, but a row of {len(row)} cells: "
                    f"{row!r}; give one for each"
                )
        noted = Table(title, columns, rows)
        self.record = replace(self.record, tables=(*self.record.tables, noted))

    def plot(self, plot: Plot) -> None:
        """Note a plot."""
        self.record = replace(self.record, plots=(*self.record.plots, plot))


def _broken(figure: Figure) -> str:
    bounds = []
    if figure.at_least is not None:
        bounds.append(f"at least {figure.at_least:.4g}")
    if figure.at_most is not None:
        bounds.append(f"at most {figure.at_most:.4g}")
    unit = f" {figure.unit}" if figure.unit else ""
    return f"`{figure.name}` is {figure.value:.4g}{unit}; claimed is {' and '.join(bounds)}"
