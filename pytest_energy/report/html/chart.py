"""A chart as Plotly takes it, of builtin types alone; colours are names that the page resolves."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Trace: TypeAlias = "dict[str, Any]"

PALETTE = ("series-1", "series-2", "series-3", "series-4", "series-5", "series-6")
"""Colours of series in order; the stylesheet has a light and a dark one for each."""


@dataclass(frozen=True)
class Chart:
    """One plot with its caption; `data` and `layout` are Plotly's, `key` is unique in a page."""

    key: str
    title: str
    data: tuple[Trace, ...]
    layout: dict[str, Any]
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """What the page's script draws; figures that JSON has no word for become gaps."""
        drawn: dict[str, Any] = _finite({"data": list(self.data), "layout": self.layout})
        return drawn


def colour(name: str, alpha: float = 1.0) -> str:
    """A colour of the page's stylesheet, by the name of its variable."""
    return f"@{name}" if alpha == 1.0 else f"@{name}/{alpha:g}"


def plain(text: str) -> str:
    """Text from tests and files as Plotly shows it literally: it reads a little HTML itself."""
    # Between dollars it would look for formulas.
    return html.escape(" ".join(text.split()), quote=False).replace("$", "&#36;")


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis that a finger on a phone scrolls past instead of zooming."""
    return {"title": {"text": title}, "fixedrange": True, "zeroline": False, **more}


def layout(x: dict[str, Any], y: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A layout of two axes; the page's script adds what all charts share."""
    return {"xaxis": x, "yaxis": y, **more}


def line(name: str, x: Sequence[Any], y: Sequence[Any], shade: str, **more: Any) -> Trace:
    """A line with marks."""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": plain(name),
        "x": list(x),
        "y": list(y),
        "line": {"color": colour(shade), "width": 2},
        "marker": {"color": colour(shade), "size": 6},
        **more,
    }


def marks(name: str, x: Sequence[Any], y: Sequence[Any], shade: str, **more: Any) -> Trace:
    """Marks alone."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plain(name),
        "x": list(x),
        "y": list(y),
        "marker": {"color": colour(shade), "size": 7},
        **more,
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
