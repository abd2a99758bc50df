"""What carries a change of time a token: two profiles side by side, and the sentence on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from pytest_energy.documents import NotNegative, Positive
from pytest_energy.metering.profile import Part, Profile
from pytest_energy.units import percent

MOST_ROWS = 20
"""Operators, modules and kernels, each, that are kept of two profiles."""

_MOST_NAMED, _MOST_NEW = 2, 10
_NOTHING = 0.01
"""Relative: time that moved less is called the same."""
_EXPLAINS = 0.25
"""Share of a figure's change that its time must have moved by, to explain it."""
_CARRIES, _MOSTLY = 0.2, 0.5
"""Share of the change of time that is named alone, and that is most of it."""
_LARGE = 0.01
"""Share of the time from which an operator tells how all of them moved alike."""
_LEAST_ALIKE, _ALIKE = 3, 0.02
_TOGETHER, _MOST = 0.25, 0.75
"""Operators moved alike if most of them lie within so much of what the middle one moved."""
_TIMES = 3.0
"""From here on a part's time is told as a multiple."""


@dataclass(frozen=True)
class Row:
    """A part of both sides: seconds a token, and calls a step; 0 where a side lacks it."""

    name: str
    base: NotNegative
    head: NotNegative
    base_calls: NotNegative | None = None
    head_calls: NotNegative | None = None

    @property
    def moved(self) -> float:
        """How much longer the head takes (s a token)."""
        return self.head - self.base


@dataclass(frozen=True)
class ProfileChange:
    """Both sides' time a token (s) under the profiler, and its parts, the longest first.

    `came` and `went` name operators, or a device's kernels, that one side alone has. `attention`
    is called by how each side computes it. `alike` is by what factor, relative, all operators
    moved together, as they do at another clock; `sentence` says what carries the change.
    """

    clock: Literal["device", "host"]
    base: Positive
    head: Positive
    phases: tuple[Row, ...]
    operators: tuple[Row, ...]
    modules: tuple[Row, ...] = ()
    kernels: tuple[Row, ...] = ()
    came: tuple[str, ...] = ()
    went: tuple[str, ...] = ()
    attention: Row | None = None
    alike: float = 0.0
    sentence: str = ""


def compared(base: Profile, head: Profile, change: float) -> ProfileChange:
    """What carries a figure's `change` (relative) from base to head, by their profiles."""
    operators = _rows(base.operators, head.operators)
    modules = _rows(base.modules, head.modules)
    kernels = _rows(base.kernels, head.kernels)
    attention = _attention(base.attention, head.attention)
    alike = _alike(operators, base.seconds, head.seconds / base.seconds - 1)
    gaps = [row for row in _rows(base.phases, head.phases) if row.name == "gaps"]
    account = _Account(
        base.seconds, head.seconds, change, alike, operators, modules, attention, gaps
    )
    return ProfileChange(
        clock=head.clock,
        base=base.seconds,
        head=head.seconds,
        phases=tuple(_rows(base.phases, head.phases, ordered=False)),
        operators=tuple(operators[:MOST_ROWS]),
        modules=tuple(modules[:MOST_ROWS]),
        kernels=tuple(kernels[:MOST_ROWS]),
        came=tuple(row.name for row in kernels or operators if not row.base)[:_MOST_NEW],
        went=tuple(row.name for row in kernels or operators if not row.head)[:_MOST_NEW],
        attention=attention,
        alike=alike,
        sentence=account.sentence(),
    )


def _rows(base: Sequence[Part], head: Sequence[Part], *, ordered: bool = True) -> list[Row]:
    # What a shortened list lacks may have been there.
    least = min(part.seconds for part in base) if len(base) == MOST_ROWS else 0.0
    old = {part.name: part for part in base}
    new = {part.name: part for part in head if part.name in old or part.seconds > least}
    rows = []
    for name in {**old, **new}:
        then, now = (parts.get(name, Part(name, 0.0, 0.0)) for parts in (old, new))
        rows.append(Row(name, then.seconds, now.seconds, then.calls, now.calls))
    return sorted(rows, key=lambda row: -max(row.base, row.head)) if ordered else rows


def _attention(base: Part | None, head: Part | None) -> Row | None:
    if base is None or head is None:
        return None
    same = base.name == head.name
    name = head.name if same else f"{base.name or 'none'} -> {head.name or 'none'}"
    return Row(name, base.seconds, head.seconds)


def _alike(operators: Sequence[Row], whole: float, all_moved: float) -> float:
    """By what all operators moved that are called as often as before; 0 if little, or apart."""
    moved = [
        row.head / row.base - 1
        for row in operators
        if row.base > _LARGE * whole and row.base_calls == row.head_calls
    ]
    if len(moved) < _LEAST_ALIKE:
        return 0.0
    middle = median(moved)
    near = max(_ALIKE, _TOGETHER * abs(middle))
    if sum(abs(each - middle) <= near for each in moved) < _MOST * len(moved):
        return 0.0
    return middle if abs(middle) > max(_ALIKE, _CARRIES * abs(all_moved)) else 0.0


@dataclass(frozen=True)
class _Account:
    """Tells a figure's change by the time of parts (s a token), beyond what all moved `alike`."""

    base: float
    head: float
    change: float
    alike: float
    operators: Sequence[Row]
    modules: Sequence[Row]
    attention: Row | None
    gaps: Sequence[Row]

    @property
    def beyond(self) -> float:
        """By how much a token takes longer beyond what all moved alike, of the base's time."""
        return self.head / self.base - 1 - self.alike

    def sentence(self) -> str:
        """What carries the change; or that nothing of the time does."""
        whole = self.head / self.base - 1
        moved = percent(abs(whole), signed=True).lstrip("+")
        text = f"Under the profiler a token takes {moved} {'more' if whole > 0 else 'less'} time"
        if self.alike:
            text += f", all operators {percent(self.alike, signed=True)} alike"
        if self._explains(self.beyond):
            named = list(self._carriers())[:_MOST_NAMED]
            found = [f"{each}, {round(100 * own, 1) + 0.0:.1f} points of it" for each, own in named]
            if found and sum(own for _, own in named) / self.beyond < _MOSTLY:
                found.append("the rest is spread over many operators")
            beyond = "; beyond that " if self.alike else ": "
            return f"{text}{beyond}{'; '.join(found) or 'no operator carries it alone'}."
        if self._explains(whole):
            return f"{text}: no operator carries it alone."
        return f"{text}: no operator explains the change."

    def _explains(self, moved: float) -> bool:
        return abs(moved) >= _NOTHING and moved / self.change >= _EXPLAINS

    def _carriers(self) -> Iterator[tuple[str, float]]:
        """The parts that carry the most of it, with what each adds; attention whole if it does."""
        if (whole := self.attention) is not None:
            another = " -> " in whole.name
            if self._share(whole) >= (_CARRIES if another else _MOSTLY):
                how = f" ({whole.name})" if another else ""
                yield f"attention {self._moved_by(whole)}{how}", self._own(whole)
                return
        parts = [(row, self._named(row)) for row in self.operators]
        parts += [(row, "the time between operators " + self._moved_by(row)) for row in self.gaps]
        for row, text in sorted(parts, key=lambda each: -self._share(each[0])):
            if self._share(row) >= _CARRIES:
                yield text, self._own(row)

    def _own(self, row: Row) -> float:
        """What a part adds to a token beyond what all moved alike, of the base's time."""
        return (row.head - row.base * (1 + self.alike)) / self.base

    def _share(self, row: Row) -> float:
        return self._own(row) / self.beyond

    def _named(self, row: Row) -> str:
        text = f"`{row.name}` {self._moved_by(row)}"
        if row.base_calls != row.head_calls:
            text += f" ({row.base_calls or 0:.3g} -> {row.head_calls or 0:.3g} calls a step)"
        place = max(self.modules, key=self._share, default=None)
        if place is not None and self._share(place) >= max(_CARRIES, _MOSTLY * self._share(row)):
            text += f", most of it in `{place.name}`"
        return text

    def _moved_by(self, row: Row) -> str:
        if not row.base:
            return "came"
        times = row.head / (row.base * (1 + self.alike))
        if times > _TIMES:
            return f"{times:.3g} times its time"
        return f"{percent(times - 1, signed=True)} of its time"
