"""What a probe's run says of the figure that is followed, and what is kept of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_energy.bisect import Finding, Probe
from pytest_energy.bisect.documents import Figure, Kept, choose_figure, finding_of, same_device
from pytest_energy.bisect.levels import log_change, noise_sessions
from pytest_energy.errors import EnergyError
from pytest_energy.results import ComparisonRecord, RunRecord, Side, VerdictRecord

PROBE = Probe("bbb", "aaa", "search", 0.01, 0.04, 6)


def side(name: str, padding: float | None = 2.0) -> Side:
    return Side(name, name, 0.005, 300.0, 1e4, padding, {})


def verdict(id_: str, change: float, nodeid: str = "", padding: float = 2.0) -> VerdictRecord:
    pairs = ((0.005, 0.005 * (1 + change)),) * 4
    compared = ComparisonRecord("x", "revision", side("base"), side("head", padding), pairs)
    return VerdictRecord(
        id_,
        "joules_per_token",
        nodeid or f"test_it.py::test_{id_}",
        "regression" if change > 0.03 else "within",
        change=change,
        comparison=compared,
    )


def test_the_figure_that_changed_most_is_followed() -> None:
    run = RunRecord(verdicts=(verdict("a", 0.0), verdict("b", 0.06), verdict("c", 0.04)))

    figure = choose_figure(run, None, "", "c0")
    assert (figure.id, figure.others) == ("b", ("test_it.py::test_a", "test_it.py::test_c"))
    assert choose_figure(run, "c", "", "c0").id == "c"
    with pytest.raises(EnergyError, match=r"`--figure=d` is not among .*: `a`, `b`, `c`"):
        choose_figure(run, "d", "", "c0")
    with pytest.raises(EnergyError, match="came to no J/token in `c0`: no luck; mend that"):
        choose_figure(RunRecord(), None, "no luck", "c0")
    with pytest.raises(EnergyError, match=r"gate no J/token in `c0`, .*nothing to follow"):
        choose_figure(RunRecord(), None, "", "c0")


def test_no_test_is_left_out_whose_name_begins_as_the_followed_ones_does() -> None:
    run = RunRecord(verdicts=(verdict("t", 0.0, "a.py::t"), verdict("t2", 0.06, "a.py::t2")))

    assert choose_figure(run, None, "", "c0") == Figure("t2", "a.py::t2", "joules_per_token")


def test_one_scale_whichever_figure_the_gate_has_judged() -> None:
    run = RunRecord(verdicts=(verdict("a", 0.06, padding=3.0),))

    as_tokens = finding_of(PROBE, run, Figure("a", "", "joules_per_token"), "")
    as_real = finding_of(PROBE, run, Figure("a", "", "joules_per_real_token"), "")
    assert as_tokens.pairs[0][1] / as_tokens.pairs[0][0] == pytest.approx(1.06)
    assert as_real.pairs[0][1] / as_real.pairs[0][0] == pytest.approx(1.06 * 1.5)


def test_what_could_not_be_compared_is_broken_and_says_why() -> None:
    figure = Figure("mine/model", "test_it.py::test_test_a", "joules_per_token")
    fault = replace(verdict("test_a", 0.0), comparison=None, outcome="invalid", reason="it hangs")

    assert finding_of(PROBE, RunRecord(verdicts=(fault,)), figure, "").reason == "it hangs"
    assert finding_of(PROBE, RunRecord(), figure, "boom").reason == "boom"
    assert finding_of(PROBE, RunRecord(), figure, "").is_broken


def test_levels_of_two_devices_do_not_compare() -> None:
    first = Finding(PROBE, "within", device="h200 GPU-a")

    assert same_device(replace(first), [first]) == first
    with pytest.raises(EnergyError, match="began on `h200 GPU-a`, and this is `h200 GPU-b`"):
        same_device(replace(first, device="h200 GPU-b"), [first])


def measured(*ratios: float) -> Finding:
    return Finding(PROBE, "within", tuple((0.005, 0.005 * each) for each in ratios))


def test_a_change_with_its_interval() -> None:
    finding = measured(1.05, 1.06, 1.04, 1.05)

    alone = log_change(finding, [finding]).shown
    assert alone.change == pytest.approx(0.05, abs=1e-3)
    assert alone.low < 0.04
    assert alone.high > 0.06
    quiet = [finding, *(measured(1.0, 1.001, 0.999, 1.0) for _ in range(5))]
    assert log_change(finding, quiet).variance < log_change(finding, [finding]).variance / 2


def test_probes_tell_the_noise_of_windows_whatever_differs_between_sides() -> None:
    (session,) = noise_sessions([measured(1.5, 1.52, 1.48, 1.5), measured(), measured(1.0, 1.1)])

    assert session.count == 7
    assert session.variation == pytest.approx(0.01, rel=0.5)


def test_what_was_kept_is_read_back(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "git" / "kept.json")
    figure = Figure("a", "t.py::a", "joules_per_token", ("t.py::b",))
    found = replace(measured(1.05, 1.04, 1.06), explanation="power", device="h200 GPU-a")
    kept.figure = figure
    kept.keep(found)
    again = Kept(kept.path)
    again._read()

    assert (again.figure, again.findings) == (figure, [found])
    other = replace(PROBE, attempt=2)
    assert again.answer(replace(PROBE, tolerance=0.02), lambda _: measured()) == found
    assert again.answer(other, lambda probe: Finding(probe, "broken")).probe == other


def test_what_a_newer_version_kept_asks_for_an_upgrade_whatever_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text('{"schema": 9, "lines": []}')

    with pytest.raises(EnergyError, match=r"has schema 9, of a newer .*; upgrade it\); begin anew"):
        Kept(path)._read()
