"""What other plugins need: pytest-benchmark the windows of a test, reruns a clean start.

A test that pytest-benchmark times too has nothing run twice. One that is run again replaces what
its earlier attempt reported, and a verdict that failed it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import asdict
from typing import Any

import pytest

from pytest_energy.plugin.session import EnergySession
from pytest_energy.results import VerdictRecord
from pytest_energy.results.run_results import RunResults

KEY = "energy"
"""Of `extra_info` in each benchmark, and of `machine_info`."""

_ANNOTATED = pytest.StashKey[bool]()
_ENDED = pytest.StashKey[bool]()
_PROPERTIES = pytest.StashKey[list[tuple[str, object]]]()
_STANDING = pytest.StashKey[str]()
_FIGURES = ("id", "metric", "unit", "value", "uncertainty", "baseline", "change", "method")


def annotate(results: RunResults, item: pytest.Item, benchmark: object) -> None:
    """Put what was metered in a test into its `benchmark` fixture's `extra_info`."""
    records = results.of(item.nodeid)
    extra = getattr(benchmark, "extra_info", None)
    if records and isinstance(extra, MutableMapping):
        extra[KEY] = [figures(record) for record in records]
        item.config.stash[_ANNOTATED] = True


def figures(record: VerdictRecord) -> dict[str, Any]:
    """One verdict's row, of builtin types: J and s of each window, in the order of measuring."""
    row = {name: getattr(record, name) for name in _FIGURES}
    windows = [
        {"joules": w.joules, "seconds": w.seconds, "tokens": w.tokens, "valid": w.valid}
        for w in record.windows
    ]
    return {**row, "verdict": record.outcome, "windows": windows}


def describe_machine(
    session: EnergySession, config: pytest.Config, machine_info: MutableMapping[str, Any]
) -> None:
    """Name the metered devices, if a benchmark was metered: figures belong to their hardware."""
    hardware = session.device.identified
    if hardware is not None and _ANNOTATED in config.stash:
        devices = [asdict(device) for device in hardware.devices]
        machine_info[KEY] = {"hardware": hardware.key, "devices": devices}


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
