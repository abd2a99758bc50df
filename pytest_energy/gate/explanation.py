"""Why J/token changed: power, throughput and padding, exactly; then what else is different.

The reference load says whether the device moved as well, or the code alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, stdev
from typing import Any, Literal

from pytest_energy.errors import EnergyError
from pytest_energy.stats.distributions import f_quantile
from pytest_energy.units import listed, percent

Cause = Literal["power", "throughput", "padding"]

_SAME = 0.005  # relative: a part that moved less is called the same
_SHOWN = 4
_NAMES: Mapping[Cause, str] = {
    "power": "power",
    "throughput": "tokens/s (throughput)",
    "padding": "padding",
}
_SUFFIXES = (("_watts", " W"), ("_mhz", " MHz"), ("_celsius", " °C"), ("_bytes", " bytes"))

# What most often moves each part, likeliest first; a name counts if it contains the word.
_ALWAYS = ("gpu", "device", "meter")
_LIKELY: Mapping[Cause, tuple[str, ...]] = {
    "power": ("power_limit", "power", "clock", "mhz", "precision", "dtype", "attention", "attn",
              "driver", "cuda", "torch", "transformers"),
    "throughput": ("attention", "attn", "precision", "dtype", "torch", "transformers", "cuda",
                   "driver", "clock", "mhz", "power_limit", "power"),
    "padding": ("padding", "batch", "tokenizers", "transformers", "datasets", "torch", "attention",
                "attn", "precision", "dtype"),
}  # fmt: skip


@dataclass(frozen=True)
class Operating:
    """How the device ran: mean power (W), processed tokens per second (1/s).

    `padding_overhead` is processed over real tokens, given if energy a real token is explained.
    """

    mean_watts: float
    tokens_per_second: float
    padding_overhead: float | None = None

    @classmethod
    def at(
        cls, joules_per_token: float, tokens_per_second: float, padding_overhead: float | None
    ) -> Operating:
        """How a device ran that took so many joules a token: what is explained is their change."""
        watts = joules_per_token * tokens_per_second
        return cls(watts, tokens_per_second, padding_overhead)

    def __post_init__(self) -> None:
        for name in ("mean_watts", "tokens_per_second", "padding_overhead"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise EnergyError(
                    f"`{name}` is {value}, but must be positive and finite to explain a change; "
                    f"leave the session out, or record it again"
                )


@dataclass(frozen=True)
class Explanation:
    """What a change comes of; `differences` are all in the environment, likeliest first."""

    differences: tuple[str, ...]
    sentence: str


def explain(
    baseline: Operating,
    current: Operating,
    old_environment: Mapping[str, Any],
    new_environment: Mapping[str, Any],
) -> Explanation:
    """Say why J/token, or J/real token if both paddings are known, differs from the baseline.

    The factors multiply: 1 + change = (1 + power) * (1 + padding) / (1 + throughput).
    """
    logs: dict[Cause, float] = {
        "power": math.log(current.mean_watts / baseline.mean_watts),
        "throughput": math.log(current.tokens_per_second / baseline.tokens_per_second),
    }
    if baseline.padding_overhead is not None and current.padding_overhead is not None:
        logs["padding"] = math.log(current.padding_overhead / baseline.padding_overhead)
    change = math.expm1(logs["power"] - logs["throughput"] + logs.get("padding", 0.0))
    largest = max(logs, key=lambda name: abs(logs[name]))
    known = bool(old_environment and new_environment)
    differences = _differences(old_environment, new_environment, largest) if known else ()
    unit = "J/real token" if "padding" in logs else "J/token"
    parts = ", ".join(_part(name, moved) for name, moved in logs.items())
    same = "same environment" if known else "environment not recorded"
    around = listed(differences, _SHOWN) or same
    return Explanation(differences, f"{percent(change, signed=True)} {unit}: {parts}; {around}.")


def _part(name: Cause, log: float) -> str:
    moved = math.expm1(log)
    same = abs(moved) < _SAME
    return f"same {name}" if same else f"{percent(moved, signed=True)} {_NAMES[name]}"


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], cause: Cause) -> tuple[str, ...]:
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    names.sort(key=lambda name: (_rank(name, cause), name))
    return tuple(
        f"{_title(name)} {_value(name, old.get(name))} -> {_value(name, new.get(name))}"
        for name in names
    )


def _rank(name: str, cause: Cause) -> int:
    words = _ALWAYS + _LIKELY[cause]
    return next((rank for rank, word in enumerate(words) if word in name.lower()), len(words))


def _title(name: str) -> str:
    for suffix, _ in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name.replace("_", " ")


def _value(name: str, value: Any) -> str:
    if value is None:
        return "none"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text + next((unit for suffix, unit in _SUFFIXES if name.endswith(suffix)), "")


FEWEST = 3
"""Sessions, or days of a baseline, with the load that it takes at least."""
CERTAIN = 3.0
"""Standard errors beyond which the load has moved."""

_WITHIN = 0.9973  # how often a normal value is within so many of them


@dataclass(frozen=True)
class LoadChange:
    """By which fraction the load's joules moved, and the standard error of that."""

    change: float
    error: float

    @classmethod
    def between(cls, before: Sequence[float], after: Sequence[float]) -> LoadChange | None:
        """From the joules of sessions to those of later ones; None if they are too few."""
        if min(len(before), len(after)) < FEWEST:
            return None
        gap, errors = _medians(before, after)
        return cls(math.expm1(gap), math.hypot(*errors))

    @classmethod
    def of_session(cls, days: Sequence[float], joules: float) -> LoadChange | None:
        """From the joules of a baseline's days to those of one session; None if they are few.

        The session varies as they do. The error of so few is wider, as Student's t has it.
        """
        if len(days) < FEWEST:
            return None
        spread = stdev(map(math.log, days))
        gap, (error, _) = _medians(days, [joules] * 2)
        wider = math.sqrt(f_quantile(_WITHIN, 1, len(days) - 1)) / CERTAIN
        return cls(math.expm1(gap), wider * math.hypot(spread, error))

    @property
    def has_moved(self) -> bool:
        """Whether it moved by more than by chance."""
        return abs(self.change) > CERTAIN * self.error

    def sentence(self, of: float, device: str) -> str | None:
        """What it says of a figure that changed by `of` (relative), on a `device`, in words.

        None if it cannot tell: its own error is as large as half the figure's change.
        """
        size = f"{percent(abs(self.change))} {'more' if self.change > 0 else 'less'}"
        if self.has_moved and self.change * of > 0:
            whole = abs(self.change) >= abs(of) / 2
            says = f"the {device}, not the code" if whole else f"the {device} has a part in it"
            return f"The reference load takes {size} as well: {says}."
        if CERTAIN * self.error > abs(of) / 2:
            return None
        says = size if self.has_moved else f"as much as before ({size})"
        return f"The reference load takes {says}: not the {device}."


def device_word(hardware: str) -> str:
    """What a device is called in sentences, by its hardware's key."""
    return "machine" if hardware == "cpu" else "card"


def _medians(before: Sequence[float], after: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """How far the medians of logarithms lie apart, and the standard error of each."""
    logs = [[math.log(joules) for joules in side] for side in (before, after)]
    old, new = (math.sqrt(math.pi / 2 / len(side)) * stdev(side) for side in logs)
    return median(logs[1]) - median(logs[0]), (old, new)
