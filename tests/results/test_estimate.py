"""What a full run costs: from J/token to kWh, gCO2e, money and hours."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_energy import baselines as baseline
from pytest_energy.baselines.reading import known_hardware, parse, read
from pytest_energy.cli import main
from pytest_energy.metering.hardware import matching_key
from pytest_energy.results.footprint import Interval, Rate, estimate, full_run, rate
from pytest_energy.workloads.tasks import FINE_TUNING_TASKS, Lengths, get_task

BASELINES = Path(__file__).parents[2] / "baselines"
RTX8000 = read(BASELINES / "rtx8000.toml")

# Quoted: kWh of a BERT-base run on one GPU. IMDB's cap is not known, see baselines/rtx8000.toml.
PAPER_KWH = {
    "rte": 0.008,
    "mnli": 0.938,
    "squad_v1": 0.537,
    "squad_v2": 0.795,
    "sst2": 0.081,
    "conll2003": 0.021,
    "conll2012": 0.207,
}
PAPER_SECONDS = {"rte": 59, "mnli": 6700}

MEASURED = """
schema = 1

[hardware]
key = "h200"
tokens_per_window = 250_000

[joules_per_token."sst2/bert-base-uncased"]
sessions = [
  { date = 2026-11-24T10:12:03Z, windows = 10, mean = 0.00495, cv = 0.003, mean_watts = 500.0 },
  { date = 2026-11-25T10:12:03Z, windows = 10, mean = 0.00505, cv = 0.003, mean_watts = 510.0 },
  { date = 2026-11-26T10:12:03Z, windows = 10, mean = 0.00500, cv = 0.003, mean_watts = 490.0 },
]

[claims.joules_per_token]
source = "paper"
"*/bert-base-uncased" = { low = 0.02, mean = 0.03, high = 0.04 }
"""


def _stored(text: str) -> baseline.Baseline:
    return parse(text, Path("baselines/h200.toml"))


@pytest.mark.parametrize("task", PAPER_KWH)
def test_the_papers_band_gives_the_papers_table_back(task: str) -> None:
    known = rate(RTX8000, f"{task}/bert-base-uncased")
    assert known is not None
    found = estimate(full_run(get_task(task)), known)

    assert found.kwh.value == pytest.approx(PAPER_KWH[task], rel=0.15)
    assert found.kwh.low < PAPER_KWH[task] * 1.05
    assert found.kwh.high > PAPER_KWH[task] * 0.95
    if task in PAPER_SECONDS:
        assert found.hours is not None
        assert 3600 * found.hours.value == pytest.approx(PAPER_SECONDS[task], rel=0.05)


@pytest.mark.parametrize(
    ("key", "name", "other", "millijoules"),
    [
        ("v100", "Tesla V100-SXM2-16GB", "NVIDIA A100-SXM4-80GB", (10.4, 12.2)),
        ("a40", "NVIDIA A40", "NVIDIA A400", (7.1, 7.5)),
        ("p100", "Tesla P100-PCIE-16GB", "Tesla P4", (13.7, 15.5)),
        ("rtx6000", "Quadro RTX 6000", "NVIDIA RTX 6000 Ada Generation", (11.7, 13.1)),
    ],
)
def test_bands_that_others_measured_give_a_figure_from_the_first_day(
    key: str, name: str, other: str, millijoules: tuple[float, float]
) -> None:
    known = known_hardware(BASELINES)
    assert matching_key([name], known) == key
    assert matching_key([other], known) != key

    cost = rate(read(BASELINES / f"{key}.toml"), "squad_v1/bert-base-uncased")

    assert cost is not None
    bounds = cost.joules_per_token.low, cost.joules_per_token.high
    assert bounds == pytest.approx([each / 1000 for each in millijoules])
    assert cost.source == "paper, not measured"
    assert estimate(full_run(get_task("squad_v1")), cost).hours is None


def test_every_quoted_task_but_imdb_is_checked() -> None:
    assert set(FINE_TUNING_TASKS) - set(PAPER_KWH) == {"imdb"}


def test_tokens_are_examples_times_epochs_times_length_times_padding() -> None:
    task = get_task("sst2")

    assert full_run(task).tokens == pytest.approx(67_349 * 3 * 13.319 * 3.0119)
    assert full_run(get_task("mlm")).batch_size == 256
    assert full_run(task, examples=10, epochs=2, batch_size=16).tokens == pytest.approx(
        10 * 2 * 13.319 * 2.6406
    )


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("task", FINE_TUNING_TASKS)
def test_padding_of_batches_that_nobody_measured(task: str, size: int) -> None:
    lengths = get_task(task).lengths
    unmeasured = replace(lengths, padding_overhead={})

    expected = unmeasured.overhead_in_batches_of(size)

    assert expected == pytest.approx(lengths.padding_overhead[size], rel=0.01)
    assert unmeasured.overhead_in_batches_of(1) == pytest.approx(1.0, abs=0.01)
    assert Lengths((128.0,) * 101, 128.0).overhead_in_batches_of(256) == 1.0


def test_sessions_give_the_mean_and_an_interval_as_wide_as_they_differ() -> None:
    known = rate(_stored(MEASURED), "sst2/bert-base-uncased")
    quiet = rate(
        _stored(MEASURED.replace("0.00495", "0.004999").replace("0.00505", "0.005001")),
        "sst2/bert-base-uncased",
    )

    assert known is not None
    assert quiet is not None
    assert known.source == "measured, 3 sessions"
    assert known.joules_per_token.value == pytest.approx(0.005)
    assert known.joules_per_token.low < 0.00495
    assert known.joules_per_token.high > 0.00505
    assert quiet.joules_per_token.high < known.joules_per_token.high
    assert known.mean_watts == pytest.approx(500.0)


def test_a_band_speaks_only_where_nothing_was_measured() -> None:
    known = rate(_stored(MEASURED), "rte/bert-base-uncased")

    assert known == Rate(Interval(0.03, 0.02, 0.04), "paper, not measured")
    assert rate(_stored(MEASURED), "rte/distilbert-base-uncased") is None


def test_what_joules_amount_to() -> None:
    run = full_run(get_task("mlm"), examples=1000, epochs=3)
    known = Rate(Interval(0.1, 0.09, 0.12), "measured", mean_watts=100.0)
    found = estimate(run, known)

    joules = 1000 * 3 * 128 * 0.1
    assert found.kwh.value == pytest.approx(joules / 3.6e6)
    assert found.kwh.high == pytest.approx(1.2 * joules / 3.6e6)
    assert found.grams(500).value == pytest.approx(500 * joules / 3.6e6)
    assert found.money(0.25).low == pytest.approx(0.25 * 0.9 * joules / 3.6e6)
    assert found.hours is not None
    assert found.hours.value == pytest.approx(joules / 100 / 3600)


@pytest.mark.parametrize(("speed", "hours"), [(128.0, 1000 * 3 / 3600), (None, None)])
def test_hours_from_speed_or_not_at_all(speed: float | None, hours: float | None) -> None:
    run = full_run(get_task("mlm"), examples=1000, epochs=3)
    found = estimate(run, Rate(Interval(0.1, 0.09, 0.12), "measured", None, speed))

    assert (found.hours and found.hours.value) == (hours and pytest.approx(hours))


def test_the_command_prints_a_sheet(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("codecarbon")
    arguments = ["estimate", "sst2", "--hw", "rtx8000", "--region", "USA", "--price", "0.3"]

    assert main([*arguments, "--baselines", str(BASELINES)]) == 0

    out = capsys.readouterr().out
    assert "67,349 examples, 3 epochs, batches of 32" in out
    assert "31.3 (29.4 to 35.9) mJ, paper, not measured" in out
    assert "0.0705 (0.0662 to 0.0808) kWh" in out
    assert "gCO2e, United States" in out
    assert "0.0211 (0.0199 to 0.0242) at 0.3 a kWh" in out
    assert "0.141 (0.132 to 0.162) h" in out


def test_the_command_takes_what_differs_from_the_standard(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["estimate", "sst2", "--hw=rtx8000", "--epochs=1", "--examples=1000"]

    assert main([*arguments, "--batch-size=16", "--baselines", str(BASELINES)]) == 0

    out = capsys.readouterr().out
    assert "1,000 examples, 1 epoch, batches of 16" in out
    assert "35,170 (13.3 an example, x 2.64 with padding)" in out
    assert "money" not in out


def test_all_tasks_have_a_row_each_or_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "h200.toml").write_text(MEASURED.replace("*/bert", "squad_*/bert"))

    assert main(["estimate", "all", "--hw", "h200", "--baselines", str(tmp_path)]) == 0

    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines[2:-1]}
    assert set(rows) == {"squad_v1", "squad_v2", "sst2"}
    assert rows["sst2"].endswith("measured, 3 sessions")
    assert rows["squad_v1"].endswith("paper, not measured")
    assert lines[-1] == "no J/token of rte, mnli, imdb, conll2003, conll2012"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rte", "--hw=a100"], "`a100` has no J/token of `rte/bert-base-uncased` in .*a100.toml`"),
        (["rte", "--hw=none"], "on an idle machine with `pytest benchmarks/ --energy-hw=none "),
        (["all", "--hw=a100"], "`a100` has no J/token of `[*]/bert-base-uncased`"),
        (["rte", "--hw=rtx8000", "--model=distilbert-base-uncased"], "no J/token of `rte/distil"),
        (["rt", "--hw=rtx8000"], "`rt` is not a task: did you mean `rte`"),
        (["rte", "--hw=rtx8000", "--epochs=0"], "`epochs` is 0"),
        (["rte", "--hw=rtx8000", "--examples=-1"], "`examples` is -1"),
        (["rte", "--hw=rtx8000", "--price=-1"], "`--price` is -1"),
        (["rte", "--hw=rtx8000", "--price=nan"], "`--price` is nan"),
    ],
)
def test_what_cannot_be_estimated_says_what_to_do(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("a100.toml", "rtx8000.toml"):
        shutil.copy(BASELINES / name, tmp_path)

    assert main(["estimate", *arguments, "--baselines", str(tmp_path)]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.search(message, captured.err)
