"""What a person sees of this package where their own code breaks."""

from __future__ import annotations

from pathlib import Path

import pytest

BROKEN = """
from gated import Run

class Broken(Run):
    def window(self):
        raise ValueError("my own mistake")

def test_mine(energy_gate):
    energy_gate.check("joules_per_token", Broken("mine/model"))
"""
# A meter whose fault is no text breaks what puts faults into words: nothing that a user can mend.
FAULTY = """
import spending
from gated import Run

def test_mine(energy_gate):
    spending.faults.append(7)
    energy_gate.check("joules_per_token", Run("mine/model"))
"""


def test_an_error_in_the_users_code_shows_the_users_code_alone(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(BROKEN)

    result = pytester.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*energy_gate.check(*", "*raise ValueError(*", "E*ValueError: my own mistake"]
    )
    result.stdout.no_fnmatch_line("*pytest_energy*.py*")


def test_a_defect_of_ours_shows_where_it_is(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(FAULTY)

    result = pytester.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*pytest_energy*measuring.py*", "*pytest_energy*metering*"])
