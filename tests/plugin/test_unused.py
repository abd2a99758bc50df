"""A GPU that is metered while something else computes: said once, and only if it is certain."""

from __future__ import annotations

import json

import pytest

import sim

TEST = """
    import pytest
    CLOCK

    def work():
        until = time.monotonic() + 0.3
        while WORKING and time.monotonic() < until:
            pass
        time.sleep(max(0.0, until - time.monotonic()))

    @pytest.mark.parametrize("n", [1, 2])
    def test_mine(energy, n):
        with energy.window("train"):
            work()

    @pytest.mark.energy(max_joules=1000)
    def test_limited():
        work()
"""

RESTING = sim.SimulatedGpu("constant 60", 0.02)


def _warnings(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    *gpus: sim.SimulatedGpu,
    working: bool = False,
) -> list[str]:
    variables = sim.environment(gpus, pytester.path / "gpu")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    # Work takes real seconds.
    clock = "import time" if working else "import sim; time = sim.simulated_seconds()"
    pytester.makepyfile(test_mine=TEST.replace("WORKING", str(working)).replace("CLOCK", clock))
    result = pytester.runpytest_subprocess(
        "--energy-meter=nvml", "--energy-idle-seconds=0.5", "--energy-json=run.json"
    )
    result.assert_outcomes(passed=3)
    remarks = json.loads((pytester.path / "run.json").read_text())["run"]["remarks"]
    shown = [line for line in result.outlines if "drew no more than when idle" in line]
    # What else is remarked, such as of a load that swings while the meter opens, is not asked here.
    said = [remark for remark in remarks if "drew no more than when idle" in remark]
    assert len(shown) == len(said)
    return said


@pytest.mark.fault(
    "neighbours",
    "a card rests while a test computes elsewhere",
    "said once",
)
def test_a_card_that_rests_while_nothing_of_ours_computes_on_it_is_named_once(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (said,) = _warnings(pytester, monkeypatch, RESTING)

    assert said.startswith("`gpu:0` (NVIDIA Simulated) drew no more than when idle in `train`")


def test_of_two_cards_the_one_that_rests_is_named(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = sim.SimulatedGpu("constant 60", 0.02, lines=("process 0 -10 1000",))

    (said,) = _warnings(pytester, monkeypatch, ours, RESTING)

    assert said.startswith("`gpu:1` (NVIDIA Simulated) drew")


@pytest.mark.parametrize(
    ("gpu", "working"),
    [
        pytest.param(
            sim.SimulatedGpu("constant 60", 0.02, lines=("process 0 -10 1000",)),
            False,
            id="our process is listed",
        ),
        pytest.param(
            sim.SimulatedGpu("cpu 60 200", 0.02),
            True,
            marks=pytest.mark.realtime,
            id="it draws more",
        ),
    ],
)
def test_where_it_may_be_working_nothing_is_said(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    gpu: sim.SimulatedGpu,
    working: bool,
) -> None:
    assert _warnings(pytester, monkeypatch, gpu, working=working) == []
