"""Where a folder keeps the files of a task: names of folders and files that people use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from pytest_energy.workloads.tasks import Task

Form = Literal["glue", "squad", "tree", "table", "columns", "ontonotes", "text"]

_DEPTH = 2
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
    (lower-case patterns) the first that matches counts.
    """

    form: Form
    name: str
    files: tuple[str, ...]
    any_folder: bool = False


def _squad(name: str, *versions: str) -> Layout:
    files = [
        f"{split}{version}.json" for split in ("train", "dev", "validation") for version in versions
    ]
    return Layout("squad", name, tuple(files))


LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "rte": (Layout("glue", "rte", ("train.tsv", "dev.tsv", "validation.tsv")),),
    "mnli": (
        Layout(
            "glue",
            "mnli|multi-?nli",
            ("train.tsv", "dev_matched.tsv", "validation_matched.tsv", "dev.tsv", "validation.tsv"),
        ),
    ),
    "sst2": (Layout("glue", "sst-?2?", ("train.tsv", "dev.tsv", "validation.tsv")),),
    "squad_v1": (_squad("squad(-?v?1(-?[01])?)?", "-v1.1", ""),),
    "squad_v2": (_squad("squad-?v?2(-?0)?", "-v2.0", ""), _squad("squad", "-v2.0")),
    "imdb": (
        Layout("tree", "(.*-)?(acl-?)?imdb(-.*)?", ("train",)),
        Layout("table", "(.*-)?(acl-?)?imdb(-.*)?", ("train.csv", "*imdb*.csv", "*.csv")),
        Layout("table", "(.*-)?imdb(-.*)?", ("*.csv",), any_folder=True),
    ),
    "conll2003": (
        Layout(
            "columns",
            _CONLL_2003,
            ("eng.train", "train.conll", "*train*.conll", "train.txt", "*.conll", "valid.txt"),
        ),
        Layout("columns", _CONLL_2003, ("*train*.conll", "*.conll"), any_folder=True),
    ),
    "conll2012": (Layout("ontonotes", "(.*-)?(conll-?(20)?12|ontonotes).*", ("*gold_conll",)),),
    "mlm": (
        Layout(
            "text", "wikitext.*|mlm|text", ("train.txt", "*train*", "*.txt", "*.raw", "*.tokens")
        ),
    ),
}


def find(root: Path, task: Task) -> Found | None:
    """The files of the task in `root` or in folders up to two levels below it."""
    folders = list(_folders(root))
    for layout in LAYOUTS[task.name]:
        for folder in folders:
            if layout.any_folder or re.fullmatch(layout.name, _dashed(folder.resolve().name)):
                files = _files(folder, layout)
                if files:
                    return Found(layout.form, files)
    return None


def looked_for(task: Task) -> str:
    """What `find` looks for, for people to read."""
    return _LOOKED_FOR[task.name]


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


def _files(folder: Path, layout: Layout) -> tuple[Path, ...]:
    if layout.form == "tree":
        return _tree(folder)
    if layout.form == "ontonotes":
        return _ontonotes(folder)
    names = [child for child in _children(folder) if "test" not in child.name.lower()]
    for pattern in layout.files:
        for child in names:
            fits = not layout.any_folder or re.fullmatch(layout.name, _dashed(child.stem))
            if fits and fnmatch(child.name.lower(), pattern) and child.is_file():
                return (child,)
    return ()


def _tree(folder: Path) -> tuple[Path, ...]:
    """The reviews of both classes; a tree with one class alone is none."""
    classes = [
        sorted(folder.glob(f"[tT]rain/{name}/*.txt")) for name in ("[nN][eE][gG]", "[pP][oO][sS]")
    ]
    return tuple(path for reviews in classes for path in reviews) if all(classes) else ()


def _ontonotes(folder: Path) -> tuple[Path, ...]:
    """All files below, of them the training set and the English ones where such folders are."""
    files = sorted(folder.rglob("*gold_conll"))
    for part in ("train", "english"):
        files = [path for path in files if part in path.relative_to(folder).parts] or files
    return tuple(files)
