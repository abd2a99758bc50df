"""Readers of sentences with named entities: CoNLL columns and OntoNotes; both give IOB2 tags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pytest_energy.workloads.data.files import fault, read_lines
from pytest_energy.workloads.data.records import Tagged

_COLUMNS = "a word and, in the last column, its tag (2 to 4 columns, blanks or tabs)"
_ONTONOTES_COLUMNS = "OntoNotes' columns (at least 12, the 11th with named entities)"
_WORD, _ENTITY = 3, 10
_TAG = re.compile(r"O|[BI]-\S+")
_BRACKETS = re.compile(r"(?:\((?P<kind>[^()*]+))?\*?(?P<close>\))?")


def read_columns(path: Path) -> list[Tagged]:
    """A CoNLL column file: one word a line, a blank line after each sentence, tags last.

    IOB1 becomes IOB2; `-DOCSTART-` lines are dropped.
    """
    sentences = []
    width = 0
    for start, block in _blocks(path, _COLUMNS):
        words, tags = [], []
        for number, line in enumerate(block, start):
            if line.startswith("-DOCSTART-"):
                continue
            row = line.split("\t") if "\t" in line else line.split(" ")
            row = [cell for cell in row if cell.strip()]
            width = width or len(row)
            if not 2 <= len(row) <= 4 or len(row) != width:
                raise fault(path, number, f"{len(row)} columns", _COLUMNS)
            if not _TAG.fullmatch(row[-1]):
                raise fault(path, number, f"tag {row[-1][:40]!r}", "`O`, `B-…` or `I-…`")
            words.append(row[0].strip())
            tags.append(row[-1])
        if words:
            sentences.append(Tagged(tuple(words), to_iob2(tags)))
    if not sentences:
        raise fault(path, None, "no sentences", _COLUMNS)
    return sentences


def read_ontonotes(paths: Iterable[Path], labels: Sequence[str]) -> list[Tagged]:
    """`*.gold_conll` files; an entity that `labels` does not know is an error."""
    sentences = []
    for path in paths:
        for start, block in _blocks(path, _ONTONOTES_COLUMNS):
            rows = [line.split() for line in block]
            for number, row in enumerate(rows, start):
                if len(row) <= _ENTITY + 1:
                    raise fault(path, number, f"{len(row)} columns", _ONTONOTES_COLUMNS)
            tags = _from_brackets(path, start, [row[_ENTITY] for row in rows], labels)
            sentences.append(Tagged(tuple(row[_WORD] for row in rows), tags))
        if not sentences:
            raise fault(path, None, "no sentences", _ONTONOTES_COLUMNS)
    return sentences


def to_iob2(tags: Sequence[str]) -> tuple[str, ...]:
    """Tags in which each entity begins with `B-`; IOB2 stays what it is.

    In IOB1 an entity begins with `I-`, unless one of its own kind ends right before it.
    """
    converted = []
    before = "O"
    for tag in tags:
        begins = tag.startswith("I-") and before[2:] != tag[2:]
        converted.append(f"B-{tag[2:]}" if begins else tag)
        before = tag
    return tuple(converted)


def label_set(sentences: Iterable[Tagged]) -> tuple[str, ...]:
    """`O`, then `B-` and `I-` of each kind of entity that occurs, in alphabetical order."""
    kinds = sorted({tag[2:] for sentence in sentences for tag in sentence.tags if tag != "O"})
    return ("O", *(f"{position}-{kind}" for kind in kinds for position in "BI"))


def _blocks(path: Path, expected: str) -> Iterator[tuple[int, list[str]]]:
    """Lines between blank ones and comments of OntoNotes, with the number of the first."""
    block: list[str] = []
    number = 0
    for number, line in enumerate(read_lines(path, expected), start=1):
        if line.strip() and not line.startswith(("#begin document", "#end document")):
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []
    if block:
        yield number - len(block) + 1, block


def _from_brackets(
    path: Path, start: int, cells: Sequence[str], labels: Sequence[str]
) -> tuple[str, ...]:
    tags = []
    inside: str | None = None
    for number, cell in enumerate(cells, start):
        match = _BRACKETS.fullmatch(cell)
        kind = match["kind"] if match else None
        wrong = match is None or (
            kind is not None and (inside is not None or f"B-{kind}" not in labels)
        )
        if match is None or wrong or (match["close"] and not (kind or inside)):
            expected = "`*`, `(KIND*`, `*)` or `(KIND)` with a kind of OntoNotes"
            raise fault(path, number, f"named entity {cell[:40]!r}", expected)
        if kind:
            tags.append(f"B-{kind}")
            inside = kind
        else:
            tags.append(f"I-{inside}" if inside else "O")
        if match["close"]:
            inside = None
    return tuple(tags)
