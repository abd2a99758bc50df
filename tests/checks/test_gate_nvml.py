"""Verdicts end to end: a user's own run, gated on the simulated NVML through the real bindings."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import sim
from pytest_energy.baselines import Header, Recording, StoredSession
from pytest_energy.baselines import writing as recording
from pytest_energy.files import write_atomically

WATTS, SECONDS, TOKENS = 300.0, 0.2, 1000
QUIET = (-0.002, 0.001, -0.001, 0.002, 0.0, 0.001, -0.002, 0.001)
RESTLESS = (-0.03, 0.02, -0.01, 0.03, 0.0, 0.02, -0.03, 0.01)

TEST = f"""
    import os
    from dataclasses import replace
    import sim
    from pytest_energy import window

    time = sim.simulated_seconds()

    class Sleeping:
        id, digest, padding_overhead = "mine/model", None, None

        def __init__(self, meter):
            self.meter = meter

        def window(self):
            with window(self.meter, self.id) as w:
                time.sleep({SECONDS} * float(os.environ.get("WORK", "1")))
            return replace(w.record, tokens={TOKENS}, real_tokens={TOKENS})

    def test_gated(energy, energy_gate):
        energy_gate.check("joules_per_token", Sleeping(energy.meter))
"""

Gated = Callable[..., pytest.RunResult]


@pytest.fixture
def gated(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Gated:
    """Run the gated test on a simulated card, against a baseline whose sessions differ so much."""
    pytester.makeconftest("import sim\nsim.simulated_seconds()")
    pytester.makepyfile(test_mine=TEST)

    def run(
        *arguments: str,
        spread: Sequence[float] = QUIET,
        power: float = 1.0,
        work: float = 1.0,
        lines: Sequence[str] = (),
    ) -> pytest.RunResult:
        path = pytester.path / "baselines" / "simulated.toml"
        write_atomically(path, _baseline(spread))
        gpu = sim.SimulatedGpu(f"constant {WATTS}", tick_seconds=0.02, lines=tuple(lines))
        variables = sim.environment([gpu], pytester.path / "gpu", power_scale=power)
        for name, value in {**variables, "WORK": str(work)}.items():
            if os.environ.get(name) != value:
                monkeypatch.setenv(name, value)
        return pytester.runpytest_subprocess("--energy-hw=simulated", *arguments)

    return run


def _baseline(spread: Sequence[float]) -> str:
    header = Header("simulated", ("NVIDIA Simulated*",), 250_000)
    mean = WATTS * SECONDS / TOKENS
    items = [
        Recording(
            "joules_per_token",
            "mine/model",
            None,
            StoredSession(
                f"2026-11-{day}T08:00:00+00:00",
                windows=10,
                mean=mean * (1 + offset),
                cv=0.003,
                mean_watts=WATTS,
                tokens_per_second=TOKENS / SECONDS,
                environment="0001",
            ),
            {"torch": "2.12.0", "application_sm_clock_mhz": "1000"},
            0.02,
            0.05,
        )
        for day, offset in enumerate(spread, start=10)
    ]
    return recording.updated(None, header, items, "append")


def test_six_percent_more_power_fails_and_says_power(
    gated: Gated, pytester: pytest.Pytester
) -> None:
    result = gated("--energy-json=run.json", power=1.06, lines=["clock app 1200 0"])

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["regression: *+?.? %*", "  +?.? % J/token: +?.? % power*same throughput*"]
    )
    result.stdout.fnmatch_lines(["*application sm clock 1000 MHz -> 1200 MHz*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    (row,) = json.loads((pytester.path / "run.json").read_text())["verdicts"]
    # The change is the same wherever it is given, and both figures say it.
    moved = f"{100 * row['change']:+.1f} %"
    assert row["value"] / row["baseline"] - 1 == pytest.approx(row["change"])
    assert row["interval"][0] < row["change"] < row["interval"][1]
    assert f"of the baseline, {moved} (95 % interval" in row["reason"]
    assert row["explanation"].startswith(f"{moved} J/token: ")


def test_six_percent_more_work_fails_and_says_throughput(gated: Gated) -> None:
    result = gated(work=1.06)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["regression: *", "*same power, -?.? % tokens/s (throughput)*"])


def test_one_percent_more_passes(gated: Gated) -> None:
    result = gated(power=1.01)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["mine/model*mJ/token*+?.? %*within"])


def test_restless_sessions_are_inconclusive_and_say_what_settles_it(gated: Gated) -> None:
    result = gated(spread=RESTLESS, power=1.02)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["mine/model: inconclusive. *8 sessions differ by*`--energy-settle=auto`*"]
    )


def test_six_percent_less_is_an_improvement_to_lock_in(gated: Gated) -> None:
    result = gated(power=0.94)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["improvement: *", "  Record *--energy-update=replace*"])


def test_a_foreign_process_makes_the_verdict_invalid(gated: Gated, tmp_path: Path) -> None:
    result = gated("--energy-strict", lines=["process 1 0 1e9"])

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["invalid: 5 windows*foreign process*"])


def test_a_throttled_card_makes_the_verdict_invalid(gated: Gated) -> None:
    result = gated(lines=["reasons 0x40 0 1e9"])

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["mine/model: invalid. 5 windows*throttled*"])


def test_a_lost_card_ends_in_a_named_outcome(gated: Gated) -> None:
    result = gated("--energy-strict", lines=["lost 1.0"])

    assert result.ret != 0
    result.stdout.fnmatch_lines(["*device lost*", "this run cost at least 0 J*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_another_card_than_the_one_named_is_bad_input(gated: Gated) -> None:
    result = gated("--energy-hw=a100")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*`--energy-hw=a100`*`simulated` (`NVIDIA Simulated`)*"])
