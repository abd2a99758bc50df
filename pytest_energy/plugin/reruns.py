"""A test that is run again: what its earlier attempt left, and failures that stand."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pytest_energy.results.run_results import RunResults

_ENDED = pytest.StashKey[bool]()
_PROPERTIES = pytest.StashKey[list[tuple[str, object]]]()
_STANDING = pytest.StashKey[str]()


def begin(results: RunResults, item: pytest.Item) -> None:
    """Before a test's set-up: an attempt replaces what an earlier one reported."""
    if _ENDED not in item.stash or _STANDING in item.stash:
        return
    results.forget(item.nodeid)
    earlier = item.stash.get(_PROPERTIES, [])
    item.user_properties[:] = [pair for pair in item.user_properties if pair not in earlier]
    item.stash[_PROPERTIES] = []


def note(item: pytest.Item, properties: Iterable[tuple[str, object]]) -> None:
    """Put figures into JUnit, for this attempt."""
    added = list(properties)
    item.user_properties += added
    item.stash.setdefault(_PROPERTIES, []).extend(added)


def stand(item: pytest.Item, sentence: str) -> None:
    """Keep why a test failed, so that it is not asked anew: more windows would say nothing."""
    item.stash[_STANDING] = sentence


def fail_again(item: pytest.Item) -> None:
    """Fail a test whose failure stands, before it spends anything."""
    sentence = item.stash.get(_STANDING, None)
    if sentence is not None:
        pytest.fail(
            f"{sentence} The verdict stands: a gate is not run again until it passes.",
            pytrace=False,
        )


def end(item: pytest.Item) -> None:
    """After a test's call: whatever follows is another attempt."""
    item.stash[_ENDED] = True
