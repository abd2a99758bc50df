"""Real examples: from the files that are found in a folder, or from the Hugging Face hub.

The hub's data sets are read at pinned revisions, without remote code. CoNLL-2003 and CoNLL-2012
exist there as loading scripts alone. What is read is the hub's own conversion of them to Parquet,
under a ref that the hub can move; the others are commits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from pytest_energy.errors import DataError, EnergyError
from pytest_energy.files import files_digest
from pytest_energy.text import one_line
from pytest_energy.workloads.data.columns import label_set, read_columns, read_ontonotes, to_iob2
from pytest_energy.workloads.data.examples import Record, Skipped, Tagged, Text, passages, shuffled
from pytest_energy.workloads.data.features import UNCASED, RecordSource, tokenizer_file
from pytest_energy.workloads.data.layouts import LAYOUTS, Form, Found, find, nothing_for
from pytest_energy.workloads.data.readers import (
    TEXT_COLUMNS,
    contradiction,
    question_of,
    read_reviews,
    read_running_text,
    read_squad,
    read_texts,
)
from pytest_energy.workloads.tasks import Task, get_task

if TYPE_CHECKING:
    from datasets import Dataset


class LocalSource(RecordSource):
    """Real examples from the files below `root`; what was read once is kept."""

    kind: Literal["local"] = "local"

    def __init__(self, root: Path, models: Path | None = None) -> None:
        super().__init__(root, models)
        self.root = root
        self._found: dict[str, Found] = {}
        self._records: dict[str, Sequence[Record]] = {}
        self._skipped: dict[str, Skipped] = {}
        self._identities: dict[tuple[Path, ...], str] = {}

    def identity(self, task: Task | str, *, model: str = UNCASED) -> str:
        """`local:` and eight hex digits of what the task's files and the vocabulary hold."""
        task = get_task(task)
        files = self.found(task).files
        if vocabulary := tokenizer_file(model, self.root, self._models):
            files = (*files, vocabulary)
        if files not in self._identities:
            self._identities[files] = files_digest(files)
        return f"local:{self._identities[files]}"

    def missing(self, task: Task | str) -> str | None:
        """Why the folder has nothing for the task and which files it looked for."""
        try:
            self.found(get_task(task))
        except DataError as error:
            return str(error)
        return None

    def labels(self, task: Task | str) -> tuple[str, ...]:
        """The task's labels; those of `conll2003` are the ones its file has."""
        task = get_task(task)
        if task.name != "conll2003":
            self.found(task)
            return task.labels
        return label_set(r for r in self._read(task) if isinstance(r, Tagged))

    def records(self, task: Task, rng: Random) -> Iterator[Record]:
        """The records of the task's files, in random order."""
        # A file's head is nothing special, and may be all of one label.
        return shuffled(self._read(task), rng)

    def found(self, task: Task) -> Found:
        """The files that training reads; `DataError` if there are none."""
        name = task.name
        if name not in self._found:
            found = find(self.root, LAYOUTS[name])
            if found is None:
                raise DataError(nothing_for(name, self.root))
            self._found[name] = found
        return self._found[name]

    def _read(self, task: Task) -> Sequence[Record]:
        if task.name not in self._records:
            found, skipped = self.found(task), Skipped()
            self._records[task.name] = READERS[found.form](found.files, task, skipped)
            self._skipped[task.name] = skipped
        return self._records[task.name]

    def described(self) -> tuple[str, ...]:
        """Of each task that was read its file, how many records it has, and how many not."""
        told = [
            f"`{name}` is {len(records):,} {_UNITS[get_task(name).head]} of "
            f"{_shown(self._found[name].files, self.root)}"
            + (f" ({self._skipped[name]})" if self._skipped[name] else "")
            for name, records in self._records.items()
        ]
        return (*told, *self.vocabularies())


_UNITS = {"sequence": "examples", "qa": "questions", "token": "sentences", "mlm": "passages"}


def _shown(files: Sequence[Path], root: Path) -> str:
    if len(files) == 1:
        return f"`{one_line(files[0].relative_to(root))}`"
    above = os.path.relpath(os.path.commonpath(files), root)
    return f"{len(files):,} files in `{one_line(above)}`"


Reader = Callable[[tuple[Path, ...], Task, Skipped], Sequence[Record]]

READERS: Mapping[Form, Reader] = {
    "texts": lambda files, task, skipped: read_texts(files[0], task, skipped),
    "squad": lambda files, task, skipped: read_squad(files[0], task, skipped),
    "tree": lambda files, _, skipped: read_reviews(files, skipped),
    "columns": lambda files, _, skipped: read_columns(files[0], skipped),
    "ontonotes": lambda files, task, skipped: read_ontonotes(files, task.labels, skipped),
    "text": lambda files, _, __: read_running_text(files[0]),
}
"""What reads a task's files of each form; `DataError` if they are not of it."""


Row = Mapping[str, Any]

_CONVERTED = "refs/convert/parquet"
_GLUE = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"


@dataclass(frozen=True)
class HubDataset:
    """Where a task's data set is: repository, commit, and its config or its files."""

    repository: str
    revision: str
    config: str | None = None
    files: str | None = None


DATASETS: Mapping[str, HubDataset] = {
    "rte": HubDataset("nyu-mll/glue", _GLUE, config="rte"),
    "mnli": HubDataset("nyu-mll/glue", _GLUE, config="mnli"),
    "sst2": HubDataset("nyu-mll/glue", _GLUE, config="sst2"),
    "squad_v1": HubDataset("rajpurkar/squad", "7b6d24c440a36b6815f21b70d25016731768db1f"),
    "squad_v2": HubDataset("rajpurkar/squad_v2", "3ffb306f725f7d2ce8394bc1873b24868140c412"),
    "imdb": HubDataset("stanfordnlp/imdb", "e6281661ce1c48d982bc483cf8a173c1bbeb5d31"),
    "conll2003": HubDataset("eriktks/conll2003", _CONVERTED, files="conll2003/train/*.parquet"),
    "conll2012": HubDataset(
        "ontonotes/conll2012_ontonotesv5", _CONVERTED, files="english_v12/train/*.parquet"
    ),
    "mlm": HubDataset(
        "Salesforce/wikitext",
        "b08601e04326c79dfdd32d625aee71d232d685c3",
        config="wikitext-2-raw-v1",
    ),
}


class HubSource(RecordSource):
    """Real examples from the hub, or from its cache if that has them; loaded when asked for."""

    kind: Literal["hub"] = "hub"

    def __init__(
        self, datasets: Mapping[str, HubDataset] = DATASETS, models: Path | None = None
    ) -> None:
        super().__init__(models=models)
        self._places = datasets
        self._loaded: dict[tuple[str, str], Dataset] = {}
        self._skipped: dict[str, Skipped] = {}
        self._unreachable: EnergyError | None = None

    def identity(self, task: Task | str, *, model: str = "") -> str:
        """Always `hub`: revisions are pinned by the release."""
        del model
        if reason := self.missing(task):
            raise DataError(reason)
        return "hub"

    def missing(self, task: Task | str) -> str | None:
        """Nothing is, as long as the hub can be reached."""
        task = get_task(task)
        return None if task.name in self._places else f"the hub has nothing for `{task.name}`"

    def labels(self, task: Task | str) -> tuple[str, ...]:
        """The task's labels, for named entities in the order of the data set's own ids."""
        task = get_task(task)
        if task.head != "token":
            return task.labels
        return _entity_names(self._load(task, "train"), task)

    def records(self, task: Task, rng: Random, split: str = "train") -> Iterator[Record]:
        """The records of a split, in random order."""
        dataset = self._load(task, split)
        if task.head == "mlm":
            return shuffled(list(passages(dataset["text"][:])), rng)
        # Each pass over the rows counts anew what it leaves out.
        skipped = self._skipped[task.name] = Skipped()
        return _kept(shuffled(dataset, rng), task, self.labels(task), skipped)

    def described(self) -> tuple[str, ...]:
        """Of each split that was loaded its repository, commit and rows."""
        told = []
        for (task, split), loaded in self._loaded.items():
            place, skipped = self._places[task], self._skipped.get(task)
            told.append(
                f"`{task}` is {len(loaded):,} rows of `{place.repository}` at "
                f"`{place.revision[:12]}`, {split}" + (f" ({skipped} so far)" if skipped else "")
            )
        return (*told, *self.vocabularies())

    def _load(self, task: Task, split: str) -> Dataset:
        if self._unreachable:  # the loader tries for half a minute; once is enough for a run
            raise self._unreachable
        if (task.name, split) not in self._loaded:
            from datasets import load_dataset

            place = self._places[task.name]
            options: dict[str, Any] = {"split": split, "revision": place.revision}
            if place.files:
                # With files of one's own choice all of them are one split, `train`.
                options |= {"split": "train", "data_files": place.files.replace("train", split)}
            try:
                loaded: Any = load_dataset(place.repository, place.config, **options)
            except Exception as error:  # the loader raises whatever its transport raises
                reason = str(error).splitlines()[0] if str(error) else "no reason given"
                failure = EnergyError(
                    f"`--energy-data=hub`: `{place.repository}` cannot be loaded "
                    f"({type(error).__name__}: {reason}); connect to the hub, or use "
                    "`--energy-data=synthetic` or a folder"
                )
                if isinstance(error, ConnectionError):
                    self._unreachable = failure
                raise failure from error
            self._loaded[task.name, split] = loaded
        return self._loaded[task.name, split]


def _kept(
    rows: Iterable[Row], task: Task, names: Sequence[str], skipped: Skipped
) -> Iterator[Record]:
    """The records of all rows; `DataError` at their end if too many were left out."""
    kept = 0
    for row in rows:
        for record in _converted(row, task, names, skipped):
            kept += 1
            yield record
    skipped.check(kept)


def _converted(row: Row, task: Task, names: Sequence[str], skipped: Skipped) -> Iterator[Record]:
    """The records of a row; one of CoNLL-2012 is a document of several sentences.

    A row whose fields contradict each other is `skipped`.
    """
    if task.head == "sequence":
        if row["label"] not in range(len(names)):
            skipped.add("no label", DataError(f"`{task.name}`: label {row['label']!r}"))
            return
        first, second, _ = TEXT_COLUMNS[task.name]
        texts = [row[name] for name in (*first, *second) if name in row]
        yield Text(texts[0], texts[1] if second else None, row["label"])
    elif task.head == "qa":
        given = row["answers"]
        pairs = zip(given["text"], given["answer_start"], strict=False)
        answers = [{"text": text, "answer_start": start} for text, start in pairs]
        entry = {"question": row["question"], "answers": answers}
        wrong = contradiction(row["context"], entry)
        if len(given["text"]) != len(given["answer_start"]):
            wrong = "has other numbers of texts and starts", "one start a text"
        if wrong is not None:
            skipped.add("answers that contradict their context", DataError(wrong[0]))
            return
        yield question_of(row["context"], entry)
    elif "sentences" in row:
        for each in row["sentences"]:
            yield from _sentence(each["words"], each["named_entities"], names, skipped)
    else:
        yield from _sentence(row["tokens"], row["ner_tags"], names, skipped)


def _sentence(
    words: Sequence[str], tags: Sequence[int], names: Sequence[str], skipped: Skipped
) -> Iterator[Tagged]:
    if len(words) != len(tags):
        wrong = DataError(f"{len(words)} words with {len(tags)} tags")
        skipped.add("other numbers of words and tags", wrong)
        return
    yield Tagged(tuple(words), to_iob2([names[tag] for tag in tags]))


def _entity_names(dataset: Dataset, task: Task) -> tuple[str, ...]:
    """The label names that the files carry; if they carry none, the task's standard ones."""
    from datasets import ClassLabel

    column = "ner_tags" if task.name == "conll2003" else "sentences"
    feature: Any = dataset.features[column]
    # A list of dicts was written in three ways in the releases of datasets.
    while feature is not None and not isinstance(feature, ClassLabel):
        if isinstance(feature, dict):
            feature = feature.get("named_entities")
        else:
            feature = feature[0] if isinstance(feature, list) else getattr(feature, "feature", None)
    return task.labels if feature is None else tuple(feature.names)
