"""Runs to report: verdicts of real gates on seeded windows, with names that try to break out."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from pytest_energy.gate import Verdict
from pytest_energy.gate.carriers import ProfileChange
from pytest_energy.gate.carriers import compared as compare_profiles
from pytest_energy.gate.gates import PairedGate, SequentialGate
from pytest_energy.history import ChangePoint, DriftReport, Point, SeriesDrift, Stale
from pytest_energy.history import Series as History
from pytest_energy.metering import Window
from pytest_energy.metering.device_session import RunCost
from pytest_energy.metering.profile import Part, Profile
from pytest_energy.results import ComparisonRecord, Origin, RunRecord, Side, VerdictRecord
from pytest_energy.results.claims import ClaimRecord, EnergyClaim, Plot, Series
from pytest_energy.results.footprint import Footprint
from pytest_energy.results.json_codec import ReportedRun
from pytest_energy.stats.noise import SessionStats

NASTY = "<script>alert(1)</script>|`x`</script><img src=x onerror=alert(2)>\n**b** $y$ [a](b)"
STARTED = 1_764_000_000.0
LEVEL = 0.005
TOKENS = 100_000


def window(name: str, joules_per_token: float, number: int, watts: float = 500.0) -> Window:
    """A window of a counter, with a few samples of its power."""
    joules = joules_per_token * TOKENS
    seconds = joules / watts
    power = tuple((round(0.3 * k, 1), watts + 5 * (k % 2)) for k in range(int(seconds / 0.3) + 1))
    return Window(
        name,
        "counter",
        {"gpu:0": joules},
        seconds,
        0.2,
        STARTED + 2 * number,
        tokens=TOKENS,
        real_tokens=TOKENS // 3,
        power_by_domain={"gpu:0": power},
    )


def gated(name: str, change: float = 0.0, seed: int = 1) -> VerdictRecord:
    """The verdict of a gate on windows that are changed by so much."""
    chance = random.Random(seed)
    sessions = [SessionStats(LEVEL * (1 + 0.002 * (k - 3.5)), 0.004, 10) for k in range(8)]
    gate, windows = SequentialGate(sessions), list[Window]()
    while gate.verdict is None:
        value = LEVEL * (1 + change) * chance.gauss(1, 0.003)
        windows.append(window(name, value, len(windows)))
        gate.add(value)
    return _record(name, gate.verdict, windows)


def compared(name: str, change: float = 0.06) -> VerdictRecord:
    """The verdict of an A/B comparison."""
    chance = random.Random(2)
    gate, windows, pairs = PairedGate(), list[Window](), list[tuple[float, float]]()
    while gate.verdict is None:
        base, head = LEVEL * chance.gauss(1, 0.003), LEVEL * (1 + change) * chance.gauss(1, 0.003)
        windows += [window("base", base, len(windows)), window("head", head, len(windows) + 1)]
        pairs.append((base, head))
        gate.add(base, head)
    sides = [
        Side("base", "4f2a9c1", LEVEL, 500.0, 100_000.0, 3.0, {"torch": "2.13.0", "os": "Linux"}),
        Side("head", NASTY, 1.06 * LEVEL, 500.0, 94_000.0, 3.0, {"torch": "2.15.0", "os": "Linux"}),
    ]
    comparison = ComparisonRecord("main", "revision", sides[0], sides[1], tuple(pairs))
    record = _record(name, gate.verdict, windows)
    return replace(record, comparison=comparison, profile=profiled())


def profiled() -> ProfileChange:
    """Where the time of a token goes on both sides; an operator and a module are called badly."""
    base = Profile(
        "device",
        8,
        10e-6,
        (Part("forward", 4e-6), Part("backward", 5e-6), Part("gaps", 1e-6)),
        (Part("aten::mm", 8e-6, 12), Part(NASTY, 1e-6, 3)),
        (Part(NASTY, 9e-6, 1),),
        (Part("gemm<float>", 9e-6, 15),),
        Part("sdpa flash", 1e-6),
    )
    head = replace(
        base,
        seconds=11e-6,
        operators=(Part("aten::mm", 8e-6, 12), Part(NASTY, 2e-6, 4)),
        kernels=(Part("other<float>", 10e-6, 16),),
        attention=Part("sdpa math", 1.1e-6),
    )
    return compare_profiles(base, head, 0.06)


def claim(name: str = "Energy is proportional to tokens.") -> ClaimRecord:
    """A claim with a figure that fails, one without a bound, a table and two plots."""
    noted = EnergyClaim(name, "benchmarks/test_scaling.py::test_scaling", "counter")
    noted.figure("r_squared", 0.98, at_least=0.99, paper="0.997 (derived)")
    noted.figure(f"slope {name}", 0.005, "J/token", interval=(0.0049, 0.0051))
    noted.table(f"by budget {name}", ("tokens", "J", name), (1000, 5.0, "x"), (2000, None, "y"))
    points = Series(name, ((1000.0, 5.0), (2000.0, float("nan")), (4000.0, 20.0)))
    line = Series("fit", ((1000.0, 5.0), (4000.0, 20.0)), line=True)
    noted.plot(Plot(name, "tokens", "J", (points, line), logarithmic=True))
    noted.plot(Plot("residuals", "tokens", "J", (points,)))
    return replace(noted.record, location=("benchmarks/test_scaling.py", 7))


def run(*verdicts: VerdictRecord, claims: tuple[ClaimRecord, ...] = ()) -> ReportedRun:
    """A run on one H200."""
    device = {"domain": "gpu:0", "name": "NVIDIA H200", "uuid": "GPU-5f", "power_limit_watts": 700}
    record = RunRecord(
        hardware={"key": "h200", "devices": [device]},
        environment={"torch": "2.15.0", "driver": NASTY},
        verdicts=verdicts,
        cost=RunCost(12_345.0, 25.0),
        idle_watts=72.0,
        claims=claims,
        origin=Origin(
            "4f2a9c1d7e08b6a5", NASTY, True, "host", "runner", "we/classify", "pytest benchmarks/"
        ),
    )
    return ReportedRun(record, Footprint(12_345.0, 1.64, "world mean"))


def full_run() -> ReportedRun:
    """One of everything, under names that try to break out."""
    failing = replace(
        gated(f"squad/{NASTY}", 0.07),
        fails=True,
        location=("tests/a,b:c.py", 12),
        explanation="+7.0 % J/token: same power; torch 2.13.0 -> 2.15.0.",
        changed_environment={"torch": ("2.13.0", "2.15.0"), "driver": ("580", NASTY)},
    )
    measured = VerdictRecord(
        f"test_x[{NASTY}]/train", "joules", unit="J", outcome="measured", value=812.0,
        method="counter", windows=(window("train", 0.004, 50),),
    )  # fmt: skip
    verdicts = (gated("sst2/bert"), measured, compared("imdb/bert"), failing)
    return run(*verdicts, claims=(claim(NASTY),))


def drift() -> DriftReport:
    """A step of 4 % in 40 sessions, and a series that is too short."""
    first = datetime(2026, 9, 1, 3, tzinfo=timezone.utc)
    chance = random.Random(4)
    points = tuple(
        Point(
            (first + timedelta(days=day)).isoformat(),
            LEVEL * (1.04 if day >= 25 else 1.0) * chance.gauss(1, 0.004),
            commit=f"{day:02d}abcdef0123456789",
        )
        for day in range(40)
    )
    stepped = SeriesDrift(
        History("h200", "joules_per_token", NASTY, "J/token", points, baseline=LEVEL,
                tolerance=0.02),
        "drift",
        (ChangePoint(25, points[25].date, LEVEL, 1.04 * LEVEL, 0.04, commit="25abcdef0123456789",
                     last_good=NASTY, reason="+4.0 % J/token: same power."),),
        Stale(1.04 * LEVEL, LEVEL, 0.04),
        1.04 * LEVEL,
    )  # fmt: skip
    short = SeriesDrift(History("h200", "savings", "rte", "fraction", points[:3]), "too few",
                        needed=17)  # fmt: skip
    return DriftReport((short, stepped), ("`x.json`: no record; skipped",))


def _record(name: str, verdict: Verdict, windows: list[Window]) -> VerdictRecord:
    return VerdictRecord(
        id=name,
        metric="joules_per_token",
        nodeid=f"tests/test_{name}.py::test_it",
        outcome=verdict.outcome,
        reason=verdict.reason,
        value=verdict.value,
        uncertainty=0.00001,
        baseline=verdict.baseline,
        change=verdict.change,
        tolerance=0.02,
        detect=0.05,
        method="counter",
        trace=verdict.trace,
        windows=tuple(windows),
    )
