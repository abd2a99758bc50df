"""The public names: those that run are those that mypy reads, which sees that each is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pytest_energy

SOURCE = Path(pytest_energy.__file__)


def for_type_checkers() -> dict[str, str]:
    """The module of each name, as a type checker reads them."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    (block,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    ]
    return {
        alias.asname or alias.name: str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_what_runs_and_what_type_checkers_read_agree() -> None:
    assert for_type_checkers() == pytest_energy._HOMES
    assert sorted(pytest_energy.__all__) == sorted(pytest_energy._HOMES)


def test_a_name_that_is_not_there_is_an_error() -> None:
    # To mypy as well: `make lint` says so if this comment ever has nothing to ignore.
    with pytest.raises(ImportError, match="Nonsense"):
        from pytest_energy import Nonsense  # type: ignore[attr-defined]  # noqa: F401
