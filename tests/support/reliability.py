"""The page of faults and attacks, made from the marks of the tests that try them.

`@pytest.mark.fault(kind, injected, outcome)` and `@pytest.mark.attack(kind, attempt, outcome)`
stand above a test, or among the cases of its parameters. Run this file to print the page.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

KINDS = {
    "fault": (
        *("NVML", "RAPL", "CodeCarbon", "wall meters", "files", "stores and documents"),
        *("processes and signals", "clocks", "neighbours", "data"),
    ),
    "attack": (
        *("locks", "ranks", "secrets", "commands", "text", "stores", "plugs and pipes", "ends"),
    ),
}

_BEGINNING = """\
# Reliability

What may go wrong around a measurement, and what people with bad intentions may try. Each row is a
test, which injects the fault or tries the attack, and asserts the outcome that is named.

`make docs` writes this page from the marks `fault` and `attack` of the tests.
`make test ARGS="-m 'fault or attack'"` runs all of them, `make test ARGS="tests/faults"` those that
have no other place.
"""

_BESIDE = """\
## Beside other packages' own tests

`python perf/foreign_suites.py` runs other packages' own tests without this plugin and with it. A
test differs if it ends otherwise with the plugin, and so each time that it is run again. Measured
on 25 and 26 November 2026 on two cores, both busy with other work, Python 3.11.7 and pytest 9.2.0.
`cut` means that time was up: the first tests of the suite were compared, the others not yet.

| suite | tests compared | of them passed | differ | |
| --- | --- | --- | --- | --- |
| pytest 9.2.0: `test_terminal.py`, `test_junitxml.py` | 393 | 383 | 0 | all |
| pytest-benchmark 5.3.1 | 33 | 33 | 0 | cut (`--minutes 2`) |
| pytest-timeout 2.4.0 | 47 | 41 | 0 | all |
| pytest-xdist 3.8.0 | 212 | 190 | 0 | all |
| pytest-asyncio 1.5.0 | 271 | 268 | 0 | all |
| syrupy 7.0.2 | 234 | 229 | 0 | cut (`--minutes 15`) |
"""

_HEADINGS = {
    "fault": ("Faults", "what is injected", "outcome"),
    "attack": ("Attacks", "who does what", "what happens"),
}


@dataclass(frozen=True)
class Row:
    """One mark: what a test tries, and what has to come of it."""

    mark: str
    kind: str
    tried: str
    outcome: str
    file: str
    """Path of the test's file from the root of the repository."""
    test: str


def rows() -> list[Row]:
    """All marks of all tests, by file and line."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    names = [file.relative_to(ROOT).as_posix() for file in files]
    return [row for name in names for row in rows_of((ROOT / name).read_text("utf-8"), name)]


def rows_of(text: str, name: str) -> Iterator[Row]:
    """The marks of a file; raises `ValueError` for one that is not as it has to be."""
    tree = ast.parse(text)
    lists = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            for call in _calls(node.decorator_list, lists):
                yield _row(call, name, node.name)


def page() -> str:
    """The page in Markdown."""
    return "\n".join([_BEGINNING, *(_table(mark, rows()) for mark in KINDS), _BESIDE])


def _calls(nodes: Sequence[ast.AST], lists: dict[str, ast.expr]) -> Iterator[ast.Call]:
    """Marks within decorators, and within the lists of cases that those name."""
    for node in nodes:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Call) and _mark(inner):
                yield inner
            elif isinstance(inner, ast.Name) and inner.id in lists:
                yield from _calls([lists[inner.id]], {})


def _mark(call: ast.Call) -> str | None:
    """`fault` of `pytest.mark.fault(...)`."""
    whole = ast.unparse(call.func)
    return next((mark for mark in KINDS if whole == f"pytest.mark.{mark}"), None)


def _row(call: ast.Call, file: str, test: str) -> Row:
    mark = str(_mark(call))
    texts = [str(each.value) for each in call.args if isinstance(each, ast.Constant)]
    if len(texts) != 3 or call.keywords or texts[0] not in KINDS[mark]:
        raise ValueError(f"`{file}`, `{test}`: `{mark}` takes its kind and two texts")
    kind, tried, outcome = texts
    return Row(mark, kind, tried, outcome, file, test)


def _table(mark: str, found: Sequence[Row]) -> str:
    heading, tried, outcome = _HEADINGS[mark]
    lines = [f"## {heading}\n"]
    for kind in KINDS[mark]:
        here = [row for row in found if (row.mark, row.kind) == (mark, kind)]
        lines += [f"### {kind[0].upper()}{kind[1:]}\n", f"| {tried} | {outcome} | test |"]
        lines += ["| --- | --- | --- |", *(_line(row) for row in here), ""]
    return "\n".join(lines)


def _line(row: Row) -> str:
    tried, outcome = (text.replace("|", "\\|") for text in (row.tried, row.outcome))
    return f"| {tried} | {outcome} | [{row.test}](../{row.file}) |"


if __name__ == "__main__":
    print(page(), end="")
