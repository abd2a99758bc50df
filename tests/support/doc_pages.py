"""What a page of docs/ shows: its files, its commands and what they printed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(
    r"^( *)```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^\1```$", re.DOTALL | re.MULTILINE
)
_NUMBER = re.compile(r"[+-]?\d[\d.,]*")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it is (or an empty name), and its text."""

    language: str
    title: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The command lines of a console, each without its prompt and with what continues it."""
        joined = self.text.replace("\\\n", " ")
        return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order, without their indent."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [
        Block(language, title, _dedented(text, indent)) for indent, language, title, text in found
    ]


def _dedented(text: str, indent: str) -> str:
    return "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))


def shape(line: str) -> str:
    """A line of output without its numbers, the units' prefixes and the widths of columns."""
    numberless = re.sub(r"\b[mµn]J/", "J/", _NUMBER.sub("#", line))
    return " ".join(numberless.split())


def rows(output: str) -> list[str]:
    """The shapes of the rows of verdicts in what was printed."""
    return [
        shape(line)
        for line in output.splitlines()
        if re.search(r" \((modelled|local)", line) and re.match(r"\S+  +", line)
    ]
