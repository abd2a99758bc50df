"""Examples before they are tokenised, as readers and the hub hand them over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """A text, or a pair of them, with the id of its class."""

    text: str
    pair: str | None
    label: int


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its context; `answer` is the answer's [start, end) in characters, if any.

    `texts` are all the answers that count as right, of which `answer` is the first.
    """

    question: str
    context: str
    answer: tuple[int, int] | None
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tagged:
    """The words of a sentence and their IOB2 tags, one a word."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """Running text."""

    text: str


Record = Text | Question | Tagged | Passage

PASSAGE_LINES = 32


def passages(lines: Sequence[str]) -> Iterator[Passage]:
    """Running text in pieces of 32 lines that are not blank, so that it can be shuffled."""
    full = [line for line in lines if line.strip()]
    for at in range(0, len(full), PASSAGE_LINES):
        yield Passage("\n".join(full[at : at + PASSAGE_LINES]))
