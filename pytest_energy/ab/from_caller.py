"""What a program that starts runs with `--energy-compare` tells them, by environment variables."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from pytest_energy.documents import parse_json
from pytest_energy.errors import EnergyError
from pytest_energy.files import read_bytes
from pytest_energy.results.json_codec import as_json, from_json
from pytest_energy.stats.noise import SessionStats

FOREIGN_VARIABLE = "PYTEST_ENERGY_FOREIGN_TREE"
"""A tree that neither side may import from: the checkout, where both sides are worktrees of it."""

NOISE_VARIABLE = "PYTEST_ENERGY_KNOWN_NOISE"
"""A file of sessions that tell the noise of windows if no baseline does."""

_MOST_BYTES = 1 << 20


def foreign_tree() -> str | None:
    """The tree that neither side may import from, if there is one."""
    return os.environ.get(FOREIGN_VARIABLE) or None


def known_noise() -> list[SessionStats] | None:
    """What the caller knows of the noise of windows; None if it knows nothing."""
    path = os.environ.get(NOISE_VARIABLE)
    if not path:
        return None
    try:
        rows = parse_json(read_bytes(Path(path), _MOST_BYTES))
        return [from_json(SessionStats, row) for row in rows] or None
    except (EnergyError, ValueError, TypeError):
        return None  # it only spares windows


def noise_text(sessions: Sequence[SessionStats]) -> str:
    """What the file of `NOISE_VARIABLE` holds."""
    return json.dumps([as_json(session) for session in sessions]) + "\n"
