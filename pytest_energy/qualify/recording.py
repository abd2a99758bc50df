"""What was read of a card, as a document from which all that was found can be found again."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, Final

from pytest_energy.qualify.renewals import Look
from pytest_energy.qualify.switching import LiveCard, Stretch
from pytest_energy.qualify.table import plain

SCHEMA: Final = 1
COLUMNS: Final = "differences of [before (us), after (us), mJ or mW]"
EDGES: Final = "[us, 1 on or 0 off]"


def recorded(card: LiveCard) -> bytes:
    """The document, compressed. It names the card and its driver, and not its UUID."""
    device = {**asdict(card.device), "uuid": ""}
    document = {
        "schema": SCHEMA,
        "device": device,
        "is_sharp": card.is_sharp,
        "date": card.date,
        "took_seconds": card.took_seconds(),
        "columns": COLUMNS,
        "edges": EDGES,
        "stretches": [_stretch(each) for each in card.stretches],
        "even_work": None if card.even is None else plain(asdict(card.even)),
    }
    return gzip.compress(json.dumps(document, separators=(",", ":")).encode(), mtime=0)


def _stretch(stretch: Stretch) -> dict[str, Any]:
    return {
        "edges": [[_millionths(edge.seconds), int(edge.on)] for edge in stretch.edges],
        "energy": _differences(stretch.looks.energy),
        "power": _differences(stretch.looks.power),
    }


def _differences(looks: Iterable[Look]) -> list[list[int]]:
    rows: Sequence[tuple[int, int, int]] = [
        (_millionths(each.before), _millionths(each.after), round(1e3 * each.value))
        for each in looks
    ]
    return [[b - a for a, b in zip(*pair, strict=True)] for pair in pairwise([(0, 0, 0), *rows])]


def _millionths(seconds: float) -> int:
    return round(1e6 * seconds)
