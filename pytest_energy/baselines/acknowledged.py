"""What a team has acknowledged: a figure may cost more, up to a limit and a day; pure."""

from __future__ import annotations

import datetime
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_energy.units import FRACTION, LARGEST_LEVELS, difference

LONGEST_DAYS = 366
"""An acknowledgement is for a while. What is to stay becomes the baseline."""

LONGEST_TEXT = 500
"""Characters of a reason, or of a name."""

KINDS: dict[str, Any] = {
    "metric": str,
    "id": str,
    "up_to": float,
    "until": str,
    "reason": str,
    "by": str,
    "date": str,
}
DAYS = ("until", "date")
NEEDED = ("metric", "id", "up_to", "until", "reason")


@dataclass(frozen=True)
class Acknowledgement:
    """A figure may be worse than its baseline by `up_to` until the end of a day.

    `up_to` is a fraction, of savings points of the saved one. `until` and `date`, the day of the
    acknowledgement, are ISO days; `by` is empty if nobody is known.
    """

    metric: str
    id: str
    up_to: float
    until: str
    reason: str
    by: str = ""
    date: str = ""

    def holds_on(self, day: datetime.date) -> bool:
        """Whether it still counts on a day (UTC)."""
        return day <= datetime.date.fromisoformat(self.until)

    @property
    def limit(self) -> str:
        """How much is acknowledged and until when, such as `4 % until 2027-01-31`."""
        unit = FRACTION if self.metric == "savings" else ""
        return f"{difference(self.up_to, unit, signed=False)} until {self.until}"

    @property
    def sentence(self) -> str:
        """The limit, who acknowledged it, and why."""
        by = f" by {self.by}" if self.by else ""
        return f"up to {self.limit}{by} ({self.reason})"


def faults_of(values: Mapping[str, Any], given: Container[str]) -> Iterator[str]:
    """All that is wrong with values of `KINDS`; names that are `given` are not missed."""
    for name in NEEDED:
        if name not in given:
            yield f"has no `{name}`; acknowledge it anew, or remove the table"
    up_to, most = values.get("up_to"), LARGEST_LEVELS["tolerance"]
    if up_to is not None and not 0 < up_to <= most:
        yield (
            f"has `up_to` {up_to:g}; write a fraction above 0 and at most {most:g}, such as 0.04 "
            "for 4 %"
        )
    for name in DAYS:
        if not _is_day(values.get(name)):
            yield f"has a `{name}` that is no day such as 2027-01-31"
    for name in ("reason", "by"):
        if len(values.get(name, "")) > LONGEST_TEXT:
            yield f"has a `{name}` of more than {LONGEST_TEXT} characters"
    if not values.get("reason", "said elsewhere").strip():
        yield "has an empty `reason`; say why, so that others know"


def _is_day(text: str | None) -> bool:
    try:
        return text is None or bool(datetime.date.fromisoformat(text))
    except ValueError:
        return False


def as_table(stated: Acknowledgement) -> dict[str, Any]:
    """The same in the order of `KINDS`, without what is empty; the days are still text."""
    return {name: value for name in KINDS if (value := getattr(stated, name)) != ""}
