"""The package decodes, reads, prints and writes texts by its own few functions alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "pytest_energy"

OWNERS = frozenset({"text.py", "files.py"})
"""Modules that have the functions."""

READS = {
    # Lines of a log, whose faults are named.
    "meters/wall/log.py": "decode",
    # The package's own resources, or CodeCarbon's.
    "reports/html/__init__.py": "read_text",
    "results/footprint.py": "read_text",
    "workloads/tasks.py": "read_text",
    # ASCII alone: base64, and a key of torch's store.
    "meters/wall/http.py": "decode",
    "workloads/distributed/rank.py": "decode",
}
"""Where else a text is decoded, and why."""

PRINTS = {
    "cli/__init__.py": "print",  # `say`
    "errors.py": "print",  # what is no warning there, and as safe
    "workloads/distributed/rank.py": "print",
}

WRITES = {
    # Into a folder that this process has just made for itself.
    "processes.py": "open",
    # Made exclusively, beside what is there.
    "history/store.py": "open",
}


def _calls() -> Iterator[tuple[str, str, ast.Call]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name in OWNERS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func
                attribute = called.attr if isinstance(called, ast.Attribute) else ""
                yield name, attribute or getattr(called, "id", ""), node


def _keywords(call: ast.Call) -> dict[str, object]:
    return {
        word.arg: word.value.value
        for word in call.keywords
        if word.arg and isinstance(word.value, ast.Constant)
    }


def _mode(call: ast.Call) -> str:
    given = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
    modes = [str(mode) for mode in (*given, _keywords(call).get("mode", "r")) if mode is not None]
    return next((mode for mode in modes if len(mode) <= 3), "r")


def _unexpected(found: set[tuple[str, str]], allowed: dict[str, str]) -> set[tuple[str, str]]:
    return found - set(allowed.items())


def test_text_of_the_system_is_decoded_by_the_reader() -> None:
    found = set()
    for module, name, call in _calls():
        words = _keywords(call)
        method = isinstance(call.func, ast.Attribute)
        strict = name == "decode" and words.get("errors", "strict") == "strict"
        as_text = words.get("text") is True or words.get("universal_newlines") is True
        piped = name in ("run", "Popen", "check_output") and "encoding" in words
        read = method and name == "read_text"
        opened = name == "open" and "b" not in _mode(call) and _is_file(call)
        if as_text or piped or read or opened or (method and strict and len(call.args) < 2):
            found.add((module, name))

    assert not _unexpected(found, READS), "use `files.read_text` or `text.decoded`"


def _is_file(call: ast.Call) -> bool:
    """Whether a call of `open` opens a file as text: those of meters and archives take no mode."""
    if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "os":
        return False
    return isinstance(call.func, ast.Name) or _mode(call) != "r" or "encoding" in _keywords(call)


def test_files_are_written_by_the_writer() -> None:
    found = set()
    for module, name, call in _calls():
        writes = name == "open" and bool(set("wax+") & set(_mode(call)))
        method = isinstance(call.func, ast.Attribute)  # `cli.write_text` is the writer's own
        if writes or (method and name in ("write_text", "write_bytes")):
            found.add((module, name))

    assert not _unexpected(found, WRITES), "use `files.write_atomically` or `files.append`"


def test_lines_are_printed_by_one_function() -> None:
    found = {(module, name) for module, name, _ in _calls() if name == "print"}
    rich = {("reports/terminal.py", "print"), ("reports/tables.py", "print")}

    assert not _unexpected(found - rich, PRINTS), "use `cli.say`"
