"""Figures of many sessions sorted into series: one of each figure, work and place of a card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby

from pytest_energy.history.figures import Figure
from pytest_energy.history.series import Point, Series

PADDING_VARIES = 1e-3
"""Relative spread of padding overheads from which J/real token is a series of its own."""


@dataclass
class _Gathered:
    """What came in of one figure; `latest` has the newest one's levels, `session` came in last."""

    latest: Figure
    session: str = ""
    points: list[Point] = field(default_factory=list)


class _Shared:
    """One object of equal texts and environments, since they repeat in every session."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._environments: dict[str, Mapping[str, str]] = {}

    def text(self, value: str | None) -> str | None:
        return None if value is None else self._texts.setdefault(value, value)

    def environment(self, text: str) -> Mapping[str, str]:
        if text not in self._environments:
            self._environments[text] = json.loads(text)
        return self._environments[text]


def collect(figures: Iterable[Figure]) -> list[Series]:
    """The series of all figures, oldest session first; of each figure the newest work alone.

    A card that begins where another has ended continues its series, so that a change of cards is
    seen; cards that are in use at the same time have a series each.
    """
    shared = _Shared()
    gathered: dict[tuple[object, ...], _Gathered] = {}
    for figure in figures:
        key = (figure.hardware, figure.metric, figure.id, figure.workload, figure.tokens)
        entry = gathered.setdefault(key, _Gathered(figure))
        if entry.session == figure.session:
            continue  # a session counts once, however many of its tests measured the same
        entry.session = figure.session
        entry.points.append(_point(figure, shared))
        if figure.date >= entry.latest.date:
            entry.latest = figure
    found: list[Series] = []
    for entry in _newest_work(gathered.values()):
        for chain in _chains(entry.points):
            found += _series(entry.latest, chain)
    return sorted(found, key=lambda one: (one.hardware, one.id, one.metric, one.device or ""))


def _point(figure: Figure, shared: _Shared) -> Point:
    return Point(
        date=figure.date,
        value=figure.value,
        commit=shared.text(figure.commit),
        device=shared.text(figure.device),
        mean_watts=figure.mean_watts,
        tokens_per_second=figure.tokens_per_second,
        padding_overhead=figure.padding_overhead,
        environment=shared.environment(figure.environment),
    )


def _newest_work(entries: Iterable[_Gathered]) -> list[_Gathered]:
    """Figures of other batches, models or data cannot be compared: the newest work counts."""
    newest: dict[tuple[str, str, str], _Gathered] = {}
    for entry in entries:
        latest = entry.latest
        name = (latest.hardware, latest.metric, latest.id)
        if name not in newest or newest[name].latest.date < latest.date:
            newest[name] = entry
    return list(newest.values())


def _chains(points: list[Point]) -> list[list[Point]]:
    """The points of each card, joined where one card took another's place."""
    by_device = sorted(points, key=lambda point: (point.device or "", point.date))
    cards = [list(card) for _, card in groupby(by_device, key=lambda point: point.device or "")]
    chains: list[list[Point]] = []
    for card in sorted(cards, key=lambda card: card[0].date):
        ended = [chain for chain in chains if chain[-1].date < card[0].date]
        if ended:
            max(ended, key=lambda chain: chain[-1].date).extend(card)
        else:
            chains.append(card)
    return chains


def _series(latest: Figure, points: list[Point]) -> list[Series]:
    """The series, and J/real token beside J/token where padding is not always the same."""
    one = Series(
        hardware=latest.hardware,
        metric=latest.metric,
        id=latest.id,
        unit=latest.unit,
        points=tuple(points),
        workload=latest.workload,
        baseline=latest.baseline,
        tolerance=latest.tolerance,
        method=latest.method,
    )
    paddings = [point.padding_overhead for point in points if point.padding_overhead]
    if latest.metric != "joules_per_token" or len(paddings) < len(points):
        return [one]
    if max(paddings) / min(paddings) - 1 <= PADDING_VARIES:
        return [one]
    real = tuple(replace(p, value=p.value * (p.padding_overhead or 1.0)) for p in points)
    other = replace(
        one, metric="joules_per_real_token", unit="J/real token", points=real, baseline=None
    )
    return [one, other]
