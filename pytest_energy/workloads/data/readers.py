"""Readers of texts with a class, of questions and of running text, in the forms people have.

Each raises `DataError` that names file and line where the file is not what it should be.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_energy.errors import DataError
from pytest_energy.files import fault, read_lines, read_text
from pytest_energy.workloads.data.examples import Passage, Question, Tagged, Text, passages
from pytest_energy.workloads.tasks import Task

# Names of the columns with the first text, the second, and the label.
_TEXT_COLUMNS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "rte": (("sentence1",), ("sentence2",), ("label",)),
    "mnli": (("sentence1",), ("sentence2",), ("gold_label", "label")),
    "sst2": (("sentence",), (), ("label",)),
    "imdb": (("text", "review", "sentence", "content"), (), ("label", "sentiment", "class")),
}
_REVIEW_LABELS = {"neg": 0, "pos": 1}


def read_glue(path: Path, task: Task) -> list[Text]:
    """A tab-separated file with a header; quotes mean nothing, labels are names or their ids."""
    columns = (f"`{names[0]}`" for names in _TEXT_COLUMNS[task.name] if names)
    expected = "a header with " + ", ".join(columns)
    lines = read_lines(path, expected)
    rows = enumerate((line.split("\t") for line in lines[1:]), start=2)
    return _texts(path, lines[0].split("\t"), rows, task)


def read_review_table(path: Path, task: Task) -> list[Text]:
    """A CSV file with a header, a column of texts and one of labels, in any order."""
    expected = "a header with a column of texts (`text`, `review`) and one of labels (`label`)"
    rows = _csv(path, expected)
    header = [name.strip().lower() for name in next(rows)[1]]
    return _texts(path, header, rows, task)


def _csv(path: Path, expected: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file, each with the number of its last line."""
    rows = csv.reader(io.StringIO(read_text(path, expected), newline=""), strict=True)
    try:
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise fault(path, rows.line_num, f"not CSV ({error})", "quotes in pairs") from None


def _texts(
    path: Path, header: list[str], rows: Iterable[tuple[int, list[str]]], task: Task
) -> list[Text]:
    """The texts of numbered rows."""
    texts, pairs, labels = _TEXT_COLUMNS[task.name]
    first = _column(path, header, texts)
    second = _column(path, header, pairs) if pairs else None
    label = _column(path, header, labels)
    records = []
    for number, row in rows:
        if row in ([], [""]):
            continue
        if len(row) != len(header):
            raise fault(path, number, f"{len(row)} columns", f"{len(header)}, as in the header")
        pair = None if second is None else row[second]
        records.append(Text(row[first], pair, _label(path, number, row[label], task)))
    if not records:
        raise fault(path, 1, "nothing below the header", "one example a row")
    return records


def read_reviews(paths: Iterable[Path]) -> list[Text]:
    """The reviews of `pos/` and `neg/` folders, one a file."""
    texts = ((read_text(path, "a review"), path.parent.name.lower()) for path in paths)
    return [Text(text, None, _REVIEW_LABELS[folder]) for text, folder in texts]


_SQUAD = (
    "`data` > `paragraphs` > `context` and `qas` > `question` and `answers` > "
    "`text` and `answer_start`"
)


def read_squad(path: Path, task: Task) -> list[Question]:
    """A SQuAD file; the first of several answers counts, and in v2.0 there may be none."""
    text = read_text(path, "the JSON of SQuAD")
    place = "the top"
    records = []
    try:
        for i, article in enumerate(json.loads(text)["data"]):
            place = f"`data[{i}]`"
            for j, paragraph in enumerate(article["paragraphs"]):
                place = f"`data[{i}].paragraphs[{j}]`"
                context = paragraph["context"]
                for k, entry in enumerate(paragraph["qas"]):
                    place = f"`data[{i}].paragraphs[{j}].qas[{k}]`"
                    question = _question(context, entry)
                    if wrong := _wrong_answer(question, task):
                        name = str(entry.get("id", question.question))
                        line = text.count("\n", 0, max(text.find(json.dumps(name)), 0)) + 1
                        raise fault(path, line, f"question `{name}` ({place}) {wrong[0]}", wrong[1])
                    records.append(question)
    except json.JSONDecodeError as error:
        raise fault(path, error.lineno, f"broken JSON ({error.msg})", "SQuAD's JSON") from None
    except KeyError as error:
        raise fault(path, None, f"no `{error.args[0]}` in {place}", _SQUAD) from None
    except (TypeError, AttributeError):
        raise fault(path, None, f"not the nesting of SQuAD at {place}", _SQUAD) from None
    if not records:
        raise fault(path, None, "no questions", _SQUAD)
    return records


def _question(context: str, entry: dict[str, Any]) -> Question:
    question, answers = entry["question"], entry["answers"]
    if not isinstance(question, str) or not isinstance(context, str):
        raise TypeError
    if entry.get("is_impossible") or not answers:
        return Question(question, context, None)
    start = answers[0]["answer_start"]
    span = (start, start + len(answers[0]["text"]))
    return Question(question, context, span, tuple(each["text"] for each in answers))


def _wrong_answer(question: Question, task: Task) -> tuple[str, str] | None:
    """What is wrong with an answer, and what is expected."""
    if question.answer is None:
        allowed = task.unanswerable
        return None if allowed else ("has no answer", "one, or a folder named `squad_v2`")
    start, end = question.answer
    inside = 0 <= start <= end <= len(question.context)
    return None if inside else ("has an answer outside its context", "a span of the context")


def read_running_text(path: Path) -> list[Passage]:
    """Plain text; blank lines are dropped."""
    return list(passages(read_lines(path, "plain text")))


def _column(path: Path, header: list[str], names: tuple[str, ...]) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    wanted = " or ".join(f"`{name}`" for name in names)
    have = ", ".join(f"`{name[:40]}`" for name in header)
    raise DataError(f"`{path}`, line 1: no column {wanted}; the columns are {have}")


def _label(path: Path, number: int, value: str, task: Task) -> int:
    known = {str(label): label for label in range(len(task.labels))}
    known |= {name: label for label, name in enumerate(task.labels)}
    if task.name == "imdb":
        known |= _REVIEW_LABELS
    label = known.get(value.strip().lower())
    if label is None:
        raise fault(path, number, f"label {value[:40]!r}", " or ".join(task.labels))
    return label


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
    """IOB2 tags of a sentence, from what opens and closes in each cell."""
    tags = []
    inside: str | None = None
    for number, cell in enumerate(cells, start):
        match = _BRACKETS.fullmatch(cell)
        kind, closes = match.groups() if match else (None, None)
        opens_wrongly = kind and (inside or f"B-{kind}" not in labels)
        if not match or opens_wrongly or (closes and not (kind or inside)):
            expected = "`*`, `(KIND*`, `*)` or `(KIND)` with a kind of OntoNotes"
            raise fault(path, number, f"named entity {cell[:40]!r}", expected)
        inside = kind or inside
        tags.append(f"B-{kind}" if kind else f"I-{inside}" if inside else "O")
        if closes:
            inside = None
    return tuple(tags)
