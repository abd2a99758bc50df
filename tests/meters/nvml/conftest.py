"""A clock that tests of counters move themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hand_card import HandClock


@pytest.fixture
def clock() -> Iterator[HandClock]:
    with HandClock().installed() as installed:
        yield installed
