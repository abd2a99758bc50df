"""What a record of a session says: its measurements, checked, and dates that can be compared."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import cache
from itertools import pairwise
from statistics import fmean
from typing import Any

from pytest_energy.clocks import real_time
from pytest_energy.documents import (
    LARGEST,
    SMALLEST,
    AnyFloat,
    Count,
    FaultyDocumentError,
    NotNegative,
    other_schema,
    parse_json,
    shown,
)
from pytest_energy.documents.records import converted, named
from pytest_energy.meters.protocol import has_gpu
from pytest_energy.outcomes import NO_EVIDENCE
from pytest_energy.units import FRACTION

RECORD_SCHEMA = 1

CLOCKS_DIFFER = timedelta(days=1)
"""How far ahead of this machine's clock another one may be."""


def in_utc(text: str) -> str:
    """An ISO date or time as UTC in one form, which sorts as text; raises `ValueError`."""
    moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    try:
        return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")
    except OverflowError as error:  # at either end of the calendar
        raise ValueError(str(error)) from None


FAR = timedelta(days=730)
"""A session so long before the next one was dated by a clock that nobody had set."""
APART = timedelta(days=90)
USUAL_GAPS = 30
"""How far a few sessions lie from all others at least, also in gaps usual between sessions, to be
out of place."""
FEW = 3


def out_of_place(
    hardware: str, sessions: Mapping[str, str], warn: Callable[[str], None]
) -> frozenset[str]:
    """The dates of a hardware's sessions that lie far from the others.

    `sessions` are by date; `warn` is told of each. The newest are never among them: a history may
    rest for a while, and dates that are still to come are refused elsewhere.
    """
    dates = sorted(sessions)
    moments = [datetime.fromisoformat(date) for date in dates]
    gaps = [later - sooner for sooner, later in pairwise(moments)]
    if not gaps:
        return frozenset()
    apart = max(APART, USUAL_GAPS * sorted(gaps)[len(gaps) // 2])
    found: list[str] = []
    begin = 0
    for number, gap in enumerate(gaps, start=1):
        unset = gap > FAR and number <= (len(dates) - 1) // 2
        if gap > apart or unset:
            if number - begin < FEW or unset:
                found += dates[0 if unset else begin : number]
            begin = number
    for date in dict.fromkeys(found):
        warn(
            f"session `{sessions[date]}` of `{hardware}`: dated {date[:10]}, far from all others: "
            "set the clock of the machine that wrote it if that is not when it was; left out"
        )
    return frozenset(found)


class ForeignRecordError(ValueError):
    """A file is no record of a session that this version reads; says why."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A figure in one session: `value` in `unit`, of the work `workload` in `tokens` a window.

    `environment` is JSON text, the same text for the same environment; `baseline` and `tolerance`
    are those of its verdict, if the baseline was a committed one.
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
    tokens: Count | None = None
    method: str = ""
    commit: str | None = None
    branch: str | None = None
    environment: str = "{}"
    mean_watts: NotNegative | None = None
    tokens_per_second: NotNegative | None = None
    padding_overhead: NotNegative | None = None
    baseline: float | None = None
    tolerance: NotNegative | None = None


@dataclass(slots=True)
class _Device:
    domain: str
    uuid: str | None = None


@dataclass(slots=True)
class _Hardware:
    key: str
    devices: tuple[_Device, ...]


@dataclass(slots=True)
class _Window:
    """What a measurement needs of a window."""

    valid: bool
    joules: float
    seconds: NotNegative
    tokens: Count
    real_tokens: Count


@dataclass(slots=True)
class _Verdict:
    """What a measurement needs of a verdict."""

    outcome: str = field(metadata=named("verdict"))
    id: str
    metric: str
    unit: str
    windows: tuple[_Window, ...]
    value: AnyFloat | None = None
    workload: str | None = None
    tokens: Count | None = None
    method: str | None = None
    baseline: float | None = None
    tolerance: NotNegative | None = None
    local: bool = False
    comparison: dict[str, Any] | None = None


@dataclass(slots=True)
class _Session:
    """What measurements need of a record."""

    session: str
    date: str
    hardware: _Hardware
    environment: dict[str, str]
    verdicts: tuple[_Verdict, ...]
    host: str | None = None
    commit: str | None = None
    branch: str | None = None


def parse(content: bytes) -> dict[str, Any]:
    """A record's document; raises `ForeignRecordError` for what is none."""
    try:
        document = parse_json(content)
    except FaultyDocumentError as error:
        raise ForeignRecordError(str(error)) from None
    if not isinstance(document, dict) or "history" not in document:
        raise ForeignRecordError("no record of a session")
    if document["history"] != RECORD_SCHEMA:
        told = other_schema(document["history"], RECORD_SCHEMA, "record sessions anew with it")
        raise ForeignRecordError(f"schema {told}")
    return document


def measurements_of(document: Mapping[str, Any]) -> list[Measurement]:
    """All measurements of a record; raises `ForeignRecordError` if the record is damaged."""
    try:
        record = converted(_Session, document)
        shared = {
            "session": record.session,
            "date": past(record.date),
            "hardware": record.hardware.key,
            "device": _device(record.hardware.devices, record.host),
            "commit": record.commit,
            "branch": record.branch,
            "environment": json.dumps(record.environment, sort_keys=True),
        }
        found = [_measurement(verdict, shared) for verdict in record.verdicts]
    except FaultyDocumentError as error:
        raise ForeignRecordError(f"damaged: {error}") from None
    return [one for one in found if one is not None]


def stored_measurement(row: Mapping[str, Any]) -> Measurement:
    """The measurement of a row of Parquet; raises `ForeignRecordError` if it is damaged."""
    try:
        one = converted(Measurement, row)
        environment_of(one.environment)
    except FaultyDocumentError as error:
        raise ForeignRecordError(f"damaged: {error}") from None
    if _level(one.value, one.unit) is None:
        raise ForeignRecordError(f"damaged: `value` is {one.value:g} {one.unit}")
    return replace(one, date=past(one.date), baseline=_level(one.baseline, one.unit))


@cache
def environment_of(text: str) -> Mapping[str, str]:
    """The environment that a measurement has as JSON text; one object for all that are equal."""
    return converted(dict[str, str], parse_json(text.encode()))


def past(text: str) -> str:
    """A date as of `in_utc`; raises `ForeignRecordError` for what is none, or lies ahead."""
    try:
        date = in_utc(text)
    except ValueError:
        raise ForeignRecordError(f"damaged: `date` is {shown(text)}, not a date") from None
    if is_to_come(date):
        raise ForeignRecordError(
            f"dated {date[:10]}, which is still to come: set the clock of the machine that wrote it"
        )
    return date


def is_to_come(date: str) -> bool:
    """Whether a date as of `in_utc` is later than any clock shows that is not set badly."""
    latest = real_time.utc() + CLOCKS_DIFFER
    return date > latest.isoformat(timespec="milliseconds")


def _measurement(verdict: _Verdict, shared: Mapping[str, Any]) -> Measurement | None:
    if verdict.outcome in NO_EVIDENCE or verdict.value is None:
        return None
    windows = [window for window in verdict.windows if window.valid]
    metric, unit, value = verdict.metric, verdict.unit, verdict.value
    known: dict[str, Any] = {}
    own = True
    if metric.startswith("joules_per_") and windows:
        # The first metric stands for both: padding is exact, so it gives the second.
        own = metric == "joules_per_token"
        metric, unit = "joules_per_token", "J/token"
        known = _rates(windows)
        value = math.exp(fmean(_log_joules_per_token(window) for window in windows))
    if _level(value, unit) is None:
        return None
    # What an A/B compares with is another commit in the same session, and no accepted baseline.
    compared = own and not verdict.local and verdict.comparison is None
    return Measurement(
        metric=metric,
        id=verdict.id,
        unit=unit,
        value=value,
        workload=verdict.workload,
        tokens=verdict.tokens,
        method=verdict.method or "",
        baseline=_level(verdict.baseline, unit) if compared else None,
        tolerance=verdict.tolerance if compared else None,
        **known,
        **shared,
    )


def _log_joules_per_token(window: _Window) -> float:
    if window.joules <= 0 or not window.tokens:
        raise FaultyDocumentError(
            f"a valid window has {window.joules:g} J in {window.tokens} tokens"
        )
    return math.log(window.joules / window.tokens)


def _rates(windows: Sequence[_Window]) -> dict[str, float | None]:
    joules, seconds = sum(one.joules for one in windows), sum(one.seconds for one in windows)
    tokens, real = sum(one.tokens for one in windows), sum(one.real_tokens for one in windows)
    return {
        "mean_watts": joules / seconds if seconds > 0 else None,
        "tokens_per_second": tokens / seconds if seconds > 0 else None,
        "padding_overhead": tokens / real if real > 0 else None,
    }


def _level(value: float | None, unit: str) -> float | None:
    """A figure if it can be one of a series, whose logarithms are looked at; else None."""
    low, high = (-LARGEST, 1 - 1e-9) if unit == FRACTION else (SMALLEST, LARGEST)
    return value if value is not None and low <= value <= high else None


def _device(devices: Sequence[_Device], host: str | None) -> str | None:
    """The cards' UUIDs; a processor has none that tells it from another host's."""
    gpus = [each.uuid for each in devices if each.uuid and has_gpu(each.domain)]
    others = [each.uuid for each in devices if each.uuid]
    if gpus or not others:
        return "+".join(gpus) or None
    return f"{'+'.join(others)}@{host}"
