"""Pages that people read have short sentences, one on each line of their source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_WORDS = 30

GENERATED = {"evidence.md", "reliability.md"}
TO_DO = {
    "comparing.md", "drift.md", "formats.md", "how-the-gate-decides.md", "limits.md",
    "red-check.md", "reports.md", "your-own-training.md",
}  # fmt: skip
"""Pages with parts that nobody has gone through yet; the list only gets shorter."""
PAGES = [
    page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in GENERATED | TO_DO
]

_LITERAL = re.compile(r"(`+)[^`]*\1|\]\([^)]*\)")
_ITEM = re.compile(r"^\s*(?:[-*] |\d+\. )?(?:\*\*[^*]+[.?]\*\* )?")
_SECOND = re.compile(r"[.!?][)\"]? +[A-Z`\[*(]")
_ABBREVIATED = re.compile(r"\b(?:vs|al|etc|No)\.$")


def _prose(page: Path) -> Iterator[tuple[int, str]]:
    """The lines of sentences, with their numbers; what is quoted literally is one word."""
    fence = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        found = re.match(r"\s*(`{3,})", line)
        if found and not fence:
            fence = found[1]
        elif found and line.strip() == fence:
            fence = ""
        elif not fence and not re.match(r"\s*(\||#|!\[|    )", line):
            yield number, _LITERAL.sub("x", _ITEM.sub("", line))


def _words(text: str) -> int:
    return sum(any(map(str.isalnum, word)) for word in text.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_sentence_is_long(page: Path) -> None:
    long = [f"{n}: {_words(line)}" for n, line in _prose(page) if _words(line) > MOST_WORDS]

    assert long == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_sentence_has_a_line(page: Path) -> None:
    several = [
        (number, found[0])
        for number, line in _prose(page)
        for found in _SECOND.finditer(line)
        if not _ABBREVIATED.search(line[: found.start() + 1])
    ]

    assert several == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_sentence_goes_on_in_the_next_line(page: Path) -> None:
    lines = list(_prose(page))
    broken = [
        number
        for (number, line), (following, text) in pairwise(lines)
        if following == number + 1 and re.match(r"[a-z]", text) and line and line[-1] not in ".:;!?"
    ]

    assert broken == []
