"""Arguments of `@pytest.mark.energy`, checked by name. PYTEST_DONT_REWRITE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import pytest


@dataclass(frozen=True)
class EnergyMarker:
    """Arguments of `@pytest.mark.energy`; levels come in percent and are kept as fractions."""

    max_joules: float | None = None
    tolerance: float | None = None
    detect: float | None = None
    tokens: int | None = None
    max_windows: int | None = None

    @classmethod
    def from_item(cls, item: pytest.Item) -> EnergyMarker:
        """The nearest marker's arguments over the outer ones'; unknown names are refused."""
        arguments: dict[str, Any] = {}
        for marker in reversed(list(item.iter_markers("energy"))):
            if marker.args:
                raise pytest.UsageError(
                    f"`@pytest.mark.energy` on `{item.nodeid}` takes arguments by name only; "
                    f"write `max_joules={marker.args[0]!r}`"
                )
            arguments.update(marker.kwargs)
        return cls.from_arguments(arguments, item.nodeid)

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any], where: str) -> EnergyMarker:
        """Check names and values; raises `pytest.UsageError` naming the argument and the test."""
        known = [field.name for field in fields(cls)]
        for name, value in arguments.items():
            if name not in known:
                raise pytest.UsageError(
                    f"`{name}` on `{where}` is no argument of `@pytest.mark.energy`; "
                    f"it knows {', '.join(f'`{k}`' for k in known)}"
                )
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            least = 1 if name in ("tokens", "max_windows") else 0
            if not number or not least <= value < float("inf") or value == 0:
                raise pytest.UsageError(
                    f"`{name}={value!r}` on `{where}` is no positive number; "
                    f"give joules, percent or a count above 0"
                )
        percent = {k: arguments[k] / 100 for k in ("tolerance", "detect") if k in arguments}
        counts = {k: int(arguments[k]) for k in ("tokens", "max_windows") if k in arguments}
        return cls(**{**arguments, **percent, **counts})
