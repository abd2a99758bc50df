"""The few numbers of a session's record that drift needs, one row a figure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pytest_energy.history.dates import in_utc
from pytest_energy.history.record import RECORD_SCHEMA
from pytest_energy.units import FRACTION

_NO_EVIDENCE = ("invalid", "missing")


class ForeignRecordError(ValueError):
    """A file is no record of a session that this version reads; says why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one session: `value` in `unit`, of the work `workload` in `tokens` a window.

    `environment` is JSON text, the same text for the same environment; `baseline` and `tolerance`
    are those of its verdict, where the baseline was a committed one.
    """

    session: str
    date: str
    hardware: str
    metric: str
    id: str
    unit: str
    value: float
    device: str | None = None
    workload: str | None = None
    tokens: int | None = None
    method: str = ""
    commit: str | None = None
    branch: str | None = None
    environment: str = "{}"
    mean_watts: float | None = None
    tokens_per_second: float | None = None
    padding_overhead: float | None = None
    baseline: float | None = None
    tolerance: float | None = None


def parse(content: bytes) -> dict[str, Any]:
    """A record's document; raises `ForeignRecordError` for what is none."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ForeignRecordError(f"no JSON ({error})") from None
    if not isinstance(document, dict) or "history" not in document:
        raise ForeignRecordError("no record of a session")
    if document["history"] != RECORD_SCHEMA:
        raise ForeignRecordError(
            f"schema {document['history']!r}, this version reads {RECORD_SCHEMA}"
        )
    return document


def figures_of(document: Mapping[str, Any]) -> list[Figure]:
    """All figures of a record; raises `ForeignRecordError` where the record is damaged."""
    try:
        return list(_figures(document))
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ForeignRecordError(f"damaged ({type(error).__name__}: {error})") from None


def _figures(document: Mapping[str, Any]) -> Iterator[Figure]:
    hardware, environment = document["hardware"], document["environment"]
    shared = {
        "session": str(document["session"]),
        "date": in_utc(_text(document["date"])),
        "hardware": _text(hardware["key"]),
        "device": _device(hardware["devices"], document.get("host")),
        "commit": document.get("commit"),
        "branch": document.get("branch"),
        "environment": json.dumps(dict(sorted(environment.items()))),
    }
    for verdict in document["verdicts"]:
        figure = _figure(verdict, shared)
        if figure is not None:
            yield figure


def _figure(verdict: Mapping[str, Any], shared: Mapping[str, Any]) -> Figure | None:
    if verdict["verdict"] in _NO_EVIDENCE or verdict.get("value") is None:
        return None
    windows = [row for row in verdict["windows"] if row["valid"]]
    metric, unit, value = _text(verdict["metric"]), _text(verdict["unit"]), verdict["value"]
    known: dict[str, Any] = {}
    own = True
    if metric.startswith("joules_per_") and windows:
        # The first metric stands for both: padding is exact, so it gives the second.
        own = metric == "joules_per_token"
        metric, unit = "joules_per_token", "J/token"
        known = _rates(windows)
        value = math.exp(fmean(math.log(row["joules"] / row["tokens"]) for row in windows))
    if not _usable(value, unit):
        return None
    # What an A/B compares with is another commit in the same session, and no accepted baseline.
    compared = own and not verdict.get("local") and not verdict.get("comparison")
    return Figure(
        metric=metric,
        id=_text(verdict["id"]),
        unit=unit,
        value=float(value),
        workload=verdict.get("workload"),
        tokens=verdict.get("tokens"),
        method=verdict.get("method") or "",
        baseline=verdict.get("baseline") if compared else None,
        tolerance=verdict.get("tolerance") if compared else None,
        **known,
        **shared,
    )


def _rates(windows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    joules, seconds, tokens, real = (
        sum(row[name] for row in windows) for name in ("joules", "seconds", "tokens", "real_tokens")
    )
    return {
        "mean_watts": joules / seconds if seconds > 0 else None,
        "tokens_per_second": tokens / seconds if seconds > 0 else None,
        "padding_overhead": tokens / real if real > 0 else None,
    }


def _usable(value: object, unit: str) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value):  # type: ignore[arg-type]
        return False
    return value < 1 if unit == FRACTION else value > 0  # type: ignore[operator]


def _device(devices: Sequence[Mapping[str, Any]], host: object) -> str | None:
    """The cards' UUIDs; a processor has none that tells it from another host's."""
    named = [device for device in devices if device.get("uuid")]
    gpus = [device["uuid"] for device in named if device["domain"].startswith("gpu")]
    if gpus or not named:
        return "+".join(gpus) or None
    return "+".join(device["uuid"] for device in named) + f"@{host}"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
