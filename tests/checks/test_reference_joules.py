"""Whether the device or the code moved: the reference load of a run beside its baseline's."""

from __future__ import annotations

from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest

from pytest_energy.baselines.reading import read
from pytest_energy.clocks import real_time
from pytest_energy.metering.hardware import host

takes_torch = pytest.mark.skipif(find_spec("torch") is None, reason="takes torch")

TEST = """
import os, sys
from types import SimpleNamespace as N
{torch}
from gated import Run

{above}def test_gated(energy_gate):
    energy_gate.joules_per_token(Run("mine/model", joules_per_token=float(os.environ["J"])))
"""
# The load says that it cannot be metered, and so that it was asked for.
BROKEN = "sys.modules['torch'] = N(cuda=N(is_initialized=lambda: False))"
LOADS = (100.0, 100.3, 99.8, 100.1, 99.9, 100.2, 99.7, 100.0)


@pytest.fixture
def gated(
    pytester: pytest.Pytester, spending_cpu: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A project with one gated test, whose meter gives `LOAD` joules to what spends none."""
    meter = spending_cpu / "spending.py"
    given = 'joules - self._before or float(__import__("os").environ["LOAD"])'
    meter.write_text(meter.read_text().replace("joules - self._before", given))
    pytester.makepyfile(test_mine=TEST.format(torch="import torch", above=""))
    monkeypatch.setenv("J", "0.005")
    monkeypatch.setenv("LOAD", "100")
    return pytester


def stored(gated: pytest.Pytester, loads: tuple[float | None, ...], version: int = 1) -> None:
    """A baseline of a session a day, with the reference load of each."""
    rows = []
    for index, load in enumerate(loads):
        date = (real_time.utc() - timedelta(days=2 + index)).strftime("%Y-%m-%dT%H:%M:%SZ")
        known = f", reference_joules = {load}, reference_version = {version}" if load else ""
        level = 0.005 * (1 + 0.001 * (-1) ** index)
        rows.append(
            f'  {{ date = {date}, device = "{host()}", windows = 10, mean = {level}, cv = 0.003, '
            f"mean_watts = 500.0, tokens_per_second = 100000.0{known} }},\n"
        )
    folder = gated.path / "baselines"
    folder.mkdir(exist_ok=True)
    (folder / "cpu.toml").write_text(
        'schema = 1\n[hardware]\nkey = "cpu"\nmatch = ["*"]\ntokens_per_window = 1000\n\n'
        f'[joules_per_token."mine/model"]\nworkload = "0badcafe"\nsessions = [\n{"".join(rows)}]\n'
    )


@takes_torch
@pytest.mark.parametrize(
    ("load", "says"),
    [
        ("106", "takes 6 % more as well: the machine, not the code."),
        ("100", "takes as much as before (0 % *): not the machine."),
    ],
)
def test_a_figure_that_moved_says_whether_the_device_did(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, load: str, says: str
) -> None:
    stored(gated, LOADS)
    monkeypatch.setenv("J", "0.0053")
    monkeypatch.setenv("LOAD", load)

    result = gated.runpytest_subprocess()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*environment not recorded.", f"  The reference load {says}"])


@pytest.mark.parametrize(
    ("loads", "version", "options", "joules_per_token", "asked"),
    [
        (LOADS, 1, [], "0.0053", True),
        (LOADS, 1, ["--energy-reference-load=off"], "0.0053", False),
        (LOADS, 2, [], "0.0053", False),  # of another load
        ((*LOADS[:2], *[None] * 6), 1, [], "0.0053", False),  # of two days
        (LOADS, 1, [], "0.005", False),  # nothing moved
    ],
)
def test_where_it_cannot_tell_nothing_is_metered_for_it(
    gated: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    loads: tuple[float | None, ...],
    version: int,
    options: list[str],
    joules_per_token: str,
    asked: bool,
) -> None:
    gated.makepyfile(test_mine=TEST.format(torch=BROKEN, above=""))
    stored(gated, loads, version)
    monkeypatch.setenv("J", joules_per_token)

    result = gated.runpytest_subprocess(*options)

    result.stdout.fnmatch_lines(["regression:*" if joules_per_token == "0.0053" else "*within*"])
    assert ("the reference load: " in result.stdout.str() + result.stderr.str()) is asked


@takes_torch
def test_what_is_recorded_holds_the_load_of_its_session(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOAD", "101.5")

    gated.runpytest_subprocess("--energy-history=past").assert_outcomes(passed=1)

    (file,) = (gated.path / ".pytest_cache").rglob("cpu.toml")
    assert "reference_joules = 101.5, reference_version = 1, environment" in file.read_text()
    (session,) = read(file).entries["joules_per_token", "mine/model"].sessions
    assert (session.reference_joules, session.reference_version) == (101.5, 1)


def test_windows_that_are_open_take_none_of_it(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = "import pytest\n\n@pytest.mark.energy(max_joules=1e9)\n"
    gated.makepyfile(test_mine=TEST.format(torch=BROKEN, above=limit))
    stored(gated, LOADS)
    monkeypatch.setenv("J", "0.0053")

    result = gated.runpytest_subprocess()

    result.stdout.fnmatch_lines(["regression:*"])
    assert "reference load" not in result.stdout.str() + result.stderr.str()
