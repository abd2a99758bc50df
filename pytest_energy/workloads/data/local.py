"""Where a folder keeps the files of a task: names of folders and files that people use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from random import Random
from typing import Literal

from pytest_energy.errors import DataError
from pytest_energy.files import files_digest
from pytest_energy.workloads.data import Record, Tagged, shuffled_indices
from pytest_energy.workloads.data.features import (
    UNCASED,
    RecordSource,
    checkpoint_tokenizer,
    vocabulary_of,
)
from pytest_energy.workloads.data.readers import (
    ReviewTree,
    label_set,
    read_columns,
    read_glue,
    read_ontonotes,
    read_review_table,
    read_running_text,
    read_squad,
)
from pytest_energy.workloads.tasks import Task, get_task

Form = Literal["glue", "squad", "tree", "table", "columns", "ontonotes", "text"]

_DEPTH = 2
_IMDB = "(.*-)?(acl-?)?imdb(-.*)?"
_TABLES = ("*test*.csv", "*valid*.csv", "*dev*.csv")
_CONLL_2003 = r"(.*-)?ner(-.*)?|.*conll-?(20)?03.*"


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
    (lower-case patterns) the first that matches counts; `held_out` are those of what training does
    not see.
    """

    form: Form
    name: str
    files: tuple[str, ...]
    held_out: tuple[str, ...]
    any_folder: bool = False


def _squad(name: str, *versions: str) -> Layout:
    held_out = tuple(f"{s}{version}.json" for s in ("dev", "validation") for version in versions)
    return Layout("squad", name, (*(f"train{v}.json" for v in versions), *held_out), held_out)


def _glue(name: str, *held_out: str) -> Layout:
    return Layout("glue", name, ("train.tsv", *held_out), held_out)


LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "rte": (_glue("rte", "dev.tsv", "validation.tsv"),),
    "mnli": (
        _glue(
            "mnli|multi-?nli",
            *("dev_matched.tsv", "validation_matched.tsv", "dev.tsv", "validation.tsv"),
        ),
    ),
    "sst2": (_glue("sst-?2?", "dev.tsv", "validation.tsv"),),
    "squad_v1": (_squad("squad(-?v?1(-?[01])?)?", "-v1.1", ""),),
    "squad_v2": (_squad("squad-?v?2(-?0)?", "-v2.0", ""), _squad("squad", "-v2.0")),
    "imdb": (
        Layout("tree", _IMDB, ("train",), ("test",)),
        Layout("table", _IMDB, ("train.csv", "*imdb*.csv", "*.csv"), _TABLES),
        Layout("table", "(.*-)?imdb(-.*)?", ("*.csv",), (), any_folder=True),
    ),
    "conll2003": (
        Layout(
            "columns",
            _CONLL_2003,
            ("eng.train", "train.conll", "*train*.conll", "train.txt", "*.conll", "valid.txt"),
            ("eng.testa", "*valid*.conll", "*dev*.conll", "valid.txt", "dev.txt"),
        ),
        Layout("columns", _CONLL_2003, ("*train*.conll", "*.conll"), (), any_folder=True),
    ),
    "conll2012": (
        Layout(
            "ontonotes", "(.*-)?(conll-?(20)?12|ontonotes).*", ("train",), ("development", "dev")
        ),
    ),
    "mlm": (
        Layout(
            "text",
            "wikitext.*|mlm|text",
            ("train.txt", "*train*", "*.txt", "*.raw", "*.tokens"),
            ("*valid*", "*dev*"),
        ),
    ),
}


def find(root: Path, task: Task, *, held_out: bool = False) -> Found | None:
    """The files of the task in `root` or in folders up to two levels below it.

    They are those that training sees, or with `held_out` those that it does not.
    """
    folders = list(_folders(root))
    for layout in LAYOUTS[task.name]:
        for folder in folders:
            if layout.any_folder or re.fullmatch(layout.name, _dashed(folder.resolve().name)):
                files = _files(folder, layout, held_out)
                if files:
                    return Found(layout.form, files)
    return None


def looked_for(task: Task, *, held_out: bool = False) -> str:
    """What `find` looks for, for people to read."""
    if not held_out:
        return _LOOKED_FOR[task.name]
    names = dict.fromkeys(name for layout in LAYOUTS[task.name] for name in layout.held_out)
    return f"{', '.join(names)} beside what it trains on"


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


def _folders(root: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """`root` and what is below it, the upper levels first, each in the order of names."""
    level = [root]
    yield from level
    for _ in range(depth):
        level = [child for folder in level for child in _children(folder) if child.is_dir()]
        yield from level


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    except PermissionError:
        return []


def _dashed(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _files(folder: Path, layout: Layout, held_out: bool) -> tuple[Path, ...]:
    patterns = layout.held_out if held_out else layout.files
    if layout.form == "tree":
        return _tree(folder, patterns[0])
    if layout.form == "ontonotes":
        return _documents(folder, patterns, held_out)
    children = _children(folder)
    names = [child for child in children if held_out or "test" not in child.name.lower()]
    for pattern in patterns:
        for child in names:
            fits = not layout.any_folder or re.fullmatch(layout.name, _dashed(child.stem))
            if fits and fnmatch(child.name.lower(), pattern) and child.is_file():
                return (child,)
    return ()


def _tree(folder: Path, split: str) -> tuple[Path, ...]:
    """The reviews of both classes; a tree with one class alone is none."""
    split = f"[{split[0]}{split[0].upper()}]{split[1:]}"
    classes = [
        sorted(folder.glob(f"{split}/{name}/*.txt")) for name in ("[nN][eE][gG]", "[pP][oO][sS]")
    ]
    return tuple(path for reviews in classes for path in reviews) if all(classes) else ()


def _documents(folder: Path, parts: tuple[str, ...], held_out: bool) -> tuple[Path, ...]:
    """OntoNotes' files below a folder of one of these names, of them the English ones.

    To train on, all files do where there is no such folder.
    """
    files = sorted(folder.rglob("*gold_conll"))
    inside = [p for p in files if not set(parts).isdisjoint(p.relative_to(folder).parts)]
    files = inside if inside or held_out else files
    return tuple([p for p in files if "english" in p.relative_to(folder).parts] or files)


class LocalSource(RecordSource):
    """Real examples from the files below `root`; what was read once is kept.

    `models` is the folder of checkpoints, whose tokenizers come first.
    """

    kind: Literal["local"] = "local"

    def __init__(self, root: Path, models: Path | None = None) -> None:
        super().__init__(root, models)
        self.root = root
        self._found: dict[str, Found | None] = {}
        self._records: dict[str, Sequence[Record]] = {}
        self._identities: dict[tuple[Path, ...], str] = {}

    def identity(self, task: Task | str, *, model: str = UNCASED) -> str:
        """`local:` and eight hex digits of what the task's files and the vocabulary hold."""
        task = get_task(task)
        files = self._files(task).files
        vocabulary = checkpoint_tokenizer(model, self._models) or vocabulary_of(self.root, model)
        if vocabulary:
            files = (*files, vocabulary)
        if files not in self._identities:
            self._identities[files] = files_digest(files)
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

    def _shuffled(self, task: Task, rng: Random) -> Iterator[Record]:
        # A file's head is nothing special, and may be all of one label.
        records = self._read(task)
        return (records[index] for index in shuffled_indices(len(records), rng))

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
