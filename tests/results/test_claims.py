"""Claims: figures with bounds, noted by a test and judged at its end."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.meters.cpu_time import MOST_SHARE
from pytest_energy.reports.tables import aligned, figures, noted
from pytest_energy.results.claims import ClaimRecord, EnergyClaim, Plot, Series
from pytest_energy.results.json_codec import as_json, from_json

_MODULE = '''
"""Claim: energy is proportional to tokens."""

from pytest_energy.results.claims import Plot, Series


def test_scaling(energy_claim):
    energy_claim.figure("r_squared", {value}, at_least=0.99, paper="0.997 (derived)")
    energy_claim.figure("slope", 0.031, "J/token", interval=(0.030, 0.032))
    energy_claim.table("by budget", ("tokens", "J"), (1000, 31.0), (2000, None))
    energy_claim.plot(Plot("scaling", "tokens", "J", (Series("sst2", ((1000, 31.0),)),)))
'''


def test_a_claim_that_holds_is_shown_and_stored(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(_MODULE.format(value=0.995))

    result = pytester.runpytest("-v", "--energy-json=run.json", "--junitxml=junit.xml")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "energy is proportional to tokens.",
            "figure*value*claimed*paper*outcome*",
            "r_squared*0.9950*>= 0.9900*0.997 (derived)*holds*",
            "slope*31.00 (30.00 to 32.00) mJ/token*measured*",
            "by budget",
            "tokens*J*",
            "*2,000*-",
        ]
    )
    claim = json.loads((pytester.path / "run.json").read_text())["claims"][0]
    assert claim["outcome"] == "holds"
    assert claim["plots"][0]["series"][0]["points"] == [[1000, 31.0]]
    assert from_json(ClaimRecord, claim).tables[0].rows == ((1000, 31.0), (2000, None))
    properties = ElementTree.parse(pytester.path / "junit.xml").iter("property")
    assert {p.get("name"): p.get("value") for p in properties}["energy_r_squared"] == "0.995"


def test_a_claim_that_fails_says_which_figure(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(_MODULE.format(value=0.9))

    result = pytester.runpytest("--energy-json=run.json")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["energy is proportional to tokens. Not here: `r_squared` is 0.9; claimed is at least 0.99"]
    )
    assert "Traceback" not in result.stdout.str()
    claims = json.loads((pytester.path / "run.json").read_text())["claims"]
    assert [claim["outcome"] for claim in claims] == ["fails"]
    assert len(claims[0]["figures"]) == 2


def test_a_test_that_breaks_off_has_no_claim(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(
        """
        def test_scaling(energy_claim):
            energy_claim.figure("r_squared", 1.0, at_least=0.99)
            raise RuntimeError("broken")
        """
    )

    result = pytester.runpytest("--energy-json=run.json")

    result.assert_outcomes(failed=1)
    assert json.loads((pytester.path / "run.json").read_text())["claims"] == []


def test_claims_come_home_from_workers(pytester: pytest.Pytester, spending: Path) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile(_MODULE.format(value=0.995))

    result = pytester.runpytest_subprocess("-n", "2", "--energy-json=run.json")

    result.assert_outcomes(passed=1)
    claims = json.loads((pytester.path / "run.json").read_text())["claims"]
    assert claims[0]["figures"][0]["paper"] == "0.997 (derived)"
    assert claims[0]["tables"][0]["rows"] == [[1000, 31.0], [2000, None]]


@pytest.mark.parametrize(
    ("value", "at_least", "at_most", "outcome"),
    [
        (0.99, 0.99, None, "holds"),
        (0.9899, 0.99, None, "fails"),
        (1.01, 0.99, 1.0, "fails"),
        (float("nan"), 0.99, None, "fails"),
        (float("nan"), None, 1.0, "fails"),
        (5.0, None, None, "measured"),
    ],
)
def test_bounds(value: float, at_least: float | None, at_most: float | None, outcome: str) -> None:
    claim = EnergyClaim("c", "n", "counter")

    claim.figure("x", value, at_least=at_least, at_most=at_most)

    assert claim.record.outcome == outcome
    assert bool(claim.record.reason) == (outcome == "fails")
    assert figures(claim.record).rows[0][-1] == outcome


def test_a_bound_within_the_interval_is_luck() -> None:
    claim = EnergyClaim("c", "n", "counter")

    claim.figure("x", 0.1, "fraction", interval=(-0.05, 0.25), at_least=0.0, by_interval=True)
    claim.figure("y", 0.1, "fraction", interval=(0.05, 0.15), at_least=0.0, by_interval=True)

    assert [figure.outcome for figure in claim.record.figures] == ["not testable", "holds"]
    assert claim.record.outcome == "not testable"
    assert claim.record.reason == (
        "`x` is 10.0 %: its bound of 0.0 % lies within its 95 % interval, -5.0 % to 25.0 %"
    )
    claim.figure("value", 1.9, interval=(1.8, 2.1), at_most=2.0)
    assert claim.record.figures[-1].outcome == "holds"
    claim.figure("z", 3.0, at_most=2.0)
    assert claim.record.outcome == "fails"


def test_a_disturbance_takes_back_what_it_can_have_moved() -> None:
    claim = EnergyClaim("c", "n", "modelled")
    claim.figure("joules", 1.0, "J", at_most=2.0)
    claim.figure("score", 0.9, at_least=0.5, exact=True)
    claim.figure("shown", 3.0)

    claim.disturbed("other processes used 40 % of the CPU")

    outcomes = [figure.outcome for figure in claim.record.figures]
    assert outcomes == ["not testable", "holds", "measured"]
    assert claim.record.outcome == "not testable"


def test_without_a_value_there_is_a_doubt() -> None:
    claim = EnergyClaim("c", "n", "counter")
    with pytest.raises(EnergyError, match="`x` has no value"):
        claim.figure("x", None)
    claim.figure("x", None, at_least=0.5, doubt="nothing was learnt")
    assert figures(claim.record).rows == [("x", "-", ">= 0.5000", "", "not testable")]
    assert from_json(ClaimRecord, as_json(claim.record)) == claim.record


_UNTESTABLE = """
def test_it(energy_claim):
    energy_claim.figure("kept", 0.9, at_least=0.75, doubt="`bert` did not learn the task")
"""


def test_what_cannot_be_tested_is_skipped_here_and_fails_in_ci(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(_UNTESTABLE)

    here = pytester.runpytest("-rs", "--energy-json=run.json", "--energy-markdown=run.md")
    strict = pytester.runpytest("--energy-strict")
    monkeypatch.setenv("CI", "true")
    in_ci = pytester.runpytest("--energy-json=ci.json", "--energy-markdown=ci.md")

    here.assert_outcomes(skipped=1)
    here.stdout.fnmatch_lines(
        [
            "not testable *kept 0.9000 (>= 0.7500)*",
            "SKIPPED*Not testable here: `kept` is 0.9000: `bert` did not learn the task",
        ]
    )
    assert json.loads((pytester.path / "run.json").read_text())["claims"][0]["outcome"] == (
        "not testable"
    )
    assert "not testable" in (pytester.path / "run.md").read_text()
    strict.assert_outcomes(failed=1)
    in_ci.assert_outcomes(failed=1)
    claims = [json.loads((pytester.path / name).read_text()) for name in ("run.json", "ci.json")]
    assert [document["claims"][0]["fails"] for document in claims] == [False, True]
    assert "1 of 1 claims fails" in (pytester.path / "ci.md").read_text()


def test_names_are_noted_once_and_rows_are_complete() -> None:
    claim = EnergyClaim("c", "n", "modelled")
    claim.figure("x", 1.0)

    with pytest.raises(EnergyError, match="`x` was noted before"):
        claim.figure("x", 2.0)
    with pytest.raises(EnergyError, match="`t` has 2 columns, but a row of 1"):
        claim.table("t", ("a", "b"), (1.0,))
    assert claim.modelled
    assert claim.record.plots == ()


def test_a_table_aligns_numbers_to_the_right() -> None:
    claim = EnergyClaim("c", "n", "counter")
    claim.table("t", ("task", "J"), ("sst2", 1.0), ("squad_v1", 1234567.0))
    claim.plot(Plot("p", "x", "y", (Series("s", ((1.0, 2.0),), line=True),), logarithmic=True))

    shown = noted(claim.record.tables[0])
    assert shown.title == "t"
    assert aligned(shown.rows, shown.headings, right=shown.right) == [
        "task              J",
        "sst2              1",
        "squad_v1  1,234,567",
    ]
    assert from_json(ClaimRecord, as_json(claim.record)) == claim.record


class _Float64(float):
    """As numpy's: a float by inheritance, so that JSON takes it and execnet does not."""


class _Int64:
    """As numpy's: a whole number that is no `int`."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value

    def __float__(self) -> float:
        return float(self._value)


class _Text(str):
    """As numpy's."""

    __slots__ = ()


def _types(value: Any) -> set[type]:
    parts = value.values() if isinstance(value, dict) else value
    if isinstance(value, (dict, tuple)):
        return set().union(*map(_types, parts))
    return {type(value)}


def test_numbers_of_other_libraries_become_builtin_ones() -> None:
    claim = EnergyClaim("c", "n", "counter")
    one, two, name = _Float64(1), _Float64(2), _Text("x")
    whole: Any = _Int64(3)
    claim.figure(
        name, one, name, interval=(one, two), at_least=one, at_most=two, paper=name, doubt=name
    )
    claim.table(name, (name, name), (whole, one), (name, None), (10**19, True))
    claim.plot(Plot(name, name, name, (Series(name, ((whole, one), (one, whole))),)))

    assert _types(as_json(claim.record)) == {str, float, int, bool, type(None)}
    assert claim.record.tables[0].rows == ((3, 1.0), ("x", None), (1e19, "True"))
    assert from_json(ClaimRecord, as_json(claim.record)) == claim.record


def _plot(point: Any) -> Plot:
    return Plot("p", "x", "y", (Series("s", (point,)),))


@pytest.mark.parametrize(
    ("noted", "message"),
    [
        (lambda c: c.figure("x", "1"), r"`x` is '1', which is no number"),
        (lambda c: c.figure("x", 1j), r"`x` is a complex, which is no number"),
        (lambda c: c.figure("x", 1.0, at_most=[2]), r"`at_most` of `x` is a list"),
        (lambda c: c.figure("x", 1.0, interval=(1, 2, 3)), r"`interval` of `x` .* its two ends"),
        (lambda c: c.figure("x", 1.0, interval=2.0), r"`interval` of `x` is 2.0: give"),
        (lambda c: c.table("t", ("a",), (object(),)), r"a cell of `t` is a object"),
        (lambda c: c.table("t", ("a",), (10**400,)), r"a cell of `t` is a number of about"),
        (
            lambda c: c.plot(_plot((1,))),
            r"`s` has a tuple for",
        ),
        (lambda c: c.plot(_plot((1, "2"))), r"a point of `s`"),
    ],
)
def test_what_no_document_can_hold_is_refused_when_it_is_noted(
    noted: Callable[[EnergyClaim], object], message: str
) -> None:
    claim = EnergyClaim("c", "n", "counter")

    with pytest.raises(EnergyError, match=message):
        noted(claim)
    assert (claim.record.figures, claim.record.tables, claim.record.plots) == ((), (), ())


def test_an_empty_doubt_is_none_and_nan_keeps_no_bound() -> None:
    claim = EnergyClaim("c", "n", "counter")
    everything = (-math.inf, math.inf)

    claim.figure("low", 1.0, at_least=2.0, doubt="")
    claim.figure("nan", math.nan, at_least=2.0, interval=everything, by_interval=True)

    assert [figure.outcome for figure in claim.record.figures] == ["fails", "fails"]
    with pytest.raises(EnergyError, match="`none` has no value"):
        claim.figure("none", None, doubt="")


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_numbers_of_other_libraries_cost_a_run_nothing(
    pytester: pytest.Pytester, spending: Path, workers: tuple[str, ...]
) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile(
        """
        class Float64(float):
            pass

        class Int64:
            def __index__(self):
                return 3

        def test_figure(energy_claim):
            two = Float64(2)
            energy_claim.figure("x", Float64(1), interval=(Float64(0), two), at_most=two)
            energy_claim.table("t", ("a",), (Int64(),))
        """
    )

    result = pytester.runpytest_subprocess("--energy-json=run.json", *workers)

    result.assert_outcomes(passed=1)
    claim = json.loads((pytester.path / "run.json").read_text())["claims"][0]
    assert (claim["figures"][0]["high"], claim["tables"][0]["rows"]) == (2.0, [[3]])


@pytest.mark.realtime
def test_on_a_busy_cpu_joules_claim_nothing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("codecarbon")
    monkeypatch.setenv("PYTEST_ENERGY_LOCKS", str(pytester.path / "locks"))
    pytester.makepyfile(
        """
        import time

        def test_it(energy_claim):
            time.sleep(0.5)
            energy_claim.figure("joules saved", 0.9, at_least=0.0)
            energy_claim.figure("score", 0.9, at_least=0.0, exact=True)
        """
    )
    count = int((os.cpu_count() or 1) * 3 * MOST_SHARE) + 1
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        result = pytester.runpytest_subprocess("--energy-meter=codecarbon", "-rs")
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            "not testable*joules saved 0.9000*",
            "*Not testable here: `joules saved` is 0.9000: other processes*used * % of this*",
        ]
    )
