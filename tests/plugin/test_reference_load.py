"""The reference load of recorded sessions: metered at the end, left out if not wanted, no end."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(find_spec("codecarbon") is None, reason="takes CodeCarbon")

TEST = """
import sys
{torch}

def test_it(energy):
    with energy.window("work"):
        sum(range(3_000_000))
"""


BROKEN = (
    "from types import SimpleNamespace as N\n"
    "sys.modules['torch'] = N(cuda=N(is_initialized=lambda: False))"
)


def ids(folder: Path) -> list[str]:
    """The figures of the one session in a history."""
    (record,) = folder.rglob("*.json")
    return [verdict["id"] for verdict in json.loads(record.read_text())["verdicts"]]


@pytest.mark.realtime
@pytest.mark.skipif(find_spec("torch") is None, reason="takes torch")
def test_a_session_of_a_history_ends_with_the_load(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST.format(torch="import torch"))

    result = pytester.runpytest_subprocess("--energy-meter=codecarbon", "--energy-history=past")

    result.assert_outcomes(passed=1)
    assert ids(pytester.path / "past") == ["test_it/work", "reference-load/1"]


@pytest.mark.parametrize(
    ("torch", "options"),
    [
        ("", []),  # torch is not used, so it is not imported either
        ("sys.modules['torch'] = None", ["--energy-reference-load=off"]),
        (BROKEN, []),  # the session has its other figures all the same
    ],
)
def test_a_session_without_it_is_as_it_was(
    pytester: pytest.Pytester, torch: str, options: list[str]
) -> None:
    pytester.makepyfile(TEST.format(torch=torch))

    result = pytester.runpytest_subprocess(
        "--energy-meter=codecarbon", "--energy-history=past", *options
    )

    result.assert_outcomes(passed=1)
    assert ids(pytester.path / "past") == ["test_it/work"]
    said = "the reference load: " in result.stdout.str() + result.stderr.str()
    assert said == (torch == BROKEN)
