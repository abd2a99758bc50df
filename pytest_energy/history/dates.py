"""Dates as records and baselines write them, made comparable."""

from __future__ import annotations

from datetime import datetime, timezone


def in_utc(text: str) -> str:
    """An ISO date or time as UTC in one form, which sorts as text; raises `ValueError`."""
    moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")
