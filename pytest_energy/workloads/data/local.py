"""A folder of data sets: real examples from the files that are found in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Literal

from pytest_energy.errors import DataError
from pytest_energy.files import files_digest
from pytest_energy.text import one_line
from pytest_energy.workloads.data.columns import label_set, read_columns, read_ontonotes
from pytest_energy.workloads.data.examples import Record, Skipped, Tagged, shuffled
from pytest_energy.workloads.data.features import UNCASED, RecordSource, tokenizer_file
from pytest_energy.workloads.data.layouts import LAYOUTS, Form, Found, find, nothing_for
from pytest_energy.workloads.data.readers import (
    read_reviews,
    read_running_text,
    read_squad,
    read_texts,
)
from pytest_energy.workloads.tasks import Task, get_task


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
        return (
            tuple(
                f"`{name}` is {len(records):,} {_UNITS[get_task(name).head]} of "
                f"{_shown(self._found[name].files, self.root)}"
                + (f" ({self._skipped[name]})" if self._skipped[name] else "")
                for name, records in self._records.items()
            )
            + self.vocabularies()
        )


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
