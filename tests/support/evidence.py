"""The page of evidence: what the pages of docs/ promise, and where each promise was shown.

The table is `promises.toml` beside this file. Nothing of the page is typed twice: a promise is a
piece of its page, word for word, and a figure is a piece or a cell of a table of the page that says
how it was measured. What a page does not say any more is refused, and so is a command that names a
file or a test that is not there. Run this file to print the page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("promises.toml")

PLACES = {
    "real GPU": "measured on a GPU",
    "real data": "recorded on real hardware by others, judged by this project",
    "real CPU": "measured on a CPU, whose joules are modelled, or where only seconds count",
    "simulation": "seeded simulations, simulated cards, counters and processes",
    "not yet": "nowhere so far; the command is what would show it, if there is one",
}
"""Where a promise may have been shown, and what that means."""

_BEGINNING = """\
# Evidence

What the pages promise, and where each promise was shown. `make docs` writes this page from
`tests/support/promises.toml`: promises are the pages' own words, and figures are those that the
pages print, as the command printed them. *Asserted* means that the test fails if it is not so. What
is not shown yet is said, too.

| where | what that is | promises |
| --- | --- | --- |
"""


@dataclass(frozen=True)
class Shown:
    """One way in which a promise was shown; `figures` are pieces and cells of `page`."""

    where: str
    command: str
    figures: tuple[str, ...]
    page: str
    note: str = ""


@dataclass(frozen=True)
class Promise:
    """A piece of a page, word for word, and where it was shown."""

    page: str
    says: str
    shown: tuple[Shown, ...]


def promises(path: Path = TABLE) -> list[Promise]:
    """All of the table, in its order; raises `ValueError` for a name that is not known."""
    stored = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Promise(page, row["says"], tuple(_shown(page, each) for each in row["shown"]))
        for page, rows in stored.items()
        for row in rows
    ]


def page(found: Sequence[Promise] | None = None) -> str:
    """The page in Markdown; raises `ValueError` for what is not so (any more)."""
    found = promises() if found is None else found
    texts = {name: _text(name) for name in _names(found)}
    for promise in found:
        _require(promise.says, promise.page, texts)
    counts = (
        f"| {where} | {meaning} | {sum(_is_shown(each, where) for each in found)} |"
        for where, meaning in PLACES.items()
    )
    lines = [_BEGINNING + "\n".join(counts), f"| all | | {len(found)} |"]
    for name in dict.fromkeys(each.page for each in found):
        title = next(line[2:] for line in texts[name].splitlines() if line.startswith("# "))
        lines += [f"\n## {title}\n", f"[{name}]({_link(name)})\n"]
        lines += ["| promise | shown | by | found |", "| --- | --- | --- | --- |"]
        for promise in found:
            if promise.page == name:
                lines += _rows(promise, texts)
    return "\n".join(lines) + "\n"


def _shown(page: str, row: Mapping[str, Any]) -> Shown:
    known = {"where", "command", "figures", "page", "note"}
    if row.keys() - known or row["where"] not in PLACES:
        raise ValueError(f"{dict(row)}: `where` is one of {', '.join(PLACES)}; {known} are known")
    figures = tuple(row.get("figures", ()))
    return Shown(
        row["where"], row.get("command", ""), figures, row.get("page", page), row.get("note", "")
    )


def _is_shown(promise: Promise, where: str) -> bool:
    return where in {each.where for each in promise.shown}


def _rows(promise: Promise, texts: Mapping[str, str]) -> list[str]:
    lines, says = [], ("… " if promise.says[0].islower() else "") + promise.says
    for shown in promise.shown:
        _require_command(shown.command)
        if re.search(r"\d", shown.note):
            raise ValueError(f"`{shown.note}`: figures come from a page")
        told = [*(_figure(each, shown.page, texts) for each in shown.figures), shown.note]
        found = "; ".join(each.rstrip(".") for each in told if each)
        if not found:
            found = _without_figures(shown)
        command = f"`{shown.command}`" if shown.command else ""
        lines.append(f"| {says} | {shown.where} | {command} | {found} |")
        says = ""
    return lines


def _without_figures(shown: Shown) -> str:
    if shown.where != "not yet" and "pytest " not in shown.command:
        raise ValueError(f"`{shown.command}` has no figure")
    return "" if shown.where == "not yet" else "asserted"


def _figure(asked: str, page: str, texts: Mapping[str, str]) -> str:
    """A piece of a page, or `row | column | column` of a table, as `row: column value, …`."""
    if "|" not in asked:
        return _require(asked, page, texts)
    row, *columns = (each.strip() for each in asked.split("|"))
    names = [each.strip() for each in row.split(" & ")]
    found = [
        (header[0], [dict(zip(header, cells, strict=False)).get(column) for column in columns])
        for header, cells in _tables(texts[page])
        if all(name in cells for name in names)
        and all(header.count(column) == 1 for column in columns)
    ]
    if len(found) != 1:
        raise ValueError(f"`{asked}` is in {len(found)} rows of tables of `{page}`, not in one")
    of, values = found[0]
    told = ", ".join(
        f"{column} {value}" for column, value in zip(columns, values, strict=True) if value
    )
    return f"{f'{of} ' if row[0].isdigit() else ''}{', '.join(names)}: {told}"


def _tables(text: str) -> list[tuple[list[str], list[str]]]:
    """Header and cells of each row of all tables; an empty first cell is that of the row above."""
    rows: list[tuple[list[str], list[str]]] = []
    header, first = list[str](), ""
    for line in text.splitlines():
        cells = [_plain(each) for each in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if not line.startswith("|"):
            header = []
        elif not header:
            header = [each.strip() for each in cells]
        elif not set(line) <= set("|- :"):
            first = cells[0] or first
            rows.append((header, [first, *cells[1:]]))
    return rows


def _require(piece: str, page: str, texts: Mapping[str, str]) -> str:
    if _plain(piece) not in _plain(texts[page]):
        raise ValueError(f"`{page}` does not say: {piece}")
    return piece


def _require_command(command: str) -> None:
    """Raise `ValueError` if a command names a file or a test that is not there."""
    for name, _, test in (each.partition("::") for each in command.split()):
        if re.match(r"(tests|perf|benchmarks|docs)/", name):
            if not (ROOT / name).exists():
                raise ValueError(f"`{command}` names `{name}`, which is not there")
            if test and f"def {test}(" not in (ROOT / name).read_text(encoding="utf-8"):
                raise ValueError(f"`{name}` has no `{test}`")


@cache
def _plain(text: str) -> str:
    """Text without line breaks, emphasis and the targets of links."""
    text = re.sub(r"\[([^\]]*)\]\([^)\s]*\)", r"\1", text)
    return " ".join(text.replace("*", "").split())


def _names(found: Sequence[Promise]) -> set[str]:
    return {name for each in found for name in (each.page, *(one.page for one in each.shown))}


def _text(name: str) -> str:
    folder = ROOT if name == "README.md" else ROOT / "docs"
    return (folder / name).read_text(encoding="utf-8")


def _link(name: str) -> str:
    return f"../{name}" if name == "README.md" else name


if __name__ == "__main__":
    print(page(), end="")
