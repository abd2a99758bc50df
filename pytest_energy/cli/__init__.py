"""The command `pytest-energy`: tools beside the plugin."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn, TextIO

from pytest_energy.errors import EnergyError, did_you_mean
from pytest_energy.files import require_writable, write_atomically
from pytest_energy.text import one_line, safe_line, safe_lines

USAGE_ERROR = 4
"""Exit code for bad input, as pytest's own."""

UNEXPECTED_ERROR = 3
"""Exit code for a fault of this package, as pytest's own; 1 is an answer, such as drift."""

_CLOSED_PIPE = 128 + 13
_INTERRUPTED = 128 + 2
_HELP_WIDTH = 78
_ISSUES = "https://github.com/pytest-energy/pytest-energy/issues"

COMMANDS = {
    "doctor": ("machine", "which meters work here, and what machine this is"),
    "baselines": ("baselines", "list, check, compare and tidy baselines"),
    "acknowledge": (
        "acknowledge",
        "let a figure be worse than its baseline, up to a limit and a day",
    ),
    "estimate": ("estimate", "kWh, gCO2e, money and hours of a full run"),
    "calibrate": ("machine", "fit joules at the wall to the device's joules"),
    "qualify": ("qualify", "find by experiment what a GPU's counter and sensor can do"),
    "export": ("export", "a run's figures for tools that keep them"),
    "comment": ("export", "what a pull request is told of a run, if there is anything to tell"),
    "drift": ("history", "which figures moved over the sessions of a history, since when and why"),
    "bisect": ("bisect", "which commit, or package, a change of J/token comes from, by A/B"),
    "history": ("history", "list sessions, or compact them to Parquet"),
    "report": ("history", "a page of runs, and of what a history says of them over time"),
}
"""The module of each command, whose `add_NAME` registers its arguments and `run`; what it does."""


SUBCOMMANDS = {"history": ("list", "compact")}
"""What commands do that do several things; the first is meant if none is named."""


class Parser(argparse.ArgumentParser):
    """A parser that ends with this command's exit code for bad input."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, and exit."""
        self.print_usage(sys.stderr)
        self.exit(USAGE_ERROR, f"{self.prog}: {safe_lines(message)}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    _print_what_it_can()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(given)
        sys.stdout.flush()
    except EnergyError as error:
        say(*f"pytest-energy: {error}".split("\n"), to=sys.stderr)
        return USAGE_ERROR
    except BrokenPipeError:  # such as of `| head`, which has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CLOSED_PIPE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:
        say(*_unexpected(error).split("\n"), to=sys.stderr)
        return UNEXPECTED_ERROR
    return code


def _unexpected(error: Exception) -> str:
    trace = "".join(traceback.format_exception(error)).rstrip()
    return (
        f"pytest-energy: unexpected error ({type(error).__name__}), so there is no result: "
        f"please report it with the lines below at {_ISSUES}\n{trace}"
    )


def _run(given: list[str]) -> int:
    parser = Parser(
        prog="pytest-energy",
        description="Energy as a tested property.",
        epilog="Exit code: 3 for an unexpected error, 4 for bad input, else the command's own.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if given[:1] == [name]:  # the others need not be imported
            getattr(import_module(f"{__name__}.{module}"), f"add_{name}")(command)
    options, unknown = parser.parse_known_args(_with_subcommand(given))
    if unknown:
        _refuse(unknown[0], commands.choices[given[0]] if given[0] in COMMANDS else parser)
    code: int = options.run(options)
    return code


def _refuse(argument: str, parser: argparse.ArgumentParser) -> NoReturn:
    """End with the usage of the command that does not know an argument, and what it may mean."""
    known = [flag for action in parser._actions for flag in action.option_strings]
    name = argument.partition("=")[0]
    meant = did_you_mean(name, known) if name.startswith("-") else ""
    parser.error(f"`{one_line(argument)}` is not known; {meant}`--help` lists what is")


def _with_subcommand(given: list[str]) -> list[str]:
    """The arguments with the first subcommand of a command that has some, if none is named."""
    known = SUBCOMMANDS.get(given[0], ()) if given else ()
    if not known or (given[1:2] and given[1] in (*known, "-h", "--help")):
        return given
    return [given[0], known[0], *given[1:]]


class _Version(argparse.Action):
    """Looks the version up if it is asked for: its import takes longer than all others here."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            say(f"pytest-energy {version('pytest-energy')}")
        except PackageNotFoundError:
            say("pytest-energy, run from a checkout that is not installed")
        parser.exit()


def describe(parser: argparse.ArgumentParser, what: str, *examples: str) -> None:
    """Say in a command's help what it does, and show how it is called."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = textwrap.fill(what, _HELP_WIDTH)
    lines = [f"  {example}" for example in examples]
    parser.epilog = "\n".join(["example:" if len(lines) == 1 else "examples:", *lines])


def _print_what_it_can() -> None:
    """Let a terminal that cannot show a character show a question mark instead of ending us."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def add_baselines_option(
    parser: argparse.ArgumentParser, folder: Callable[[str], Path] = Path
) -> None:
    """Register `--baselines`; without it `default_baselines` says which folder is meant."""
    parser.add_argument(
        "--baselines",
        type=folder,
        metavar="DIR",
        default=default_baselines(),
        help="folder of the baseline files (baselines/, here or above)",
    )


def default_baselines() -> Path:
    """The folder `baselines` here, or above if one there has files and none is here."""
    here = Path("baselines")
    if here.is_dir():
        return here
    above = (folder / here for folder in Path.cwd().parents)
    found = next((folder for folder in above if any(folder.glob("*.toml"))), None)
    return here if found is None else Path(os.path.relpath(found))


def say(*lines: str, to: TextIO | None = None) -> None:
    """Print lines, each made safe to show; to the standard output unless told otherwise."""
    for line in lines:
        print(safe_line(line), file=to or sys.stdout, flush=True)


def require_outputs(options: argparse.Namespace, *names: str) -> None:
    """Raise `EnergyError` if a file that an option names could not be written, or a page made."""
    for name in names:
        if (path := getattr(options, name)) is not None:
            require_writable(path, f"--{name}")
            if name == "html":
                from pytest_energy.reports.html import require_page_libraries

                require_page_libraries("--html")


def write_json(path: Path, document: object) -> None:
    """Write what a program reads; raises `EnergyError` that names the file."""
    write_text(path, json.dumps(document, indent=1) + "\n")


def write_text(path: Path, text: str | bytes) -> None:
    """Replace what is in a file; raises `EnergyError` that names the file."""
    try:
        write_atomically(path, text)
    except OSError as error:
        raise EnergyError(
            f"`{path}` cannot be written ({error.strerror}); give a path that can"
        ) from None
