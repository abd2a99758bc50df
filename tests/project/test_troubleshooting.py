"""Messages that the page of troubleshooting quotes are messages of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_energy.meters import protocol

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
HOLE = "…"

_HEADING = re.compile(r"^### (`+) ?(.+?) ?\1$", re.MULTILINE)


def _quoted() -> list[str]:
    return [text for _, text in _HEADING.findall(PAGE.read_text(encoding="utf-8"))]


def _texts(tree: ast.AST) -> Iterator[str]:
    """All texts of a module, with a hole for each value that is put in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "fault" and len(node.args) == 2:
            word, what = node.args
            yield f"{getattr(protocol, ast.unparse(word), HOLE)}: {_text(what)}"
        yield _text(node)


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(p.value) if isinstance(p, ast.Constant) else HOLE for p in node.values)
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return str(node.value) if is_text else ""  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Every text of the package."""
    files = (ROOT / "pytest_energy").rglob("*.py")
    return [text for file in files for text in _texts(ast.parse(file.read_text(encoding="utf-8")))]


@pytest.mark.parametrize("message", _quoted())
def test_a_quoted_message_is_one_of_the_code(message: str, texts: list[str]) -> None:
    parts = [part for piece in message.split(HOLE) if (part := piece.strip(" :;,`"))]
    pattern = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)

    assert any(parts[0] in text and pattern.search(text) for text in texts)


def test_all_headings_of_messages_are_read() -> None:
    assert len(_quoted()) == PAGE.read_text(encoding="utf-8").count("\n### ") > 40
