"""Why J/token changed: power, throughput and padding, exactly; then what else is different."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pytest_energy.errors import EnergyError
from pytest_energy.units import percent

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
    around = _listed(differences) if known else "environment not recorded"
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


def _listed(differences: tuple[str, ...]) -> str:
    if not differences:
        return "same environment"
    more = len(differences) - _SHOWN
    shown = ", ".join(differences[:_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
