"""What the options are set to: on the command line, over the ini file, over their defaults.

Errors name a setting as it was given. Whoever finds a value to be wrong knows the option's name
alone. PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_energy.errors import EnergyError, did_you_mean
from pytest_energy.plugin.options import OPTIONS, Given, Option, add_options, usage_error
from pytest_energy.text import masked_argument, safe_lines

if TYPE_CHECKING:
    from pytest_energy.checks import Settings

_FALSE = ("", "0", "false", "no", "off")
"""What `CI` says where there is none."""

NEEDS_GATES = {"compare": "compared", "update": "recorded"}
"""Options that do nothing in a run without a gate, and what it then was not."""

_WORKERS_LEFT_OUT = pytest.StashKey[str]()

_ALONE = ("update", "compare", "settle")
"""Options whose windows workers of pytest-xdist would disturb."""

_FLAG = re.compile(r"`--(?P<name>energy-[a-z-]+)(?:=(?P<value>[^`]*))?`")


def settings_of(config: pytest.Config) -> Settings:
    """Options over ini over defaults; raises `pytest.UsageError` naming what is wrong."""
    from pytest_energy.checks import Settings

    with errors_as_given(config):
        values = {option.field or option.ini[7:]: _value(option, config) for option in OPTIONS}
        values["detect"] = _detect_beside(values["tolerance"], values["detect"], config)
        settings = Settings(
            root=config.rootpath,
            here=config.invocation_params.dir,
            **{**values, "baselines": values["baselines"] or config.rootpath / "baselines"},
            ci=os.environ.get("CI", "").strip().lower() not in _FALSE,
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


def gates_asked_for(config: pytest.Config) -> list[str]:
    """Options of the command line that a run without a gate leaves undone, by name."""
    return [name for name in NEEDS_GATES if config.getoption(f"energy_{name}")]


def names_hardware(config: pytest.Config) -> bool:
    """Whether the command line names a hardware."""
    return config.getoption("energy_hw") not in (None, "auto")


def figures_asked_for(config: pytest.Config) -> bool:
    """Whether the command line asks for what a run without a metered test cannot give."""
    return names_hardware(config) or bool(gates_asked_for(config))


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


def uses_xdist(config: pytest.Config) -> bool:
    """Whether this run is spread over pytest-xdist's workers, or is one of them."""
    workers = config.getoption("numprocesses", None) or config.getoption("tx", None)
    return hasattr(config, "workerinput") or bool(workers)


def leave_workers_out(config: pytest.Config) -> None:
    """Measure in this process what is recorded or compared, if an ini file spreads the run.

    `PYTEST_ADDOPTS` counts as one. Who types an option of pytest-xdist as well is refused later.
    """
    asked = [name for name in _ALONE if config.getoption(f"energy_{name}")]
    if not asked or hasattr(config, "workerinput") or not uses_xdist(config):
        return
    from pytest_energy.reports.next_steps import asks_for_workers

    if not asks_for_workers(map(str, config.invocation_params.args)):
        stay_in_this_process(config)
        config.stash[_WORKERS_LEFT_OUT] = (
            f"energy: pytest-xdist, which the configuration asks for, is left out: "
            f"`--energy-{asked[0]}` measures in one process"
        )


def left_out(config: pytest.Config) -> list[str]:
    """What the run was asked for and does not do, for its header.

    An empty value turns an option of the ini file off. Else it may be a variable that is not set.
    """
    found = [config.stash[_WORKERS_LEFT_OUT]] if _WORKERS_LEFT_OUT in config.stash else []
    for option in OPTIONS:
        given = config.getoption(option.ini)
        if isinstance(given, str) and not given.strip() and not _set_there(option.ini, config):
            found.append(f"energy: `{option.flag}=` is empty, and counts as not given")
    return found


def stay_in_this_process(config: pytest.Config) -> None:
    """Undo what pytest-xdist was asked for, before it begins to distribute."""
    for name, value in (("numprocesses", 0), ("dist", "no"), ("tx", [])):
        if hasattr(config.option, name):
            setattr(config.option, name, value)


@contextmanager
def errors_as_given(config: pytest.Config) -> Iterator[None]:
    """Make an error of the block one that ends the run, and let it name settings as given."""
    try:
        yield
    except (EnergyError, pytest.UsageError) as error:
        raise pytest.UsageError(as_given(str(error), config)) from None


def as_given(text: str, config: pytest.Config) -> str:
    """An error's text, with options of the ini file by their name there.

    What a text advises to give is no setting of the file, unless it is just what is set there.
    """
    return _FLAG.sub(lambda found: _named(found, config), text)


def _set_there(name: str, config: pytest.Config) -> Any:
    """What the ini file sets a name to; None if it does not, or to nothing that pytest takes."""
    with contextlib.suppress(ValueError, TypeError, pytest.UsageError):
        return config.getini(name)
    return None


def _named(found: re.Match[str], config: pytest.Config) -> str:
    name, value = found["name"].replace("-", "_"), found["value"]
    set_there = _set_there(name, config)
    if set_there is None or config.getoption(name, None) is not None:
        return found[0]
    shown = safe_lines(masked_argument(str(set_there)))
    if value is None:
        return f"`{name}` {where_set(name, config)}"
    if found.start() and value != shown:  # advice
        return found[0]
    return f"`{name} = {shown}` {where_set(name, config)}"


def where_set(name: str, config: pytest.Config) -> str:
    """Where an ini setting comes from, such as "in `pytest.ini`"."""
    overriding = config.getoption("override_ini", None) or ()
    if any(each.partition("=")[0].strip() == name for each in overriding):
        return "given by `-o`"
    if config.inipath is None:
        return "in the pytest configuration"
    return f"in `{os.path.relpath(config.inipath, config.invocation_params.dir)}`"


_ARGUMENTS = (
    # The probe knows the options in the plugin's stead.
    *("-p", "no:energy"),
    # Neither other options nor code of the folder matter, and nothing is to be rewritten or shown.
    *("-o", "addopts=", "--noconftest", "--assert=plain", "--capture=no", "-W", "ignore"),
)


def configured(name: str, folder: Path) -> str | None:
    """The option called `name` in a folder, a path as an absolute one; None if it is not set.

    Raises `EnergyError` with pytest's own message if the configuration cannot be read.
    """
    probe = _Probe(name)
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = pytest.main([*_ARGUMENTS, str(folder)], plugins=[probe])
    if code != pytest.ExitCode.OK:
        raise EnergyError(
            f"`energy_{name}` cannot be read from the pytest configuration of `{folder}`: "
            f"{output.getvalue().strip()}"
        )
    return probe.found


class _Probe:
    """A plugin that reads one option once pytest is configured, in place of any test."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.found: str | None = None

    def pytest_addoption(self, parser: pytest.Parser) -> None:
        """Know the plugin's options."""
        add_options(parser)

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> int:
        """Read the option, and let nothing run."""
        (option,) = [each for each in OPTIONS if each.name == self._name]
        with errors_as_given(config):
            self.found = _value(option, config)
        return pytest.ExitCode.OK
