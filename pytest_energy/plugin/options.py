"""Options that do not go together, each refused by name. PYTEST_DONT_REWRITE."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_energy.baselines import UpdateMode


def check_comparison(
    config: pytest.Config, settle: str | None, compare: str | None, update: str | None
) -> None:
    """Raise `pytest.UsageError` where an A/B cannot be what was asked for."""
    if settle and compare:
        raise pytest.UsageError(
            "`--energy-compare` compares every figure, so that nothing is left for "
            "`--energy-settle`; give one of them"
        )
    if settle and settle.startswith("python:"):
        raise pytest.UsageError(
            f"`--energy-settle={settle}` settles against a git revision; compare interpreters with "
            f"`--energy-compare={settle}`"
        )
    if compare and update:
        raise pytest.UsageError(
            "`--energy-update` records baselines, and `--energy-compare` does without; give one of "
            "them"
        )
    name = "--energy-compare" if compare else "--energy-settle"
    if (settle or compare) and uses_xdist(config):
        raise pytest.UsageError(
            f"`{name}` cannot compare under pytest-xdist, whose workers disturb each other's "
            f"windows; run it with `-n 0`"
        )


def uses_xdist(config: pytest.Config) -> bool:
    """Whether this run is spread over pytest-xdist's workers, or is one of them."""
    workers = config.getoption("numprocesses", None) or config.getoption("tx", None)
    return hasattr(config, "workerinput") or bool(workers)


def flag(name: str) -> str:
    """The command-line spelling of an option."""
    return "--" + name.replace("_", "-")


NEEDS_GATES = {"energy_compare": "compared", "energy_update": "recorded"}
"""Options that do nothing in a run without a gate, and what it then was not."""


def gates_asked_for(config: pytest.Config) -> list[str]:
    """Options of the command line that a run without a gate leaves undone."""
    return [name for name in NEEDS_GATES if config.getoption(name)]


def figures_asked_for(config: pytest.Config) -> bool:
    """Whether the command line asks for what a run without a metered test cannot give."""
    return config.getoption("energy_hw") not in (None, "auto") or bool(gates_asked_for(config))


_UNBOUNDED = 1e9


class OptionValues:
    """One option's value from the command line, else from the ini file."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def text(self, name: str) -> str | None:
        """A value as it was given; None where it is blank or not given."""
        value = self._config.getoption(name)
        if value is None:
            value = self._config.getini(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        return str(value)

    def switch(self, name: str) -> bool:
        """Whether a switch is on."""
        return bool(self._config.getoption(name) or self._config.getini(name))

    def path(self, name: str) -> Path | None:
        """A path: relative to where pytest was called, or to the root from the ini file."""
        given = self._config.getoption(name)
        base = self._config.rootpath if given is None else self._config.invocation_params.dir
        text = self.text(name)
        return None if text is None else base / Path(text).expanduser()

    def location(self, name: str) -> str | None:
        """A URL as it is; a path as `path` gives it."""
        text = self.text(name)
        return text if text is None or "://" in text or "::" in text else str(self.path(name))

    def choice(self, name: str, allowed: tuple[str, ...]) -> str | None:
        """One of the words that are allowed."""
        value = self.text(name)
        if value is not None and value not in allowed:
            options = ", ".join(f"`{a}`" for a in allowed)
            raise pytest.UsageError(f"`{flag(name)}={value}` is not known; give one of {options}")
        return value

    def number(self, name: str, low: float, high: float, *, percent: bool = False) -> float | None:
        """A number in a range; percent are given back as a fraction."""
        value = self.text(name)
        if value is None:
            return None
        parse: Callable[[str], float] = float
        try:
            number = parse(value.rstrip("%") if percent else value.replace("_", ""))
        except ValueError:
            number = float("nan")
        if not low <= number <= high or (percent and number == 0):
            least = f"percent above {low:g}" if percent else f"a number, at least {low:g}"
            most = f" and at most {high:g}" if high < _UNBOUNDED else ""
            raise pytest.UsageError(f"`{flag(name)}={value}` is out of range; give {least}{most}")
        return number / 100 if percent else number


# option without the dashes -> (metavar, help); every one has an ini twin of the same name.
OPTIONS: dict[str, tuple[str | None, str]] = {
    "energy_hw": ("KEY", "baseline file to gate against; `auto` (default) detects it"),
    "energy_baselines": (
        "DIR",
        "folder of the baseline files (default: baselines/ under the root)",
    ),
    "energy_update": ("MODE", "record baselines: `new`, `append` or `replace`"),
    "energy_allow_ci_update": (None, "let --energy-update work where CI is set"),
    "energy_tolerance": ("PCT", "change that is allowed, in percent"),
    "energy_detect": ("PCT", "change that must be caught, in percent"),
    "energy_tokens": ("N", "token budget of one window"),
    "energy_max_windows": (
        "N",
        "the most windows that one verdict may cost (default: 30; 6 where it fails nothing)",
    ),
    "energy_meter": ("NAME", "`auto` (default), `nvml`, `rapl`, `codecarbon` or an installed one"),
    "energy_data": ("SOURCE", "`synthetic` (default), `hub` or a folder of local data sets"),
    "energy_models": ("DIR", "folder of checkpoints, each in a folder named like its model"),
    "energy_improvement": (
        "WHAT",
        "an improvement beyond tolerance is a `fail` (default) or `pass`",
    ),
    "energy_strict": (None, "an inconclusive verdict fails, and so does one on modelled joules"),
    "energy_region": (
        "ISO3",
        "country whose grid turns joules into gCO2e (default: the world's mean)",
    ),
    "energy_lock_timeout": ("SECONDS", "how long to wait for a device in use (default: 600)"),
    "energy_idle_seconds": (
        "SECONDS",
        "how long idle power is measured before the first test (default: 2; 0: not at all)",
    ),
    "energy_wall": ("SOURCE", "log or http:// address of a plug meter, for what compares with it"),
    "energy_history": ("URL", "folder, or fsspec URL such as s3://…, for a record of each session"),
    "energy_settle": (
        "REF",
        "settle what a baseline leaves open by interleaved A/B against a git revision; `auto`: "
        "the pull request's base, or the merge base with the default branch",
    ),
    "energy_compare": (
        "REF",
        "gate by interleaved A/B against a git revision (or `auto`), or `python:PATH`, instead of "
        "by a baseline",
    ),
    "energy_side_timeout": (
        "SECONDS",
        "how long a side of an A/B may take to load, or for one window (default: 600)",
    ),
    "energy_json": ("PATH", "write the verdicts, with every window, as JSON"),
    "energy_markdown": ("PATH", "write the verdicts as Markdown"),
    "energy_html": ("PATH", "write a page of verdicts and plots, in one file"),
}


def add_options(parser: pytest.Parser) -> None:
    """Register every option and its ini twin; values are checked later, by name."""
    group = parser.getgroup("energy", "energy as a tested property")
    for name, (metavar, text) in OPTIONS.items():
        if metavar is None:
            group.addoption(flag(name), action="store_true", default=None, help=text)
            parser.addini(name, text, type="bool", default=None)
        else:
            group.addoption(flag(name), metavar=metavar, default=None, help=text)
            parser.addini(name, text, default=None)


@dataclass(frozen=True)
class EnergyConfig:
    """What the run was asked for; fractions are fractions (0.02), not percent."""

    root: Path
    baselines: Path
    hw: str = "auto"
    update: UpdateMode | None = None
    tolerance: float | None = None
    detect: float | None = None
    tokens: int | None = None
    max_windows: int | None = None
    meter: str = "auto"
    data: str = "synthetic"
    models: Path | None = None
    improvement: Literal["fail", "pass"] = "fail"
    strict: bool = False
    region: str | None = None
    lock_timeout_seconds: float = 600.0
    idle_seconds: float = 2.0
    json: Path | None = None
    markdown: Path | None = None
    html: Path | None = None
    wall: str | None = None
    history: str | None = None
    """As `wall`: an absolute path, or a URL."""
    settle: str | None = None
    compare: str | None = None
    side_timeout_seconds: float = 600.0
    ci: bool = False
    parallel: bool = False
    """Whether this process is one of several pytest-xdist workers."""

    @classmethod
    def from_pytest_config(cls, config: pytest.Config) -> EnergyConfig:
        """Options over ini over defaults; raises `pytest.UsageError` naming what is wrong."""
        source = OptionValues(config)
        ci = _truthy(os.environ.get("CI"))
        update = source.choice("energy_update", ("new", "append", "replace"))
        if update and ci and not source.switch("energy_allow_ci_update"):
            raise pytest.UsageError(
                "`--energy-update` in CI would let a change move its own baseline; record on the "
                "runner by hand, or add `--energy-allow-ci-update` if a person reviews the diff"
            )
        if update and uses_xdist(config):
            raise pytest.UsageError(
                "`--energy-update` cannot record under pytest-xdist, whose workers disturb each "
                "other's windows; run it with `-n 0`"
            )
        tolerance = source.number("energy_tolerance", 0.0, 100.0, percent=True)
        detect = source.number("energy_detect", 0.0, 1000.0, percent=True)
        if tolerance is not None and detect is not None and detect <= tolerance:
            raise pytest.UsageError(
                f"`--energy-detect={100 * detect:g}` must be above `--energy-tolerance="
                f"{100 * tolerance:g}`: what must be caught lies beyond what is allowed"
            )
        settle, compare = source.text("energy_settle"), source.text("energy_compare")
        check_comparison(config, settle, compare, update)
        side_timeout = source.number("energy_side_timeout", 1.0, 1e9)
        tokens = source.number("energy_tokens", 1, 1e12)
        windows = source.number("energy_max_windows", 3, 10_000)
        timeout = source.number("energy_lock_timeout", 0.0, 1e9)
        idle = source.number("energy_idle_seconds", 0.0, 600.0)
        data = source.text("energy_data") or "synthetic"
        return cls(
            root=config.rootpath,
            baselines=source.path("energy_baselines") or config.rootpath / "baselines",
            hw=source.text("energy_hw") or "auto",
            update=cast("UpdateMode | None", update),
            tolerance=tolerance,
            detect=detect,
            tokens=None if tokens is None else int(tokens),
            max_windows=None if windows is None else int(windows),
            meter=source.text("energy_meter") or "auto",
            data=data if data in ("synthetic", "hub") else str(source.path("energy_data")),
            models=source.path("energy_models"),
            improvement=cast(
                "Literal['fail', 'pass']",
                source.choice("energy_improvement", ("fail", "pass")) or "fail",
            ),
            strict=source.switch("energy_strict"),
            region=source.text("energy_region"),
            lock_timeout_seconds=600.0 if timeout is None else timeout,
            idle_seconds=2.0 if idle is None else idle,
            json=source.path("energy_json"),
            markdown=source.path("energy_markdown"),
            html=source.path("energy_html"),
            wall=source.location("energy_wall"),
            history=source.location("energy_history"),
            settle=settle,
            compare=compare,
            side_timeout_seconds=600.0 if side_timeout is None else side_timeout,
            ci=ci,
            parallel=getattr(config, "workerinput", {}).get("workercount", 1) > 1,
        )


def _truthy(value: str | None) -> bool:
    return value is not None and value.strip().lower() not in ("", "0", "false", "no", "off")
