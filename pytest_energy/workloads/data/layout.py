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
        return _held_out_documents(folder, patterns) if held_out else _ontonotes(folder)
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


def _ontonotes(folder: Path) -> tuple[Path, ...]:
    """All files below, of them the training set and the English ones where such folders are."""
    files = sorted(folder.rglob("*gold_conll"))
    for part in ("train", "english"):
        files = [path for path in files if part in path.relative_to(folder).parts] or files
    return tuple(files)


def _held_out_documents(folder: Path, parts: tuple[str, ...]) -> tuple[Path, ...]:
    """The files below a folder of one of these names, of them the English ones."""
    files = [
        path
        for path in sorted(folder.rglob("*gold_conll"))
        if not set(parts).isdisjoint(path.relative_to(folder).parts)
    ]
    return tuple([f for f in files if "english" in f.relative_to(folder).parts] or files)
