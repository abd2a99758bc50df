"""`pytest-energy comment`: what a pull request is told of a run, if there is anything to tell."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from pytest_energy.cli import describe, say, write_text
from pytest_energy.errors import EnergyError
from pytest_energy.reports.markdown import comment
from pytest_energy.results.json_codec import read_document
from pytest_energy.text import one_line

_ADDRESS = re.compile(r"https?://[\w./:%?&=~+-]+")
"""An address that can stand in a link of Markdown."""


def add_comment(parser: argparse.ArgumentParser) -> None:
    """Register the arguments."""
    describe(
        parser,
        "Write the comment of a pull request: verdicts that are not `within`, why, and what to do "
        "next. If all are, it is empty. The record is not trusted: it is checked and escaped.",
        "pytest-energy comment run.json --link https://example.org/runs/7 -o body.md",
    )
    parser.add_argument("record", metavar="RECORD.json", type=Path, help="what --energy-json wrote")
    parser.add_argument("--link", required=True, metavar="URL", help="where the run can be seen")
    parser.add_argument("-o", "--output", metavar="PATH", type=Path, help="(stdout)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the comment, or nothing; always 0."""
    if not _ADDRESS.fullmatch(options.link):
        raise EnergyError(
            f"`--link={one_line(options.link)}` is no address such as https://example.org/runs/7"
        )
    text = comment(read_document(options.record).record, options.link)
    if options.output is not None:
        write_text(options.output, text)
    elif text:
        say(*text.splitlines())
    return 0
