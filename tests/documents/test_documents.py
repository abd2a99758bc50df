"""Documents from outside: what is made of them by the types of records, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

import pytest

from pytest_energy.documents import (
    LONGEST_TEXT,
    MOST_ITEMS,
    AnyFloat,
    Count,
    FaultyDocumentError,
    Positive,
    other_schema,
    parse_json,
    parse_toml,
)
from pytest_energy.documents.records import checked, converted, named


class Card(TypedDict, total=False):
    name: str


@dataclass(frozen=True)
class Part:
    joules: Positive
    pair: tuple[int, float] = (0, 0.0)


@dataclass(frozen=True)
class Whole:
    """One of every kind."""

    outcome: str = field(metadata=named("verdict"))
    parts: tuple[Part, ...] = ()
    by_name: Mapping[str, float] = field(default_factory=dict)
    loss: AnyFloat | None = None
    tokens: Count = 0
    kind: Literal["a", "b"] = "a"
    cells: list[str | int | AnyFloat | None] = field(default_factory=list)
    card: Card = field(default_factory=lambda: Card())
    fails: bool = False


def test_a_value_becomes_a_record_by_its_types() -> None:
    found = converted(
        Whole,
        {
            "verdict": "within", "parts": [{"joules": 5, "pair": [1, 2]}], "by_name": {"cpu": 1},
            "loss": math.inf, "tokens": 7.0, "kind": "b", "cells": ["x", 5, 5.0, None],
            "card": {"name": "H200", "colour": "green"}, "fails": True, "later": [],
        },
    )  # fmt: skip

    assert found == Whole(
        "within", (Part(5.0, (1, 2.0)),), {"cpu": 1.0}, math.inf, 7, "b", ["x", 5, 5.0, None],
        {"name": "H200"}, True,
    )  # fmt: skip
    assert [type(cell) for cell in found.cells] == [str, int, float, type(None)]
    assert (type(found.tokens), type(found.parts[0].joules)) == (int, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": None}, "`verdict` is null, not a text"),
        ({"verdict": "x" * (LONGEST_TEXT + 1)}, "`verdict` has more than 100,000 characters"),
        ({"parts": {}}, "`parts` is a table, not a list"),
        ({"parts": [0] * (MOST_ITEMS + 1)}, "`parts` has more than 100,000 entries"),
        ({"parts": [{"joules": 1}, {}]}, "`parts[1]` has no `joules`"),
        ({"parts": [{"joules": -1}]}, "`parts[0].joules` is -1, but must be above 0"),
        (
            {"parts": [{"joules": math.nan}]},
            "`parts[0].joules` is nan, but must be a finite number above 0",
        ),
        (
            {"parts": [{"joules": math.inf}]},
            "`parts[0].joules` is inf, but must be a finite number above",
        ),
        (
            {"parts": [{"joules": 1e19}]},
            "`parts[0].joules` is 1e+19, but must be above 0 and at most 1e+18",
        ),
        ({"parts": [{"joules": True}]}, "`parts[0].joules` is true, not a number"),
        ({"parts": [{"joules": 1, "pair": [1]}]}, "`parts[0].pair` has 1 entries, not 2"),
        ({"by_name": []}, "`by_name` is a list, not a table"),
        ({"by_name": {"gpu\n0": 1e308}}, r"`by_name.gpu\n0` is 1e+308, but must be a number up to"),
        ({"loss": 10**400}, "`loss` is a number of about 398 digits, but must be a number up to"),
        ({"tokens": 1.5}, "`tokens` is 1.5, not a whole number"),
        ({"tokens": -1}, "`tokens` is -1, but must be 0 or more"),
        ({"kind": ["a"]}, "`kind` is a list, not one of a, b"),
        ({"cells": [{}]}, "`cells[0]` is a table, not a text"),
        ({"fails": 1}, "`fails` is 1, not true or false"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(FaultyDocumentError) as raised:
        converted(Whole, {"verdict": "within", **change})

    assert str(raised.value).startswith(message)


def test_a_text_that_no_file_can_hold_gets_replacement_characters() -> None:
    assert converted(Card, parse_json(b'{"name": "a\\ud800b"}')) == {"name": "a?b"}


def test_a_table_of_known_names_alone() -> None:
    assert checked({"a": 1}, {"a": float}) == {"a": 1.0}
    with pytest.raises(FaultyDocumentError, match="`b` is not known; it may be a"):
        checked({"b": 1}, {"a": float})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"{", "is not valid JSON: Expecting property name"),
        (b'"\xe9"', "is not valid JSON: 'utf-8' codec can't decode"),
        (b"[" * 200_000, "is not valid JSON: it is nested too deeply"),
        (b"9" * 5000, "is not valid JSON: Exceeds the limit (4300"),  # in words of each Python
    ],
)
def test_what_is_no_json(content: bytes, message: str) -> None:
    with pytest.raises(FaultyDocumentError) as raised:
        parse_json(content)

    assert str(raised.value).startswith(message)
    assert "sys." not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = [", "is not valid TOML: "),
        ("x = " + "[" * 20_000, "is not valid TOML: it is nested too deeply"),
        ("x = " + "9" * 5000, "is not valid TOML: Exceeds the limit"),
        ("a\n" + "a." * 60_000 + "b = 1", "is not valid TOML: line 2 has more than 100,000"),
    ],
)
def test_what_is_no_toml(text: str, message: str) -> None:
    with pytest.raises(FaultyDocumentError) as raised:
        parse_toml(text)

    assert str(raised.value).startswith(message)
    assert len(str(raised.value)) < 1000


def test_builtin_types_alone_are_read_as_well() -> None:
    assert converted(dict[str, float], json.loads('{"a": 1}')) == {"a": 1.0}


def test_a_newer_schema_asks_for_an_upgrade_and_an_older_one_does_not() -> None:
    newer, older = (other_schema(found, 3, "write it anew") for found in (4, 2))

    assert newer.startswith("4, of a newer pytest-energy: pytest-energy")
    assert newer.endswith(" is installed, and reads schema 3; upgrade it")
    assert older.startswith("2, but pytest-energy")
    assert older.endswith(", which is installed, reads schema 3; write it anew")
    assert "'four', but" in other_schema("four", 3, "write it anew")
