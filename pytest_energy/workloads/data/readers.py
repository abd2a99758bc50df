"""Readers of texts with a class, of questions and of running text, in the forms people have.

Each raises `DataError` that names file and line if the file is not what it should be.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_energy.errors import DataError
from pytest_energy.files import fault, read_bytes, read_lines, read_text
from pytest_energy.workloads.data.examples import Passage, Question, Skipped, Text, passages
from pytest_energy.workloads.tasks import Task

_PAIRS = (("sentence1", "premise"), ("sentence2", "hypothesis"), ("gold_label", "label"))
_ONE = ("text", "review", "sentence", "content")
TEXT_COLUMNS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "rte": _PAIRS,
    "mnli": _PAIRS,
    "sst2": (("sentence", "text"), (), ("label", "sentiment")),
    "imdb": (_ONE, (), ("label", "sentiment", "class")),
}
"""Names of the columns with the first text, the second, and the label, in files and on the hub."""
_SHOWN_COLUMNS = 20
_NO_AGREEMENT = "-"
# Columns that say the label again, by name or id.
_ALSO_LABELS = ("label_text", "label_name", "label_id")
_REVIEW_LABELS = {"neg": 0, "pos": 1}


# What each annotator said; the label is what most of them did.
_ANNOTATORS = tuple(f"label{number}" for number in range(1, 6))


def read_texts(path: Path, task: Task, skipped: Skipped | None = None) -> list[Text]:
    """Texts with a class: CSV, JSON lines, or tab-separated, as the file's name says."""
    readers = {".csv": read_review_table, ".jsonl": read_json_lines, ".json": read_json_lines}
    return readers.get(path.suffix.lower(), read_glue)(path, task, skipped)


def read_glue(path: Path, task: Task, skipped: Skipped | None = None) -> list[Text]:
    """A tab-separated file with a header; quotes mean nothing, labels are names or their ids.

    Of MNLI the pairs on whose label nobody agreed (`-`) are `skipped`.
    """
    columns = (f"`{names[0]}`" for names in TEXT_COLUMNS[task.name] if names)
    expected = "a header with " + ", ".join(columns)
    lines = read_lines(path, expected)
    rows = enumerate((line.split("\t") for line in lines[1:]), start=2)
    return _texts(path, lines[0].split("\t"), rows, task, skipped)


def read_review_table(path: Path, task: Task, skipped: Skipped | None = None) -> list[Text]:
    """A CSV file with a header, a column of texts and one of labels, in any order."""
    expected = "a header with a column of texts (`text`, `review`) and one of labels (`label`)"
    rows = _csv(path, expected)
    header = [name.strip().lower() for name in next(rows)[1]]
    return _texts(path, header, rows, task, skipped)


def read_json_lines(path: Path, task: Task, skipped: Skipped | None = None) -> list[Text]:
    """An object a line, with a text or two and a label, by the same names as columns have."""
    expected = "a JSON object a line"
    lines = ((n, line) for n, line in enumerate(read_lines(path, expected), 1) if line.strip())
    header: list[str] = []
    rows = []
    for number, line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            raise fault(path, number, "no JSON", expected) from None
        if not isinstance(entry, dict):
            raise fault(path, number, f"{line[:40]!r} is no object", expected)
        said = entry.pop("annotator_labels", None)
        votes = said if isinstance(said, list) else []
        entry |= dict(zip(_ANNOTATORS, [*votes, *[""] * len(_ANNOTATORS)], strict=False))
        header = header or list(entry)
        if missing := [name for name in header if name not in entry]:
            raise fault(path, number, f"no `{missing[0][:40]}`", "the names of the first line")
        rows.append((number, [str(entry[name]) for name in header]))
    return _texts(path, header, rows, task, skipped)


def _csv(path: Path, expected: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file, each with the number of its first line."""
    text = read_text(path, expected)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    first = 1
    try:
        while (row := _next(rows, len(text))) is not None:
            yield first, row
            first = rows.line_num + 1
    except csv.Error as error:
        raise fault(path, first, _broken_csv(error, first, rows.line_num), _QUOTES) from None


_QUOTES = 'a quote at both ends of a text, and two (`""`) for each within it'


def _next(rows: Any, longest: int) -> list[str] | None:
    """The next row, whose texts may be as long as the whole file."""
    usual = csv.field_size_limit(longest + 1)
    try:
        return next(rows, None)
    finally:
        csv.field_size_limit(usual)


def _broken_csv(error: csv.Error, first: int, last: int) -> str:
    if "end of data" in str(error):
        return "not CSV: the row that begins here has a quote that is never closed"
    if "expected after" in str(error):
        where = "" if last == first else f" in line {last:,}"
        return (
            f"not CSV: the row that begins here has a quoted text that a quote ends{where}, where "
            "something else than a comma follows"
        )
    return f"not CSV ({error})"


def _texts(
    path: Path,
    header: list[str],
    rows: Iterable[tuple[int, list[str]]],
    task: Task,
    skipped: Skipped | None,
) -> list[Text]:
    """The texts of numbered rows."""
    skipped = Skipped() if skipped is None else skipped
    texts, pairs, labels = TEXT_COLUMNS[task.name]
    first = _column(path, header, texts)
    second = _column(path, header, pairs) if pairs else None
    label = _column(path, header, labels)
    records = []
    for number, row in rows:
        if row in ([], [""]):
            continue
        if len(row) != len(header):
            raise fault(path, number, f"{len(row)} columns", f"{len(header)}, as in the header")
        known = _known(row[label], task)
        if known is None:
            unknown = fault(path, number, f"label {row[label][:40]!r}", " or ".join(task.labels))
            if row[label].strip() != _NO_AGREEMENT or task.name != "mnli":
                raise unknown
            skipped.add("label `-`", unknown)
            continue
        cells = dict(zip(header, row, strict=True))
        if said := _said_otherwise(cells, known, (*labels, *_ALSO_LABELS), task):
            wrong = f"`{header[label]}` is {row[label][:40]!r} and {said}"
            skipped.add("labels that contradict each other", fault(path, number, wrong, "the same"))
            continue
        records.append(Text(row[first], None if second is None else row[second], known))
    if not records and not skipped:
        raise fault(path, 1, "nothing below the header", "one example a row")
    skipped.check(len(records))
    return records


def _said_otherwise(
    row: Mapping[str, str], label: int, names: Iterable[str], task: Task
) -> str | None:
    """Which of a row's columns says another label than this; None if none does."""
    said = {f"`{name}`": row[name] for name in names if name in row}
    said["most annotators' label"] = _majority(row[name] for name in _ANNOTATORS if name in row)
    for name, value in said.items():
        if _known(value, task) not in (None, label):
            return f"{name} is {value[:40]!r}"
    return None


def _majority(votes: Iterable[str]) -> str:
    """What more than half of at least three annotators said; empty if there is no such label."""
    said = [vote for vote in votes if vote.strip()]
    commonest, count = Counter(said).most_common(1)[0] if len(said) > 2 else ("", 0)
    return commonest if 2 * count > len(said) else ""


def read_reviews(paths: Iterable[Path], skipped: Skipped | None = None) -> list[Text]:
    """The reviews of `pos/` and `neg/` folders, one a file.

    Those that are empty, or whose rating (`7_9.txt`) is not of their folder, are `skipped`.
    """
    skipped = Skipped() if skipped is None else skipped
    records = []
    for path in paths:
        label = _REVIEW_LABELS[path.parent.name.lower()]
        if not read_bytes(path).strip():
            skipped.add("empty file", fault(path, None, "the file is empty", "a review"))
        elif _rated(path) not in (None, label):
            wrong = f"the name says a rating of {path.stem.rpartition('_')[2]}"
            expected = f"one that fits the folder `{path.parent.name}`"
            skipped.add("rating of the other class", fault(path, None, wrong, expected))
        else:
            records.append(Text(read_text(path, "a review"), None, label))
    skipped.check(len(records))
    return records


def _rated(path: Path) -> int | None:
    """The class that a review's file name says (at most 4 of 10 stars, or at least 7)."""
    stars = re.fullmatch(r"\d+_(\d+)", path.stem)
    if stars is None or not 1 <= int(stars[1]) <= 10 or 4 < int(stars[1]) < 7:
        return None
    return int(int(stars[1]) >= 7)


_SQUAD = (
    "`data` > `paragraphs` > `context` and `qas` > `question` and `answers` > "
    "`text` and `answer_start`"
)


def read_squad(path: Path, task: Task, skipped: Skipped | None = None) -> list[Question]:
    """A SQuAD file; the first of several answers counts, and in v2.0 there may be none.

    Questions whose answers are not where their `answer_start` says are `skipped`.
    """
    skipped = Skipped() if skipped is None else skipped
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
                    problem = _unusable(context, entry, task)
                    wrong = problem or contradiction(context, entry)
                    if wrong is None:
                        records.append(question_of(context, entry))
                        continue
                    name = str(entry.get("id", entry["question"]))
                    line = text.count("\n", 0, max(text.find(json.dumps(name)), 0)) + 1
                    what = f"question `{name[:80]}` ({place}) {wrong[0]}"
                    error = fault(path, line, what, wrong[1])
                    if problem:
                        raise error
                    skipped.add("answers that contradict their context", error)
    except json.JSONDecodeError as error:
        raise fault(path, error.lineno, f"broken JSON ({error.msg})", "SQuAD's JSON") from None
    except KeyError as error:
        raise fault(path, None, f"no `{error.args[0]}` in {place}", _SQUAD) from None
    except (TypeError, AttributeError, RecursionError):
        raise fault(path, None, f"not the nesting of SQuAD at {place}", _SQUAD) from None
    if not records and not skipped:
        raise fault(path, None, "no questions", _SQUAD)
    skipped.check(len(records))
    return records


def _unusable(context: object, entry: Mapping[str, Any], task: Task) -> tuple[str, str] | None:
    """What is wrong with the fields of a question, and what is expected; None if nothing is."""
    answers, impossible = entry["answers"], entry.get("is_impossible")
    if not isinstance(entry["question"], str) or not isinstance(context, str):
        raise TypeError
    if not isinstance(impossible, (bool, type(None))):
        return f"has `is_impossible` {impossible!r}", "true or false"
    for answer in answers:
        start, text = answer["answer_start"], answer["text"]
        if not isinstance(start, int) or isinstance(start, bool):
            return f"has `answer_start` {start!r}", "a whole number"
        if not isinstance(text, str):
            return f"has an answer {text!r}", "a text"
    if not answers and not task.unanswerable:
        return "has no answer", "one, or a folder named `squad_v2`"
    return None


def contradiction(context: str, entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """Where a question's answers are not what else is said of them; None if they are."""
    answers, impossible = entry["answers"], entry.get("is_impossible")
    if impossible is not None and impossible == bool(answers):
        count = len(answers)
        return f"has `is_impossible` {impossible} and {count} answers", "answers, or that it is"
    for answer in answers:
        start, text = answer["answer_start"], answer["text"]
        end = start + len(text)
        if not 0 <= start <= end <= len(context):
            return "has an answer outside its context", "a span of the context"
        if context[start:end] != text:
            found = f"has the answer {text[:40]!r}, but {context[start:end][:40]!r} at its start"
            return found, "`answer_start` where the text is"
    return None


def question_of(context: str, entry: Mapping[str, Any]) -> Question:
    """The question of an entry; the first of its answers is the one to find."""
    answers = entry["answers"]
    if not answers:
        return Question(entry["question"], context, None)
    start = answers[0]["answer_start"]
    span = (start, start + len(answers[0]["text"]))
    return Question(entry["question"], context, span, tuple(each["text"] for each in answers))


def read_running_text(path: Path) -> list[Passage]:
    """Plain text; blank lines are dropped."""
    return list(passages(read_lines(path, "plain text")))


def _column(path: Path, header: list[str], names: tuple[str, ...]) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    wanted = " or ".join(f"`{name}`" for name in names)
    have = ", ".join(f"`{name[:40]}`" for name in header[:_SHOWN_COLUMNS])
    have += ", …" if len(header) > _SHOWN_COLUMNS else ""
    raise DataError(f"`{path}`, line 1: no column {wanted}; the columns are {have}")


def _known(value: str, task: Task) -> int | None:
    """The id of a label that is given by its name or its id."""
    known = {str(label): label for label in range(len(task.labels))}
    known |= {name: label for label, name in enumerate(task.labels)}
    if task.name == "imdb":
        known |= _REVIEW_LABELS
    return known.get(value.strip().lower())
