"""A folder of data sets on disk, in the forms that `layout` finds and the readers know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Literal

from pytest_energy.errors import DataError
from pytest_energy.workloads.data.features import make_examples
from pytest_energy.workloads.data.files import digest
from pytest_energy.workloads.data.layout import Found, find, looked_for
from pytest_energy.workloads.data.order import shuffled_indices
from pytest_energy.workloads.data.protocol import Example
from pytest_energy.workloads.data.readers import (
    ReviewTree,
    read_glue,
    read_review_table,
    read_running_text,
    read_squad,
)
from pytest_energy.workloads.data.records import Record, Tagged
from pytest_energy.workloads.data.tagged import label_set, read_columns, read_ontonotes
from pytest_energy.workloads.data.tokenizer import (
    UNCASED,
    checkpoint_tokenizer,
    tokenizer_for,
    vocabulary_of,
)
from pytest_energy.workloads.tasks import Task, get_task

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class LocalSource:
    """Real examples from the files below `root`; what was read once is kept.

    `models` is the folder of checkpoints, whose tokenizers come first.
    """

    kind: Literal["local"] = "local"

    def __init__(self, root: Path, models: Path | None = None) -> None:
        self.root = root
        self._models = models
        self._found: dict[str, Found | None] = {}
        self._records: dict[str, Sequence[Record]] = {}
        self._identities: dict[tuple[Path, ...], str] = {}
        self._tokenizers: dict[str, Tokenizer] = {}

    def identity(self, task: Task | str, *, model: str = UNCASED) -> str:
        """`local:` and eight hex digits of what the task's files and the vocabulary hold."""
        task = get_task(task)
        files = self._files(task).files
        vocabulary = checkpoint_tokenizer(model, self._models) or vocabulary_of(self.root, model)
        if vocabulary:
            files = (*files, vocabulary)
        if files not in self._identities:
            self._identities[files] = digest(files)
        return f"local:{self._identities[files]}"

    def missing(self, task: Task | str) -> str | None:
        """Why the folder has nothing for the task and which files it looked for."""
        task = get_task(task)
        if task.name not in self._found:
            self._found[task.name] = find(self.root, task)
        if self._found[task.name] is not None:
            return None
        return f"`{self.root}` has nothing for `{task.name}`: looked for {looked_for(task)}"

    def labels(self, task: Task | str) -> tuple[str, ...]:
        """The task's labels; those of `conll2003` are the ones its file has."""
        task = get_task(task)
        if task.name != "conll2003":
            self._files(task)
            return task.labels
        return label_set(r for r in self._read(task) if isinstance(r, Tagged))

    def examples(
        self, task: Task | str, *, model: str, max_length: int, seed: int, count: int
    ) -> list[Example]:
        """Up to `count` examples; the file is shuffled by `seed`, its head is nothing special."""
        task = get_task(task)
        records = self._read(task)
        order = shuffled_indices(len(records), Random(f"pytest-energy order {seed}"))
        return make_examples(
            task,
            (records[index] for index in order),
            self.tokenizer(model),
            labels=self.labels(task),
            max_length=max_length,
            seed=seed,
            count=count,
        )

    def held_out(self, task: Task | str) -> Sequence[Record]:
        """The records of the validation file; `DataError` where there is none beside training's."""
        task = get_task(task)
        found = find(self.root, task, held_out=True)
        if found is None or found == self._files(task):
            raise DataError(
                f"`{self.root}` has nothing to score `{task.name}` on: looked for "
                f"{looked_for(task, held_out=True)}"
            )
        return _read(found, task)

    def tokenizer(self, model: str) -> Tokenizer:
        """The checkpoint's own, else that of a `vocab.txt` in the folder, else the hub's."""
        if model not in self._tokenizers:
            self._tokenizers[model] = tokenizer_for(model, self.root, self._models)
        return self._tokenizers[model]

    def _files(self, task: Task) -> Found:
        reason = self.missing(task)
        found = self._found[task.name]
        if found is None:
            raise DataError(reason)
        return found

    def _read(self, task: Task) -> Sequence[Record]:
        if task.name not in self._records:
            self._records[task.name] = _read(self._files(task), task)
        return self._records[task.name]


def _read(found: Found, task: Task) -> Sequence[Record]:
    path = found.files[0]
    if found.form == "glue":
        return read_glue(path, task)
    if found.form == "squad":
        return read_squad(path, task)
    if found.form == "tree":
        return ReviewTree(found.files)
    if found.form == "table":
        return read_review_table(path, task)
    if found.form == "columns":
        return read_columns(path)
    if found.form == "ontonotes":
        return read_ontonotes(found.files, task.labels)
    return read_running_text(path)
