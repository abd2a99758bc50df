"""Readers of named entities in columns: CoNLL's files and OntoNotes'.

Each raises `DataError` that names file and line if the file is not what it should be.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pytest_energy.errors import DataError
from pytest_energy.files import fault, read_bytes, read_lines
from pytest_energy.workloads.data.examples import Skipped, Tagged

_COLUMNS = "a word and, in the last column, its tag (2 to 4 columns, blanks or tabs)"
_ONTONOTES_COLUMNS = "OntoNotes' columns (at least 12, the 11th with named entities)"
_NUMBER, _WORD, _ENTITY = 2, 3, 10
_TAG = re.compile(r"O|[BI]-\S+")
# Of schemes that mark the end of an entity and one of a single word.
_SINGLE = re.compile(r"[ESLUM]-\S+")
_IOB2 = "IOB2: write `B-` for the first word of an entity and `I-` for each other one"
_BRACKETS = re.compile(r"(?:\((?P<kind>[^()*]+))?\*?(?P<close>\))?")


def read_columns(path: Path, skipped: Skipped | None = None) -> list[Tagged]:
    """A CoNLL column file: one word a line, a blank line after each sentence, tags last.

    IOB1 becomes IOB2; `-DOCSTART-` lines are dropped. A sentence with a blank word is `skipped`.
    """
    skipped = Skipped() if skipped is None else skipped
    sentences = []
    width = 0
    for start, block in _blocks(path, _COLUMNS):
        words, tags = [], []  # words with their lines
        for number, line in enumerate(block, start):
            if line.startswith("-DOCSTART-"):
                continue
            row = _cells(line)
            width = width or len(row)
            if wrong := _wrong_row(line, row, width):
                raise fault(path, number, *wrong)
            words.append((number, row[0]))
            tags.append(row[-1])
        if error := _blank_word(path, words):
            skipped.add(_HAS_BLANK, error)
        elif words:
            sentences.append(Tagged(tuple(word for _, word in words), to_iob2(tags)))
    skipped.check(len(sentences))
    if not sentences:
        raise fault(path, None, "no sentences", _COLUMNS)
    return sentences


def _cells(line: str) -> list[str]:
    """The columns of a line; only blanks and tabs lie between columns."""
    cells = (cell.strip(" ") for cell in line.split("\t" if "\t" in line else " "))
    return [cell for cell in cells if cell]


def _wrong_row(line: str, row: Sequence[str], width: int) -> tuple[str, str] | None:
    """What is wrong with a word's line, and what is expected; None if nothing is."""
    fits = 2 <= len(row) <= 4 and len(row) == width
    if not fits or not _TAG.fullmatch(row[-1]):
        if line.startswith("#"):
            return f"{line[:40]!r} is a comment", "no lines that begin with `#`: remove them"
        if _SINGLE.fullmatch(row[-1]) and fits:
            scheme = "BIOES" if row[-1][0] in "ES" else "BILOU" if row[-1][0] in "LU" else "BMES"
            return f"tag {row[-1][:40]!r} is of the scheme {scheme}", _IOB2
    if not fits:
        return f"{len(row)} columns{_unusual_blanks(line)}", _COLUMNS
    if not _TAG.fullmatch(row[-1]):
        return f"tag {row[-1][:40]!r}", "`O`, `B-…` or `I-…`"
    return None


_HAS_BLANK = "words without a visible character"


def _blank_word(path: Path, words: Iterable[tuple[int, str]]) -> DataError | None:
    """The error for the first word, each with its line, that has no visible character."""
    for number, word in words:
        if not word.strip():
            wrong = f"the word is {_named(word)}, which is blank"
            return fault(path, number, wrong, "a word: remove the line or replace it")
    return None


def _unusual_blanks(line: str) -> str:
    """Which blanks a line has that separate no columns; empty if there are none."""
    found = "".join(dict.fromkeys(c for c in line if c.isspace() and c not in " \t"))
    return f" ({_named(found)} separates none)" if found else ""


def _named(characters: str) -> str:
    return ", ".join(
        f"U+{ord(c):04X} ({unicodedata.name(c, 'a control character').lower()})" for c in characters
    )


def read_ontonotes(
    paths: Iterable[Path], labels: Sequence[str], skipped: Skipped | None = None
) -> list[Tagged]:
    """`*.gold_conll` files; an entity that `labels` does not know is an error.

    A document may be empty. A sentence whose words are not numbered from 0 is `skipped`: those are
    two, or part of one. So is one with a blank word.
    """
    skipped = Skipped() if skipped is None else skipped
    paths, sentences = list(paths), []
    for path in paths:
        for start, block in _blocks(path, _ONTONOTES_COLUMNS, may_be_empty=len(paths) > 1):
            rows = [_cells(line) for line in block]
            for number, row in enumerate(rows, start):
                if len(row) <= _ENTITY + 1:
                    raise fault(path, number, f"{len(row)} columns", _ONTONOTES_COLUMNS)
            words = tuple(row[_WORD] for row in rows)
            tags = _from_brackets(path, start, [row[_ENTITY] for row in rows], labels)
            if error := _blank_word(path, enumerate(words, start)):
                skipped.add(_HAS_BLANK, error)
            elif error := _misnumbered(path, start, rows):
                skipped.add("word numbers that do not fit their sentence", error)
            else:
                sentences.append(Tagged(words, tags))
    skipped.check(len(sentences))
    if not sentences:
        where = paths[0] if len(paths) == 1 else paths[0].parent
        raise fault(where, None, "no sentences", _ONTONOTES_COLUMNS)
    return sentences


def _misnumbered(path: Path, start: int, rows: Sequence[Sequence[str]]) -> DataError | None:
    """The error for the first word whose number is not its place in the sentence."""
    for place, row in enumerate(rows):
        if row[_NUMBER] != str(place):
            wrong = f"word number {row[_NUMBER][:20]} for word {place} of a sentence"
            expected = "numbers from 0, and a blank line between sentences"
            return fault(path, start + place, wrong, expected)
    return None


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


def _blocks(
    path: Path, expected: str, *, may_be_empty: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Lines between blank ones and comments of OntoNotes, with the number of the first."""
    if may_be_empty and not read_bytes(path).strip():
        return
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
    """IOB2 tags of a sentence, from what opens and closes in each cell."""
    tags = []
    inside: str | None = None
    opened = start
    for number, cell in enumerate(cells, start):
        match = _BRACKETS.fullmatch(cell)
        kind, closes = match.groups() if match else (None, None)
        opens_wrongly = kind and (inside or f"B-{kind}" not in labels)
        if not match or opens_wrongly or (closes and not (kind or inside)):
            expected = "`*`, `(KIND*`, `*)` or `(KIND)` with a kind of OntoNotes"
            raise fault(path, number, f"named entity {cell[:40]!r}", expected)
        inside, opened = (kind, number) if kind else (inside, opened)
        tags.append(f"B-{kind}" if kind else f"I-{inside}" if inside else "O")
        if closes:
            inside = None
    if inside:
        wrong = f"named entity {cells[opened - start][:40]!r} is never closed"
        raise fault(path, opened, wrong, "`*)` at its last word, in the same sentence")
    return tuple(tags)
