"""Histories with known answers: seeded noise, and what is planted in it."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from pytest_energy.history import Point, Series
from pytest_energy.history.record import Record, make_record
from pytest_energy.results import Origin

START = datetime(2026, 1, 1, 3, 0, tzinfo=timezone.utc)
ENVIRONMENT = {"torch": "2.13.0", "driver": "580.1", "power_limit_watts": "700"}


@dataclass(frozen=True)
class Day:
    """One session: J/token, power, padding overhead, card and environment."""

    joules_per_token: float
    mean_watts: float = 500.0
    padding_overhead: float = 3.0
    device: str = "GPU-a"
    environment: Mapping[str, str] = field(default_factory=lambda: dict(ENVIRONMENT))


def days(
    count: int, *, seed: int = 1, mean: float = 0.005, noise: float = 0.004, power_share: float = 0
) -> list[Day]:
    """Sessions of unchanged code; `noise` is the relative SD between them."""
    rng = random.Random(seed)
    factors = [1 + noise * rng.gauss(0, 1) for _ in range(count)]
    return [Day(mean * f, 500.0 * f**power_share) for f in factors]


def changed(
    sessions: Sequence[Day], start: int, factor: float, *, end: int | None = None, **other: Any
) -> list[Day]:
    """Sessions with J/token multiplied from `start` on (to before `end`), and other fields set."""
    last = len(sessions) if end is None else end
    return [
        replace(day, joules_per_token=day.joules_per_token * factor, **other)
        if start <= number < last
        else day
        for number, day in enumerate(sessions)
    ]


def series(sessions: Sequence[Day], **other: Any) -> Series:
    """The series of J/token, one session a day, whose commits are `c0`, `c1`, …"""
    points = tuple(
        Point(
            date=(START + timedelta(days=number)).isoformat(timespec="milliseconds"),
            value=day.joules_per_token,
            commit=f"c{number}",
            device=day.device,
            mean_watts=day.mean_watts,
            tokens_per_second=day.mean_watts / day.joules_per_token,
            padding_overhead=day.padding_overhead,
            environment=day.environment,
        )
        for number, day in enumerate(sessions)
    )
    return Series("h200", "joules_per_token", "sst2/bert", "J/token", points, **other)


def document(day: Day, identifiers: Sequence[str] = ("sst2/bert",), windows: int = 4) -> Any:
    """What `--energy-json` would say of a session: the same J/token of every figure."""
    joules = day.joules_per_token * 250_000
    window = {
        "name": "w", "started": 0.0, "seconds": joules / day.mean_watts, "joules": joules,
        "joules_by_domain": {"gpu:0": joules}, "mean_watts": day.mean_watts,
        "uncertainty_joules": 0.1, "valid": True, "invalid_reason": None, "tokens": 250_000,
        "real_tokens": round(250_000 / day.padding_overhead), "steps": 20, "loss": 0.7,
        "method": "counter", "notes": {},
    }  # fmt: skip
    verdicts = [
        {
            "id": identifier, "nodeid": f"test_it.py::{identifier}", "metric": "joules_per_token",
            "unit": "J/token", "verdict": "within", "reason": "", "value": day.joules_per_token,
            "uncertainty": 1e-6, "net_value": None, "baseline": 0.005, "change": 0.0,
            "tolerance": 0.02, "detect": 0.05, "fails": False, "local": False, "method": "counter",
            "workload": "3f9a1c20", "tokens": 250_000, "parameters": None, "explanation": None,
            "warning": None, "windows": [window] * windows,
        }
        for identifier in identifiers
    ]  # fmt: skip
    card = {"domain": "gpu:0", "name": "NVIDIA H200", "uuid": day.device}
    return {
        "schema": 1,
        "hardware": {"key": "h200", "devices": [card]},
        "environment": dict(day.environment),
        "verdicts": verdicts,
        "run": {"joules": joules, "seconds": 10.0, "complete": True},
    }


def records(
    sessions: Sequence[Day], *, branch: str = "main", first: int = 0, **other: Any
) -> Iterator[Record]:
    """The records of sessions, one a day; those of the same number are always the same."""
    for number, day in enumerate(sessions, start=first):
        origin = Origin(f"{number:040x}", branch, False, "host", "runner")
        yield make_record(
            document(day, **other),
            origin,
            session=uuid.UUID(int=number + 1, version=4),
            now=START + timedelta(days=number),
        )
