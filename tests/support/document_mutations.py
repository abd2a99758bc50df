"""Documents with faults: real ones whose values are exchanged, dropped, or cut as text."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st

MANY = int(os.environ.get("PYTEST_ENERGY_MUTATIONS", "0"))
"""Mutations of each test, as `make fuzz` asks for them; a few seconds' worth otherwise."""

PART = int(os.environ.get("PYTEST_ENERGY_MUTATIONS_PART", "0"))
"""Which mutations: each number gives others, so that processes can share the work."""

RAW = {
    "@digits@": "9" * 400,
    "@more digits@": "9" * 5000,
    "@deep@": "[" * 30_000 + "]" * 30_000,
    "@million@": "[" + "0," * 1_000_000 + "0]",
    "@nan@": "NaN",
    "@inf@": "Infinity",
    "@-inf@": "-Infinity",
    "@surrogate@": '"\\ud800"',
}
"""What a library would not write, by the text that stands for it."""

TOML = {
    **RAW,
    "@nan@": "nan",
    "@inf@": "inf",
    "@-inf@": "-inf",
    "@surrogate@": '"\\u0001"',
    "@time@": "07:32:00",
    "@date@": "0001-01-01T00:00:00+23:00",
}

VALUES: tuple[Any, ...] = (
    True, False, 0, 1, -1, 2**63, 1e308, -1e308, 1e-308, -0.5, 0.5, 1e18, 1e-18, 3.7,
    "", "x", "2099-01-01T00:00:00Z", "1970-01-01", "9999-12-31T23:59:59-12:00",
    "\x1b[2J\u202e\n::error::", "y" * 200_000,
    "--output=pwn", [], [[]], [1, 2], ["a"], {}, {"a": 1}, {"a": {}}, [{}],
)  # fmt: skip


Test = TypeVar("Test", bound=Callable[..., None])


def fuzzed(few: int) -> Callable[[Test], Test]:
    """A test of `make fuzz`, with as many examples as asked for, the same in every run."""
    usual = settings(
        max_examples=MANY or few,
        derandomize=not PART,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )

    def decorated(test: Test) -> Test:
        marked: Test = pytest.mark.mutations(usual(test))
        return seed(PART)(marked) if PART else marked

    return decorated


def mutated(document: Any, raw: Mapping[str, str] = RAW) -> st.SearchStrategy[Any]:
    """A document with one to three of its values exchanged or dropped."""
    values = st.sampled_from([*VALUES, *raw, *([] if raw is TOML else [None])])
    change = st.tuples(st.integers(0, 10_000), st.booleans() | st.just(False), values)
    return st.lists(change, min_size=1, max_size=3).map(lambda changes: _changed(document, changes))


def cut(content: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with some of them overwritten, or without their end."""
    at = st.integers(0, len(content))
    return st.builds(
        lambda start, new, end: (content[:start] + new + content[start + len(new) :])[:end],
        at,
        st.binary(max_size=8),
        at.map(lambda place: place + len(content) // 2),
    )


def as_text(document: Any) -> str:
    """The JSON of a mutated document."""
    return with_raw(json.dumps(document), RAW)


def with_raw(text: str, raw: Mapping[str, str]) -> str:
    """A text in which what stands for something is that."""
    for name, instead in raw.items():
        text = text.replace(f'"{name}"', instead)
    return text


def _changed(document: Any, changes: list[tuple[int, bool, Any]]) -> Any:
    whole = copy.deepcopy({"document": document})
    for number, drop, value in changes:
        places = list(_places(whole))
        holder, name = places[number % len(places)]
        if drop and holder is not whole:
            del holder[name]
        else:
            holder[name] = copy.deepcopy(value)
    return whole["document"]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a value in it: what holds it, and its name or number there."""
    if isinstance(value, (dict, list)):
        names = list(value) if isinstance(value, dict) else list(range(len(value)))
        for name in names:
            yield value, name
            yield from _places(value[name])
