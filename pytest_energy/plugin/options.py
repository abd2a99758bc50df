"""The options, one table: how each is given, checked and explained. PYTEST_DONT_REWRITE.

`make docs` writes docs/options.md from it, by `tests/support/options_page.py`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pytest_energy.errors import did_you_mean
from pytest_energy.plugin.as_given import errors_as_given, where_set
from pytest_energy.plugin.neighbours import uses_xdist
from pytest_energy.plugin.option_values import (
    RANGES,
    Given,
    Parser,
    choice,
    data,
    location,
    number,
    path,
    percent,
    text,
    usage_error,
    webhook,
)

if TYPE_CHECKING:
    from pytest_energy.checks import Settings


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
        "reference_load",
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

NEEDS_GATES = {"compare": "compared", "update": "recorded"}
"""Options that do nothing in a run without a gate, and what it then was not."""


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


def settings_of(config: pytest.Config) -> Settings:
    """Options over ini over defaults; raises `pytest.UsageError` naming what is wrong."""
    with errors_as_given(config):
        return _settings_of(config)


def _settings_of(config: pytest.Config) -> Settings:
    from pytest_energy.checks import Settings

    values = {option.field or option.ini[7:]: _value(option, config) for option in OPTIONS}
    values["detect"] = _detect_beside(values["tolerance"], values["detect"], config)
    settings = Settings(
        root=config.rootpath,
        here=config.invocation_params.dir,
        **{**values, "baselines": values["baselines"] or config.rootpath / "baselines"},
        ci=_truthy(os.environ.get("CI")),
        parallel=getattr(config, "workerinput", {}).get("workercount", 1) > 1,
    )
    _check_update(config, settings)
    _check_comparison(config, settings)
    _check_ini_names(config)
    check_levels(
        ("--energy-tolerance", settings.tolerance), ("--energy-detect", settings.detect), ""
    )
    return settings


def _detect_beside(tolerance: float | None, detect: float | None, config: pytest.Config) -> Any:
    """What must be caught: a file's does not hold for a larger tolerance that was typed for once.

    None: it goes along with the tolerance.
    """
    typed = [config.getoption(f"energy_{level}") is not None for level in ("tolerance", "detect")]
    is_left_behind = typed == [True, False] and detect and tolerance and detect <= tolerance
    return None if is_left_behind else detect


def check_levels(
    tolerance: tuple[str, float | None], detect: tuple[str, float | None], where: str
) -> None:
    """Refuse a detect (name and fraction) that is not above a tolerance, if both are given."""
    (allowed_by, allowed), (caught_by, caught) = tolerance, detect
    if allowed is not None and caught is not None and caught <= allowed:
        raise usage_error(
            f"`{caught_by}={100 * caught:g}`{where} must be above `{allowed_by}="
            f"{100 * allowed:g}`: what must be caught lies beyond what is allowed"
        )


def _check_ini_names(config: pytest.Config) -> None:
    """Refuse a name that begins as ours do and that nobody knows: pytest only warns of it."""
    unknown = getattr(config, "_get_unknown_ini_keys", tuple)  # without it the warning is all
    for name in unknown():
        if name.startswith("energy_"):
            known = [option.ini for option in OPTIONS]
            raise usage_error(
                f"`{name}` in the pytest configuration is not known; {did_you_mean(name, known)}"
                f"known are {', '.join(known)}"
            )


def value_of(name: str, config: pytest.Config) -> Any:
    """The value of one option, from the command line, the ini file or its default."""
    (option,) = [each for each in OPTIONS if each.name == name]
    with errors_as_given(config):
        return _value(option, config)


def gates_asked_for(config: pytest.Config) -> list[str]:
    """Options of the command line that a run without a gate leaves undone, by name."""
    return [name for name in NEEDS_GATES if config.getoption(f"energy_{name}")]


def names_hardware(config: pytest.Config) -> bool:
    """Whether the command line names a hardware."""
    return config.getoption("energy_hw") not in (None, "auto")


def figures_asked_for(config: pytest.Config) -> bool:
    """Whether the command line asks for what a run without a metered test cannot give."""
    return names_hardware(config) or bool(gates_asked_for(config))


def compares(config: pytest.Config) -> bool:
    """Whether figures are compared with a base instead of a baseline."""
    return value_of("compare", config) is not None


def _value(option: Option, config: pytest.Config) -> Any:
    """An option's value: from the command line, else from the ini file, else its default."""
    given: Any = config.getoption(option.ini)
    folder = config.invocation_params.dir
    # An option without a default of its own is turned off so, over the ini file.
    if option.default and given is not None and not str(given).strip():
        raise usage_error(f"`{option.flag}=` is empty; give a value, or leave the option out")
    if given is None:
        given, folder = _from_ini(option, config), config.rootpath
    if option.metavar is None:
        return bool(given)
    if given is None or not str(given).strip():
        return option.default
    return option.parse(Given(option.flag, str(given), folder))


def _from_ini(option: Option, config: pytest.Config) -> Any:
    try:
        return config.getini(option.ini)
    except (ValueError, TypeError, pytest.UsageError) as error:  # the text names no option
        where = where_set(option.ini, config)
        give = "" if option.metavar else "; give `true` or `false`"
        raise usage_error(f"`{option.ini}` {where}: {error}{give}") from None


def _check_update(config: pytest.Config, settings: Settings) -> None:
    if settings.update and settings.ci and not settings.allow_ci_update:
        raise usage_error(
            "`--energy-update` in CI would let a change move its own baseline; record on the "
            "runner by hand, or add `--energy-allow-ci-update` if a person reviews the diff"
        )
    if settings.update and uses_xdist(config):
        raise usage_error(
            "`--energy-update` cannot record under pytest-xdist, whose workers disturb each "
            "other's windows; run it with `-n 0`"
        )


def _check_comparison(config: pytest.Config, settings: Settings) -> None:
    settle, compare = settings.settle, settings.compare
    if settle and compare:
        raise usage_error(
            "`--energy-compare` compares every figure, so that nothing is left for "
            "`--energy-settle`; give one of them"
        )
    if settle and settle.startswith("python:"):
        raise usage_error(
            f"`--energy-settle={settle}` settles against a git revision; compare interpreters with "
            f"`--energy-compare={settle}`"
        )
    if compare and settings.update:
        raise usage_error(
            "`--energy-update` records baselines, and `--energy-compare` does without; give one of "
            "them"
        )
    if (settle or compare) and uses_xdist(config):
        name = "--energy-compare" if compare else "--energy-settle"
        raise usage_error(
            f"`{name}` cannot compare under pytest-xdist, whose workers disturb each other's "
            f"windows; run it with `-n 0`"
        )


def _truthy(value: str | None) -> bool:
    return value is not None and value.strip().lower() not in ("", "0", "false", "no", "off")
