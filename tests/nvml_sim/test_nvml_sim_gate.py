"""A whole run of pytest in simulated seconds: a gate, its baseline, and a change of power."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import sensor_sim

CONFTEST = """
    import os
    from dataclasses import replace
    import pytest
    from pytest_energy import window
    from sensor_sim import Card, Load, simulate

    simulation = simulate(Card.preset("a100", counter="truth"), seed=int(os.environ["SEED"]))
    world = simulation.__enter__()

    def pytest_unconfigure(config):
        simulation.__exit__(None, None, None)

    class Run:
        id, digest, padding_overhead = "mine/model", "0badcafe", 1.0

        def __init__(self, meter):
            self.meter = meter

        def window(self):
            with window(self.meter, self.id) as opened:
                world.work(Load.constant(float(os.environ["WATTS"])), 10.0)
            return replace(opened.record, tokens=1000, real_tokens=1000, steps=1)

    @pytest.fixture
    def run(energy_session):
        return Run(energy_session.meter)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    support = str(Path(sensor_sim.__file__).parent)
    monkeypatch.setenv("PYTHONPATH", support, prepend=os.pathsep)
    pytester.makeini("[pytest]\nenergy_meter = nvml\n")
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        """
        def test_gated(run, energy_gate):
            energy_gate.check("joules_per_token", run)
        """
    )
    return pytester


def test_a_run_of_pytest_goes_by_simulated_seconds(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEED", "1")
    monkeypatch.setenv("WATTS", "300")
    project.runpytest_subprocess("--energy-update=new").assert_outcomes(passed=1)

    monkeypatch.setenv("SEED", "2")
    monkeypatch.setenv("WATTS", "330")
    changed = project.runpytest_subprocess()

    changed.assert_outcomes(passed=1)  # one session cannot tell how sessions differ
    changed.stdout.fnmatch_lines(["mine/model*+10.? %*", "*J, *in 5? s of metering*"])
