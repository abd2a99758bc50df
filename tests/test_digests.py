"""Digests: the same fields make the same digits for good, since baselines hold them."""

from __future__ import annotations

import hashlib

from pytest_energy.files import digest_of


def digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def test_fields_in_any_order_are_their_sorted_json() -> None:
    assert digest_of({"b": 1, "a": None}) == digits('{"a":null,"b":1}')
    assert digest_of({"a": None, "b": 1}) == digest_of({"b": 1, "a": None})


def test_a_text_is_taken_as_it_is() -> None:
    assert digest_of("0badcafe inference 1") == digits("0badcafe inference 1")


def test_other_separators_make_other_digits() -> None:
    assert digest_of({"a": [1, 2]}, separators=(", ", ": ")) == digits('{"a": [1, 2]}')
