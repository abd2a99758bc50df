"""The trace of a gate: what a person sees of how a verdict came about."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest

from pytest_energy.gate import TracePoint, Verdict
from pytest_energy.gate.gates import SavingsGate, SequentialGate
from pytest_energy.results import VerdictRecord
from pytest_energy.results.json_codec import as_json, from_json
from pytest_energy.stats.noise import PairStats, SessionStats, spread
from pytest_energy.stats.sequential import SequentialTest, look_at_session
from report_support import compared, gated

SESSIONS = [SessionStats(0.005 * (1 + 0.002 * (k - 3.5)), 0.004, 10) for k in range(8)]


def crossed(point: TracePoint) -> str:
    """What the zones of a point say of its change."""
    if point.changed is not None and not point.changed[0] < point.change < point.changed[1]:
        return "changed"
    if point.within is not None and point.within[0] <= point.change <= point.within[1]:
        return "within"
    return "open"


@pytest.mark.parametrize(
    ("change", "outcome", "zone"),
    [(0.0, "within", "within"), (0.06, "regression", "changed"), (-0.06, "improvement", "changed")],
)
def test_the_last_point_alone_lies_in_the_zone_of_the_verdict(
    change: float, outcome: str, zone: str
) -> None:
    verdict = gated("x", change)

    assert verdict.outcome == outcome
    assert [crossed(point) for point in verdict.trace[:-1]] == ["open"] * (len(verdict.trace) - 1)
    assert crossed(verdict.trace[-1]) == zone
    assert [point.windows for point in verdict.trace] == list(range(1, len(verdict.windows) + 1))
    assert verdict.trace[-1].change == verdict.change


def test_nothing_can_be_decided_of_two_windows() -> None:
    gate = SequentialGate(SESSIONS)
    verdict = feed(gate, [0.005] * 3)

    assert [(point.within, point.changed) for point in verdict.trace[:2]] == [(None, None)] * 2
    assert verdict.trace[2].changed is not None


def test_zones_are_where_the_evidence_reaches_its_bounds() -> None:
    verdict = feed(SequentialGate(SESSIONS, alpha=0.002), [0.005 * 1.04, 0.005 * 1.03] * 15)
    rule = SequentialTest(0.02, 0.05, alpha=0.002, beta=0.03)
    logs = [math.log(value) for value in verdict.windows]
    look = look_at_session(logs, spread(SESSIONS), rule, most=30)
    last = verdict.trace[-1]
    assert last.changed is not None
    assert last.within is not None

    assert look.within is not None
    assert math.log1p(last.within[1]) == pytest.approx(look.within)
    assert math.log1p(last.changed[1]) == pytest.approx(look.changed)


def test_less_saved_is_below_zero_and_the_zones_are_points() -> None:
    sessions = [PairStats(0.5 + 0.001 * (k - 3.5), 0.004, 10) for k in range(8)]
    gate = SavingsGate(sessions)
    while gate.verdict is None:
        gate.add(0.005, 0.005 * 0.55)

    last = gate.verdict.trace[-1]
    assert gate.verdict.outcome == "regression"
    assert last.change == pytest.approx(-0.05, abs=0.002)
    assert last.changed is not None
    assert last.change < last.changed[0] < -0.01


def test_pairs_have_no_zones_before_their_variance_is_known() -> None:
    verdict = compared("x")

    assert [point.changed for point in verdict.trace[:3]] == [None] * 3
    assert crossed(verdict.trace[-1]) == "changed"


def test_a_missing_baseline_has_no_trace() -> None:
    assert feed(SequentialGate([]), [0.005]).trace == ()


def test_the_trace_survives_json() -> None:
    verdict = gated("x", 0.06)
    document = as_json(verdict)

    assert document["trace"][-1]["changed"] == asdict(verdict.trace[-1])["changed"]
    assert from_json(VerdictRecord, document) == verdict


def feed(gate: SequentialGate, values: list[float]) -> Verdict:
    """Give the gate values until it has decided."""
    for value in values:
        verdict = gate.add(value)
        if verdict is not None:
            return verdict
    raise AssertionError("asked for more than there is")
