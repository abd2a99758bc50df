"""What a benchmark of a claim found: figures with their bounds, tables and plots."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pytest_energy.documents import LARGEST, AnyFloat, shown
from pytest_energy.errors import EnergyError
from pytest_energy.units import quantity

Cell: TypeAlias = str | int | AnyFloat | None


@dataclass(frozen=True)
class Figure:
    """One figure of a claim, in `unit`; `low` and `high` are its 95 % interval.

    `at_least` and `at_most` are the bounds that it must keep, None if nothing is asserted;
    `paper` is the paper's figure with its mark, such as `0.997 (derived)`. `doubt` says why
    nothing can be asserted here; without one there is a value. What other work on the machine
    cannot move is `exact`.
    """

    name: str
    value: AnyFloat | None
    unit: str = ""
    low: AnyFloat | None = None
    high: AnyFloat | None = None
    at_least: AnyFloat | None = None
    at_most: AnyFloat | None = None
    paper: str | None = None
    doubt: str | None = None
    exact: bool = False

    @property
    def bounds(self) -> tuple[float, ...]:
        """The bounds that there are."""
        return tuple(bound for bound in (self.at_least, self.at_most) if bound is not None)

    @property
    def outcome(self) -> str:
        """`holds`, `fails`, `not testable`, or `measured` if it has no bound. NaN keeps none."""
        if self.doubt is not None or self.value is None:
            return "not testable"
        if not self.bounds:
            return "measured"
        above = self.at_least is None or self.value >= self.at_least
        below = self.at_most is None or self.value <= self.at_most
        return "holds" if above and below else "fails"


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
    strict: bool = False
    """Whether the test fails for a figure that is not testable, as in CI."""

    @property
    def fails(self) -> bool:
        """Whether the test fails for it."""
        return self.outcome == "fails" or (self.strict and self.outcome == "not testable")

    @property
    def outcome(self) -> str:
        """`fails`, `not testable` or `holds`, the first that a figure is; else `measured`."""
        found = {figure.outcome for figure in self.figures}
        return next((one for one in ("fails", "not testable", "holds") if one in found), "measured")

    @property
    def reason(self) -> str:
        """The figures that break their bounds or can't be tested, in one sentence; may be empty."""
        told = {"fails": _broken, "not testable": _doubtful}
        return "; ".join(told[f.outcome](f) for f in self.figures if f.outcome in told)


class EnergyClaim:
    """What a test of a claim holds: it notes figures, tables and plots, and is judged at its end.

    A figure outside its bounds fails the test once its call has ended, so that all are reported.
    One that is not testable here skips it, or fails it if `CI` is set or with `--energy-strict`.
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
        value: float | None,
        unit: str = "",
        *,
        interval: tuple[float, float] | None = None,
        at_least: float | None = None,
        at_most: float | None = None,
        paper: str | None = None,
        doubt: str | None = None,
        exact: bool = False,
        by_interval: bool = False,
    ) -> Figure:
        """Note a figure in `unit` with its 95 % interval and the bounds that it must keep.

        It is not testable if there is a `doubt` or, `by_interval`, if a bound lies within the
        interval, so that chance decides. Only a figure with a `doubt` may have no value. Numbers
        may be of any library, such as `numpy.float64`.
        """
        name, doubt = str(name), str(doubt) if doubt else None
        if value is None and doubt is None:
            raise EnergyError(f"`{name}` has no value: give one, or say why not in `doubt`")
        if any(known.name == name for known in self.record.figures):
            raise EnergyError(f"`{name}` was noted before: give each figure a name of its own")
        low, high = _ends(interval, f"`{name}`")
        noted = Figure(
            name,
            _optional(value, f"`{name}`"),
            str(unit),
            low,
            high,
            _optional(at_least, f"`at_least` of `{name}`"),
            _optional(at_most, f"`at_most` of `{name}`"),
            None if paper is None else str(paper),
            doubt,
            bool(exact),
        )
        if by_interval and doubt is None:
            noted = replace(noted, doubt=_straddled(noted))
        self.record = replace(self.record, figures=(*self.record.figures, noted))
        return noted

    @property
    def has_noted(self) -> bool:
        """Whether there is anything to report."""
        return bool(self.record.figures or self.record.tables or self.record.plots)

    def disturbed(self, reason: str) -> None:
        """Take back what was asserted of all figures but exact ones: `reason` moved them."""
        self._doubt(reason, exact=False)

    def interrupted(self) -> None:
        """Take back what was asserted of all figures: the test was interrupted."""
        self._doubt("the test was interrupted", exact=True)

    def _doubt(self, reason: str, *, exact: bool) -> None:
        """Take back what was asserted, also of figures that are exact, if so."""
        figures = (
            replace(figure, doubt=figure.doubt or reason)
            if figure.bounds and (exact or not figure.exact)
            else figure
            for figure in self.record.figures
        )
        self.record = replace(self.record, figures=tuple(figures))

    def table(self, title: str, columns: tuple[str, ...], *rows: tuple[Cell, ...]) -> None:
        """Note a table; each row has a cell for every column: text, a number of any library, None.

        Raises `EnergyError` for another one.
        """
        title, columns = str(title), tuple(map(str, columns))
        for row in rows:
            if len(row) != len(columns):
                raise EnergyError(
                    f"`{title}` has {len(columns)} columns, but a row of {len(row)} cells: "
                    f"{row!r}; give one for each"
                )
        cells = (tuple(_cell(each, f"a cell of `{title}`") for each in row) for row in rows)
        noted = Table(title, columns, tuple(cells))
        self.record = replace(self.record, tables=(*self.record.tables, noted))

    def plot(self, plot: Plot) -> None:
        """Note a plot; its points may be numbers of any library."""
        self.record = replace(self.record, plots=(*self.record.plots, _plain_plot(plot)))


def _plain_plot(plot: Plot) -> Plot:
    """The plot in builtin types; raises `EnergyError` for points that are none."""
    series = tuple(
        Series(str(one.name), _plain_points(one.points, f"`{one.name}`"), bool(one.line))
        for one in plot.series
    )
    names = (str(plot.title), str(plot.x_name), str(plot.y_name))
    return Plot(*names, series, bool(plot.logarithmic))


def _plain_points(points: Iterable[Any], name: str) -> tuple[tuple[float, float], ...]:
    found = []
    for point in points:
        try:
            x, y = point
        except (TypeError, ValueError):
            raise EnergyError(f"{name} has {shown(point)} for a point: give (x, y)") from None
        what = f"a point of {name}"
        found.append((_number(x, what), _number(y, what)))
    return tuple(found)


def _straddled(figure: Figure) -> str | None:
    """Why a figure may have kept or broken a bound by luck; None if it has no interval.

    NaN keeps no bound, whatever its interval.
    """
    if figure.low is None or figure.high is None:
        return None
    if figure.value is not None and math.isnan(figure.value):
        return None
    for bound in figure.bounds:
        if figure.low < bound < figure.high:
            interval = (
                f"{quantity(figure.low, figure.unit)} to {quantity(figure.high, figure.unit)}"
            )
            return (
                f"its bound of {quantity(bound, figure.unit)} lies within its 95 % interval, "
                f"{interval}"
            )
    return None


def _doubtful(figure: Figure) -> str:
    found = "" if figure.value is None else f" is {quantity(figure.value, figure.unit)}"
    return f"`{figure.name}`{found}: {figure.doubt}"


def _broken(figure: Figure) -> str:
    bounds = []
    if figure.at_least is not None:
        bounds.append(f"at least {figure.at_least:.4g}")
    if figure.at_most is not None:
        bounds.append(f"at most {figure.at_most:.4g}")
    unit = f" {figure.unit}" if figure.unit else ""
    return f"`{figure.name}` is {figure.value:.4g}{unit}; claimed is {' and '.join(bounds)}"


def _number(value: Any, what: str) -> float:
    """A float of what can be one; raises `EnergyError` that names `what`."""
    if not isinstance(value, (str, bytes)):
        try:
            return float(value)
        except Exception:  # other libraries raise what they like
            pass
    raise EnergyError(f"{what} is {shown(value)}, which is no number: give a float")


def _optional(value: Any, what: str) -> float | None:
    """The same, or None."""
    return None if value is None else _number(value, what)


def _ends(interval: Any, what: str) -> tuple[float | None, float | None]:
    """Both ends of an interval, None if there is none."""
    if interval is None:
        return None, None
    try:
        low, high = interval
    except (TypeError, ValueError):
        raise EnergyError(
            f"`interval` of {what} is {shown(interval)}: give its two ends, such as `(0.5, 2.0)`"
        ) from None
    return _number(low, f"`interval` of {what}"), _number(high, f"`interval` of {what}")


def _cell(value: Any, what: str) -> str | int | float | None:
    """A table's cell; whole numbers stay whole as far as a document holds them."""
    if value is None:
        return None
    if isinstance(value, (str, bool)):
        return str(value)
    try:
        whole = operator.index(value)
    except Exception:  # such as of a float, or of an array
        return _number(value, what)
    return whole if abs(whole) <= LARGEST else _number(whole, what)
