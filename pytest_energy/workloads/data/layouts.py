"""Where a folder keeps the files of a task: names of folders and files that people use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Literal

from pytest_energy.text import one_line
from pytest_energy.units import listed

Form = Literal["texts", "squad", "tree", "columns", "ontonotes", "text"]


@dataclass(frozen=True)
class Found:
    """The files of a task and the form they are in."""

    form: Form
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Layout:
    """One way to lay out a task: files of these names, in folders of this name.

    `name` is matched against the lower-case name with a dash for each run of other characters. It
    is that of the folder, or of the one that it is in, if its own says nothing, such as `data`.
    With `any_folder` it is that of the file without its suffix. Of `files` (lower-case patterns; of
    forms `tree` and `ontonotes` those of folders) the first that matches counts.
    """

    form: Form
    name: str
    files: tuple[str, ...]
    any_folder: bool = False


# What the hub's, Kaggle's and the authors' own downloads put before and after a name.
_BEFORE = "((datasets?|glue|super-?glue|stanford(nlp)?|nyu-mll|setfit|kaggle|rajpurkar|acl)-)*"
_FORMAT = "-(data(-?sets?)?|csv|tsv|jsonl?|main|master|original|raw|plain-text|english|en)"
_AFTER = f"({_FORMAT}|-v?[0-9]+)*"


def _called(name: str, after: str = _AFTER) -> str:
    return f"{_BEFORE}({name}){after}"


_IMDB = "(.*-)?(acl-?)?imdb(-.*)?"
_CONLL_2003 = r"(.*-)?ner(-.*)?|.*conll-?(2003|003|03).*"
_TABLES = ("train.csv", "train.jsonl", "*train*.csv", "*train*.jsonl")
_OTHERS = ("dev.tsv", "validation.tsv")

# fmt: off
LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "rte": (Layout("texts", _called("rte"), ("train.tsv", *_TABLES, *_OTHERS)),),
    "mnli": (
        Layout("texts", _called("mnli|multi-?nli"), (
            "train.tsv", "multinli*train.txt", *_TABLES,
            "dev_matched.tsv", "validation_matched.tsv", *_OTHERS,
        )),
        Layout("texts", "multinli-.*-(train|dev-matched)", ("*train.jsonl", "*train.txt"),
               any_folder=True),
    ),
    "sst2": (
        Layout("texts", _called("sst-?2?"), ("train.tsv", "*train*.tsv", *_TABLES, *_OTHERS)),
    ),
    "squad_v1": (
        Layout("squad", _called("squad(-?v?1(-?[01])?)?", f"({_FORMAT})*"), (
            "train-v1.1.json", "train.json", "dev-v1.1.json", "dev.json", "validation-v1.1.json",
            "validation.json",
        )),
        Layout("squad", "(train|dev)-v1-1", ("train*.json",), any_folder=True),
    ),
    "squad_v2": (
        Layout("squad", _called("squad-?v?2(-?0)?", f"({_FORMAT})*"), (
            "train-v2.0.json", "train.json", "dev-v2.0.json", "dev.json", "validation-v2.0.json",
            "validation.json",
        )),
        Layout("squad", _called("squad", f"({_FORMAT})*"), (
            "train-v2.0.json", "dev-v2.0.json", "validation-v2.0.json",
        )),
        Layout("squad", "(train|dev)-v2-0", ("train*.json",), any_folder=True),
    ),
    "imdb": (
        Layout("tree", _IMDB, ("train",)),
        Layout("texts", _IMDB, ("train.csv", "train.jsonl", "*imdb*.csv", "*.csv")),
        Layout("texts", "(.*-)?imdb(-.*)?", ("*.csv",), any_folder=True),
    ),
    "conll2003": (
        Layout("columns", _CONLL_2003, (
            "eng.train", "train.conll", "*train*.conll", "train.txt", "*.conll", "valid.txt",
        )),
        Layout("columns", _CONLL_2003, ("*train*.conll", "*.conll"), any_folder=True),
        Layout("columns", "eng", ("eng.train",), any_folder=True),
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
    "mnli": "train.tsv or dev_matched.tsv in a folder named `MNLI`, or multinli_1.0_train.jsonl",
    "sst2": "train.tsv, train.csv or train.jsonl in a folder named `SST-2`",
    "squad_v1": "train-v1.1.json, or train.json in a folder named `squad_v1`",
    "squad_v2": "train-v2.0.json, or train.json in a folder named `squad_v2`",
    "imdb": "the folders train/pos and train/neg in `aclImdb`, or a CSV file in `imdb`",
    "conll2003": "eng.train, train.txt or a *.conll file in a folder named `conll2003` or `ner`",
    "conll2012": "*.gold_conll files in a folder named `conll2012` or `ontonotes`",
    "mlm": "train.txt in a folder named `wikitext…`, `mlm` or `text`",
}

_NEUTRAL = re.compile(
    "data|data-?sets?|original|raw|files?|archive|csv|tsv|jsonl?|txt|train|en|eng|english|main"
    "|plain-text|default"
)
"""Names of folders that say nothing of what is in them."""

_VERSION = re.compile("v?[0-9][0-9-]*")

_TEST_FOLDER = re.compile("(.*-)?test(ing)?(-(set|split))?")
"""Of folders with what is never trained on; `test-data` is what a project's tests read."""

_TEST_FILE = re.compile("(.*-)?tests?(ing|[ab]|set|data|split)?[0-9]*(-.*)?")
"""Of files with that: the word, as in `eng.testa`, but not `latest`."""


def find(root: Path, layouts: Sequence[Layout]) -> Found | None:
    """The files of the first layout that is there, in `root` or in folders three levels below."""
    folders = {folder: _names(folder, root) for folder in _folders(root)}
    for layout in layouts:
        for folder, names in folders.items():
            if layout.any_folder or any(re.fullmatch(layout.name, name) for name in names):
                for pattern in layout.files:
                    if files := _files(folder, layout, pattern):
                        return Found(layout.form, files)
    return None


def _folders(root: Path) -> Iterator[Path]:
    """`root` and three levels below it, the upper ones first, each in the order of names."""
    level = [root]
    yield from level
    for _ in range(3):
        level = [
            child
            for folder in level
            for child in _children(folder)
            if child.is_dir() and not _TEST_FOLDER.fullmatch(_dashed(child.name))
        ]
        yield from level


def _names(folder: Path, root: Path) -> list[str]:
    """The names that a folder may be known by: its own, or that above it if its own says little."""
    own = _dashed(folder.resolve().name)
    if folder == root or folder.parent == root:
        return [own]
    above = _dashed(folder.parent.resolve().name)
    if _VERSION.fullmatch(own):
        return [own, f"{above}-{own}"]
    return [own, above] if _NEUTRAL.fullmatch(own) else [own]


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
        is_test = "test" not in pattern and _TEST_FILE.fullmatch(_dashed(name))
        is_meant = fnmatch(name, pattern) and not is_test
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


NAMED, MOST_LOOKED_AT = 6, 5000
"""Files that an error names, and those that it looks for them among."""

_ALIKE = {
    "rte": "rte",
    "mnli": "nli",
    "sst2": "sst|sentiment",
    "squad_v1": "squad|question-answering|-v1-1-json",
    "squad_v2": "squad|question-answering|-v2-0-json",
    "imdb": "imdb|review",
    "conll2003": "conll|(^|-)ner(-|$)",
    "conll2012": "conll|ontonotes",
    "mlm": "wiki|text|corpus",
}


def nothing_for(name: str, root: Path) -> str:
    """Why `root` has nothing for a task: what was looked for, what is there, and what is near."""
    there = [_relative(child, root) for child in _children(root)]
    lies = f"there is {listed(there, NAMED)}" if there else "the folder is empty"
    near = ", ".join(_near(name, root))
    near = f"; nearest is {near}" if near else ""
    hub = "; Parquet is not read here: use `--energy-data=hub`" if ".parquet`" in near else ""
    return f"`{root}` has nothing for `{name}`: looked for {_LOOKED_FOR[name]}; {lies}{near}{hub}"


def _near(name: str, root: Path) -> list[str]:
    """Files and folders whose names are like the task's."""
    below = (child for folder in _folders(root) for child in _children(folder))
    looked_at = list(islice(below, MOST_LOOKED_AT))
    alike = re.compile(_ALIKE[name])
    near = [path for path in looked_at if alike.search(_dashed(str(path.relative_to(root))))]
    if not near:
        called = {_dashed(path.name): path for path in looked_at}
        near = [called[slip] for slip in get_close_matches(_dashed(name), called, cutoff=0.7)]
    files = [path for path in near if path.is_file()] or near
    return [_relative(path, root) for path in files[: NAMED // 2]]


def _relative(path: Path, root: Path) -> str:
    return f"`{one_line(path.relative_to(root))}{'/' if path.is_dir() else ''}`"
