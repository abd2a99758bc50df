"""What a team has acknowledged: a figure may cost more, up to a limit and a day; pure."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
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


def from_table(values: Mapping[str, Any]) -> Acknowledgement:
    """The acknowledgement that a table of `KINDS` states; `ValueError` says what is wrong."""
    for name in NEEDED:
        if name not in values:
            raise ValueError(f"has no `{name}`; acknowledge it anew, or remove the table")
    if not 0 < values["up_to"] <= LARGEST_LEVELS["tolerance"]:
        raise ValueError(
            f"has `up_to` {values['up_to']:g}; write a fraction above 0 and at most "
            f"{LARGEST_LEVELS['tolerance']:g}, such as 0.04 for 4 %"
        )
    for name in DAYS:
        if name in values:
            try:
                datetime.date.fromisoformat(values[name])
            except ValueError:
                raise ValueError(f"has a `{name}` that is no day such as 2027-01-31") from None
    for name in ("reason", "by"):
        if len(values.get(name, "")) > LONGEST_TEXT:
            raise ValueError(f"has a `{name}` of more than {LONGEST_TEXT} characters")
    if not values["reason"].strip():
        raise ValueError("has an empty `reason`; say why, so that others know")
    return Acknowledgement(**values)


def as_table(stated: Acknowledgement) -> dict[str, Any]:
    """The same in the order of `KINDS`, without what is empty; the days are still text."""
    return {name: value for name in KINDS if (value := getattr(stated, name)) != ""}
