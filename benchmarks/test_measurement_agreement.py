"""Claim: meters agree on the same work: the counter, CodeCarbon's reading, and the wall's."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import pytest

from pytest_energy import Energy, EnergySession, FineTuning, open_wall, window

AGREE = 0.02
"""Relative difference that sensors read alike may show, beside the edges of their windows."""

PROMPT_CODECARBON = "3.3"
"""Older ones watch the CPU for half a second at both ends of a task."""


def test_counter_agrees_with_codecarbon(
    energy: Energy, finetune: Callable[..., FineTuning]
) -> None:
    if energy.meter.name != "nvml":
        pytest.skip(f"`{energy.meter.name}` has no GPU that CodeCarbon reads too: it takes `nvml`")
    codecarbon = pytest.importorskip("codecarbon", PROMPT_CODECARBON)
    run = finetune("sst2")
    run.warm_up()
    tracker = codecarbon.OfflineEmissionsTracker(
        country_iso_code="USA", output_methods=[], log_level="critical", allow_multiple_runs=True
    )
    tracker.start_task("first")  # it takes a second, the later ones a millisecond
    tracker.stop_task("first")

    with energy.window("sst2, codecarbon inside") as w:
        tracker.start_task("sst2")
        run.warm_up()
        joules = 3.6e6 * tracker.stop_task("sst2").gpu_energy

    # CodeCarbon reads between ticks: either edge is off by up to one, sqrt(6) ticks a deviation.
    edges = 4 * energy.meter.update_period_seconds / sqrt(6) / w.seconds
    assert joules == pytest.approx(w.joules, rel=AGREE + edges)


def test_wall_is_above_the_device(
    energy: Energy, energy_session: EnergySession, finetune: Callable[..., FineTuning]
) -> None:
    source = energy_session.settings.wall
    if source is None:
        pytest.skip("no wall meter: name its log or address with `--energy-wall`")
    if energy.meter.method == "modelled":
        pytest.skip("joules are modelled here, so they need not agree: it takes a counter")
    run = finetune("sst2")
    run.warm_up()
    wall = open_wall(source)
    try:
        with window(wall, "wall") as outer, energy.window("sst2, wall outside") as w:
            run.warm_up()
    finally:
        wall.close()

    assert outer.joules + outer.uncertainty_joules > w.joules
    fit = energy_session.calibration
    if fit is not None:
        expected = fit.wall_joules(w.joules, w.seconds)
        doubt = outer.uncertainty_joules + w.uncertainty_joules
        assert outer.joules == pytest.approx(expected, rel=0.1, abs=doubt)
