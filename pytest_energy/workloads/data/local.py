"""Where a folder keeps the files of a task: names of folders and files that people use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from random import Random
from typing import Literal

from pytest_energy.errors import DataError
from pytest_energy.files import files_digest
from pytest_energy.workloads.data.examples import Record, Tagged, shuffled
from pytest_energy.workloads.data.features import UNCASED, RecordSource, tokenizer_file
from pytest_energy.workloads.data.readers import (
    label_set,
    read_columns,
    read_glue,
    read_ontonotes,
    read_review_table,
    read_reviews,
    read_running_text,
    read_squad,
)
from pytest_energy.workloads.tasks import Task, get_task

Form = Literal["glue", "squad", "tree", "table", "columns", "ontonotes", "text"]


@dataclass(frozen=True)
class Found:
    """The files of a task and the form they are in."""

    form: Form
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Layout:
    """One way to lay out a task: files of these names, in folders of this name.

    `name` is matched against the lower-case name with a dash for each run of other characters; it
    is that of the folder or, with `any_folder`, that of the file without its suffix. Of `files`
    (lower-case patterns; of forms `tree` and `ontonotes` those of folders) the first that matches
    counts.
    """

    form: Form
    name: str
    files: tuple[str, ...]
    any_folder: bool = False


_IMDB = "(.*-)?(acl-?)?imdb(-.*)?"
_CONLL_2003 = r"(.*-)?ner(-.*)?|.*conll-?(20)?03.*"

# fmt: off
LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "rte": (Layout("glue", "rte", ("train.tsv", "dev.tsv", "validation.tsv")),),
    "mnli": (
        Layout("glue", "mnli|multi-?nli", (
            "train.tsv", "dev_matched.tsv", "validation_matched.tsv", "dev.tsv", "validation.tsv",
        )),
    ),
    "sst2": (Layout("glue", "sst-?2?", ("train.tsv", "dev.tsv", "validation.tsv")),),
    "squad_v1": (
        Layout("squad", "squad(-?v?1(-?[01])?)?", (
            "train-v1.1.json", "train.json", "dev-v1.1.json", "dev.json", "validation-v1.1.json",
            "validation.json",
        )),
    ),
    "squad_v2": (
        Layout("squad", "squad-?v?2(-?0)?", (
            "train-v2.0.json", "train.json", "dev-v2.0.json", "dev.json", "validation-v2.0.json",
            "validation.json",
        )),
        Layout("squad", "squad", ("train-v2.0.json", "dev-v2.0.json", "validation-v2.0.json")),
    ),
    "imdb": (
        Layout("tree", _IMDB, ("train",)),
        Layout("table", _IMDB, ("train.csv", "*imdb*.csv", "*.csv")),
        Layout("table", "(.*-)?imdb(-.*)?", ("*.csv",), any_folder=True),
    ),
    "conll2003": (
        Layout("columns", _CONLL_2003, (
            "eng.train", "train.conll", "*train*.conll", "train.txt", "*.conll", "valid.txt",
        )),
        Layout("columns", _CONLL_2003, ("*train*.conll", "*.conll"), any_folder=True),
    ),
    "conll2012": (Layout("ontonotes", "(.*-)?(conll-?(20)?12|ontonotes).*", ("train", "*")),),
    "mlm": (
        Layout("text", "wikitext.*|mlm|text",
               ("train.txt", "*train*", "*.txt", "*.raw", "*.tokens")),
    ),
}
# fmt: on

_LOOKED_FOR = {
    "rte": "train.tsv in a folder named `RTE`",
    "mnli": "train.tsv or dev_matched.tsv in a folder named `MNLI`",
    "sst2": "train.tsv in a folder named `SST-2`",
    "squad_v1": "train-v1.1.json or train.json in a folder named `squad_v1`",
    "squad_v2": "train-v2.0.json or train.json in a folder named `squad_v2`",
    "imdb": "the folders train/pos and train/neg in `aclImdb`, or a CSV file in `imdb`",
    "conll2003": "a *.conll file with `ner` or `conll2003` in its name or its folder's",
    "conll2012": "*.gold_conll files in a folder named `conll2012` or `ontonotes`",
    "mlm": "train.txt in a folder named `wikitext…`, `mlm` or `text`",
}


def find(root: Path, layouts: Sequence[Layout]) -> Found | None:
    """The files of the first layout that is there, in `root` or in folders two levels below it."""
    folders = list(_folders(root))
    for layout in layouts:
        for folder in folders:
            if layout.any_folder or re.fullmatch(layout.name, _dashed(folder.resolve().name)):
                for pattern in layout.files:
                    if files := _files(folder, layout, pattern):
                        return Found(layout.form, files)
    return None


def _folders(root: Path) -> Iterator[Path]:
    """`root` and two levels below it, the upper ones first, each in the order of names."""
    level = [root]
    yield from level
    for _ in range(2):
        level = [child for folder in level for child in _children(folder) if child.is_dir()]
        yield from level


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    except PermissionError:
        return []


def _dashed(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _files(folder: Path, layout: Layout, pattern: str) -> tuple[Path, ...]:
    if layout.form == "tree":
        return _tree(folder, pattern)
    if layout.form == "ontonotes":
        return _documents(folder, pattern)
    for child in _children(folder):
        name = child.name.lower()
        fits = not layout.any_folder or re.fullmatch(layout.name, _dashed(child.stem))
        # A test split is none to train on.
        is_meant = fnmatch(name, pattern) and ("test" in pattern or "test" not in name)
        if fits and is_meant and child.is_file():
            return (child,)
    return ()


def _tree(folder: Path, split: str) -> tuple[Path, ...]:
    """The reviews of both classes; a tree with one class alone is none."""
    split = f"[{split[0]}{split[0].upper()}]{split[1:]}"
    classes = [
        sorted(folder.glob(f"{split}/{name}/*.txt")) for name in ("[nN][eE][gG]", "[pP][oO][sS]")
    ]
    return tuple(path for reviews in classes for path in reviews) if all(classes) else ()


def _documents(folder: Path, pattern: str) -> tuple[Path, ...]:
    """OntoNotes' files in or below a folder of such a name, of them the English ones."""
    parts = {path: path.relative_to(folder).parts for path in sorted(folder.rglob("*gold_conll"))}
    files = [path for path, names in parts.items() if any(fnmatch(n, pattern) for n in names)]
    return tuple([path for path in files if "english" in parts[path]] or files)


class LocalSource(RecordSource):
    """Real examples from the files below `root`; what was read once is kept."""

    kind: Literal["local"] = "local"

    def __init__(self, root: Path, models: Path | None = None) -> None:
        super().__init__(root, models)
        self.root = root
        self._found: dict[str, Found] = {}
        self._records: dict[str, Sequence[Record]] = {}
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
        """The files that training reads; `DataError` where there are none."""
        name = task.name
        if name not in self._found:
            found = find(self.root, LAYOUTS[name])
            if found is None:
                looked_for = _LOOKED_FOR[name]
                raise DataError(f"`{self.root}` has nothing for `{name}`: looked for {looked_for}")
            self._found[name] = found
        return self._found[name]

    def _read(self, task: Task) -> Sequence[Record]:
        if task.name not in self._records:
            found = self.found(task)
            self._records[task.name] = READERS[found.form](found.files, task)
        return self._records[task.name]


READERS: Mapping[Form, Callable[[tuple[Path, ...], Task], Sequence[Record]]] = {
    "glue": lambda files, task: read_glue(files[0], task),
    "squad": lambda files, task: read_squad(files[0], task),
    "tree": lambda files, _: read_reviews(files),
    "table": lambda files, task: read_review_table(files[0], task),
    "columns": lambda files, _: read_columns(files[0]),
    "ontonotes": lambda files, task: read_ontonotes(files, task.labels),
    "text": lambda files, _: read_running_text(files[0]),
}
"""What reads a task's files of each form; `DataError` where they are not of it."""
