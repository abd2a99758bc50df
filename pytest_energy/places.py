"""Where a test is written."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import pytest

from pytest_energy.claims import ClaimRecord
from pytest_energy.records import VerdictRecord

Record = TypeVar("Record", VerdictRecord, ClaimRecord)


def located(record: Record, item: pytest.Item) -> Record:
    """The record with its test's file, relative to the root, and line from 1, where it has one."""
    file, line, _ = item.location
    return record if line is None else replace(record, location=(file, line + 1))
