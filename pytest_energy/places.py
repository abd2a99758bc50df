"""Where a test is written."""

from __future__ import annotations

import pytest


def location_of(item: pytest.Item) -> tuple[str, int] | None:
    """The test's file, relative to the root, and its line from 1; None where it has no line."""
    file, line, _ = item.location
    return None if line is None else (file, line + 1)
