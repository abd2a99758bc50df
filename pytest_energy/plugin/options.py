"""The options, one table: how each is given, read and explained. PYTEST_DONT_REWRITE.

`make docs` writes docs/options.md from it, by `tests/support/options_page.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pytest_energy.text import masked_argument, safe_lines, url

_UNBOUNDED = 1e9
RANGES = {
    "tolerance": (0.1, 1000.0),
    "detect": (0.1, 3000.0),
    "tokens": (1, 1e12),
    "max_windows": (3, 10_000),
}
"""What levels (percent) and budgets may be, as options and as a marker's arguments.

A smaller level is finer than sessions are alike, and mostly a fraction by mistake: 0.02 for 2 %.
"""


@dataclass(frozen=True)
class Given:
    """A value as it was given: for which option, as which text, and what its paths start from."""

    flag: str
    text: str
    folder: Path

    def error(self, problem: str) -> pytest.UsageError:
        """The error that names option and value."""
        return usage_error(f"`{self.flag}={masked_argument(self.text)}` {problem}")


Parser = Callable[[Given], Any]


def usage_error(text: str) -> pytest.UsageError:
    """An error that ends the run before it begins, with a text that is safe to show."""
    return pytest.UsageError(safe_lines(text))


def text(given: Given) -> str:
    """The text as it was given."""
    return given.text


def path(given: Given) -> Path:
    """An absolute path; `~` is the home folder."""
    return given.folder / Path(given.text).expanduser()


def location(given: Given) -> str:
    """A URL as it is, a path made absolute."""
    address = "://" in given.text or "::" in given.text
    return url(given.text) if address else str(path(given))


def webhook(given: Given) -> str:
    """An address that nobody on the way can read; its path is a secret as well."""
    try:
        parts = urlsplit(given.text)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        known = parts.scheme == "https" or (parts.scheme == "http" and local)
        if known and parts.hostname and parts.port != 0 and given.text.isprintable():
            return given.text
    except ValueError:  # of a port or a host that is none
        pass
    raise usage_error(f"`{given.flag}` is no https:// address; give one, such as a Slack webhook's")


def data(given: Given) -> str:
    """A source of data: a word that is known, or a folder as an absolute path."""
    return given.text if given.text in ("synthetic", "hub") else str(path(given))


def choice(*allowed: str) -> Parser:
    """A parser that takes one of these words."""

    def parse(given: Given) -> str:
        if given.text not in allowed:
            raise given.error(f"is not known; give one of {', '.join(f'`{a}`' for a in allowed)}")
        return given.text

    return parse


def number(low: float, high: float = _UNBOUNDED, kind: Callable[[float], Any] = float) -> Parser:
    """A parser that takes numbers of a kind from `low` to `high`, both allowed."""

    def parse(given: Given) -> Any:
        read = _read(given, given.text.replace("_", ""))
        if not low <= read <= high or kind(read) != read:
            most = f" and at most {high:g}" if high < _UNBOUNDED else ""
            what = "whole number" if kind is int else "number"
            raise given.error(f"is out of range; give a {what}, at least {low:g}{most}")
        return kind(read)

    return parse


def percent(name: str) -> Parser:
    """A parser that takes percent in a level's range, and gives a fraction."""
    low, high = RANGES[name]

    def parse(given: Given) -> float:
        read = _read(given, given.text.rstrip("%"))
        if not low <= read <= high:
            raise given.error(f"is out of range; give percent from {low:g} to {high:g}: `2` is 2 %")
        return read / 100

    return parse


def _read(given: Given, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise given.error("is no number; give one") from None


@dataclass(frozen=True)
class Option:
    """One option: `--energy-NAME`, with an ini twin `energy_NAME`; a switch has no `metavar`.

    `field` is what it is called in `Settings`, its own name if empty.
    """

    name: str
    metavar: str | None
    parse: Parser
    default: Any
    help: str
    field: str = ""

    @property
    def ini(self) -> str:
        """Its name in the ini file, and in pytest's options."""
        return "energy_" + self.name.replace("-", "_")

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return f"--energy-{self.name}"


OPTIONS = (
    Option(
        "hw", "KEY", text, "auto", "baseline file to gate against; `auto` (default) detects it",
    ),
    Option(
        "baselines", "DIR", path, None,
        "folder of the baseline files (default: baselines/ under the root)",
    ),
    Option(
        "update", "MODE", choice("new", "append", "replace"), None,
        "record baselines: `new`, `append` or `replace`",
    ),
    Option("allow-ci-update", None, text, False, "let --energy-update work if CI is set"),
    Option("tolerance", "PCT", percent("tolerance"), None, "change that is allowed, in percent"),
    Option("detect", "PCT", percent("detect"), None, "change that must be caught, in percent"),
    Option(
        "tokens", "N", number(*RANGES["tokens"], int), None,
        "token budget of one window, of all tasks (default: 250,000 on a GPU, 240 on a CPU)",
    ),
    Option(
        "max-windows", "N", number(*RANGES["max_windows"], int), None,
        "the most windows, or pairs, of one verdict "
        "(default: 30; if it fails nothing 6, or 20 pairs)",
    ),
    Option(
        "meter", "NAME", text, "auto",
        "`auto` (default), `nvml`, `rapl`, `codecarbon` or an installed one",
    ),
    Option(
        "data", "SOURCE", data, "synthetic",
        "`synthetic` (default), `hub` or a folder of local data sets",
    ),
    Option(
        "models", "DIR", path, None,
        "folder of checkpoints, each in a folder named like its model",
    ),
    Option(
        "improvement", "WHAT", choice("fail", "pass"), "fail",
        "an improvement beyond tolerance is a `fail` (default) or `pass`",
    ),
    Option(
        "strict", None, text, False,
        "an inconclusive verdict fails, and so does a change that would only inform: on modelled "
        "joules, or against a local baseline",
    ),
    Option(
        "require-all", None, text, False,
        "a run of the whole suite fails if it does not measure all that is stored for this "
        "hardware",
    ),
    Option(
        "region", "ISO3", text, None,
        "country whose grid turns joules into gCO2e (default: the world's mean)",
    ),
    Option(
        "lock-timeout", "SECONDS", number(0), 600.0,
        "how long to wait for a device in use (default: 600)", "lock_timeout_seconds",
    ),
    Option(
        "idle-seconds", "SECONDS", number(0, 600), 2.0,
        "how long idle power is measured before the first test (default: 2; 0: not at all)",
    ),
    Option(
        "reference-load", "WHEN", choice("auto", "off"), "auto",
        "`auto`: where torch is used, sessions that are recorded or go to a history end with a "
        "fixed piece of work (seconds), and so do figures that have moved; `off`: never",
    ),
    Option(
        "wall", "SOURCE", location, None,
        "log or http:// address of a plug meter, for what compares with it",
    ),
    Option(
        "history", "URL", location, None,
        "folder, or fsspec URL such as s3://…, for a record of each session",
    ),
    Option(
        "settle", "REF", text, None,
        "settle what a baseline leaves open by interleaved A/B against a git revision; `auto`: "
        "the pull request's base, or the merge base with the default branch",
    ),
    Option(
        "compare", "REF", text, None,
        "gate by interleaved A/B against a git revision (or `auto`), or `python:PATH`, instead of "
        "by a baseline",
    ),
    Option(
        "side-timeout", "SECONDS", number(1), 600.0,
        "how long a side of an A/B may take to load, or for one window (default: 600)",
        "side_timeout_seconds",
    ),
    Option(
        "profile", "WHEN", choice("auto", "never"), "auto",
        "`auto` (default): both sides of an A/B that found a change run once more under torch's "
        "profiler, and so does what is recorded and what has changed against it, so that the "
        "report says which operator carries the change; `never`",
    ),
    Option(
        "notify", "URL", webhook, None,
        "https:// address that gets a JSON message about the run, such as a Slack webhook",
    ),
    Option("json", "PATH", path, None, "write the verdicts, with every window, as JSON"),
    Option("markdown", "PATH", path, None, "write the verdicts as Markdown"),
    Option("html", "PATH", path, None, "write a page of verdicts and plots, in one file"),
)  # fmt: skip

VALUE_FLAGS = frozenset(option.flag for option in OPTIONS if option.metavar is not None)
"""The options that take a value."""


def add_options(parser: pytest.Parser) -> None:
    """Register every option and its ini twin; values are checked later, by name."""
    group = parser.getgroup("energy", "energy as a tested property")
    for option in OPTIONS:
        if option.metavar is not None:
            group.addoption(option.flag, metavar=option.metavar, default=None, help=option.help)
            parser.addini(option.ini, option.help, default=None)
            continue
        off = f"--no-energy-{option.name}"
        group.addoption(option.flag, action="store_true", default=None, help=option.help)
        group.addoption(
            off, action="store_false", dest=option.ini, help=f"the opposite, over `{option.ini}`"
        )
        parser.addini(option.ini, option.help, type="bool", default=None)
