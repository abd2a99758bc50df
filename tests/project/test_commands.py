"""What the pages say to type exists: options, commands and arguments, targets, extras, names."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import pytest_energy
from doc_pages import ROOT, blocks
from pytest_energy.cli import COMMANDS, SUBCOMMANDS, Parser
from pytest_energy.plugin.options import OPTIONS

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FLAGS = {option.flag for option in OPTIONS}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@each_page
def test_options_exist(page: Path) -> None:
    named = re.findall(r"--(?:no-)?energy-[a-z-]+", page.read_text(encoding="utf-8"))
    known = FLAGS | {flag.replace("--", "--no-") for flag in FLAGS} | {"--energy", "--no-energy"}

    assert {flag.rstrip("-") for flag in named} - known == set()


@each_page
def test_commands_take_their_arguments(page: Path) -> None:
    for arguments in _typed(page, "pytest-energy"):
        name, *rest = arguments
        parser = Parser(prog=name)
        getattr(import_module(f"pytest_energy.cli.{COMMANDS[name][0]}"), f"add_{name}")(parser)
        if name in SUBCOMMANDS and rest[:1] not in ([each] for each in SUBCOMMANDS[name]):
            rest = [SUBCOMMANDS[name][0], *rest]
        parser.parse_args(rest)


@each_page
def test_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    for arguments in _typed(page, "make"):
        assert re.search(rf"^{arguments[0]}:|^\.PHONY:.* {arguments[0]}\b", makefile, re.MULTILINE)


@each_page
def test_extras_exist(page: Path) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    known = set(re.findall(r"^(\w+) = \[", table, re.MULTILINE))
    named = re.findall(r"pytest-energy\[([\w,]+)\]", page.read_text(encoding="utf-8"))

    assert {extra for each in named for extra in each.split(",")} <= known


@each_page
def test_examples_are_python_and_import_what_is_public(page: Path) -> None:
    for block in blocks(page):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and node.module == "pytest_energy":
                assert {alias.name for alias in node.names} <= set(pytest_energy.__all__)


def _typed(page: Path, program: str) -> Iterator[list[str]]:
    """The arguments that a page's consoles give a program, up to a pipe or another command."""
    for block in blocks(page):
        for command in block.commands:
            words = shlex.split(command, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words[:1] == [program]:
                ends = [words.index(word) for word in ("|", "&&") if word in words]
                yield words[1 : min(ends, default=len(words))]
