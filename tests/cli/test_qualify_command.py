"""`pytest-energy qualify` on simulated cards: what was planted is found, printed and kept."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import sim
from pytest_energy.baselines.reading import read
from pytest_energy.cli import main
from pytest_energy.errors import EnergyError
from pytest_energy.qualify.experiments import qualified
from pytest_energy.qualify.table import document as document_of
from qualify_support import command, found, held_back
from replayed_cards import ReplayedCard
from sensor_sim import PRESETS, Card, apart

CARDS = {
    f"{model} {feed}": Card.preset(model, counter=feed)
    for model in ("h100", "a100", "v100", "rtx3090")
    for feed in ("sensor", "truth")
}
CARDS["rtx4090 sensor"] = Card.preset("rtx4090", counter="sensor")
CARDS["h100, late"] = Card.preset("h100", lag_seconds=0.05)
CARDS["h100, jitter"] = Card.preset("h100", counter="sensor", jitter_seconds=0.005)
CARDS["h100, slow calls"] = Card.preset("h100", counter="sensor", call_seconds=0.005)
for feed in ("sensor", "truth"):
    slow = {"call_seconds": 0.02, "call_jitter_seconds": 0.004}
    CARDS[f"h100 {feed}, slower calls"] = Card.preset("h100", counter=feed, **slow)
    CARDS[f"h100 {feed}, steps of 5 J"] = Card.preset("h100", counter=feed, quantum_joules=5.0)
    CARDS[f"h100 {feed}, both"] = Card.preset("h100", counter=feed, quantum_joules=5.0, **slow)


def close(told: dict[str, float], true: float, least: float = 0.0) -> bool:
    """Whether a figure is right within 10 %, or by so much."""
    return abs(told["value"] - true) <= max(0.1 * true, least)


@pytest.mark.parametrize("name", CARDS)
def test_what_was_planted_is_found(name: str) -> None:
    card = CARDS[name]
    document: dict[str, Any] = apart(found, card)

    fed = card.counter == "sensor"
    assert document["feed"] == ("sensor" if fed else "true power")
    counter, readings = document["counter"], document["readings"]
    period = card.update_seconds
    assert close(counter["period_seconds"], period)
    assert close(counter["window_seconds"], card.window_seconds if fed else period)
    # A counter that is fed by the sensor ticks up to twice its jitter after the sensor looked.
    late = card.jitter_seconds if fed else 0.0
    least = max(0.001, counter["lag_seconds"]["doubt"])
    assert close(counter["lag_seconds"], card.lag_seconds + late, least)
    assert counter["lag_seconds"]["doubt"] < 0.006
    assert close(readings["period_seconds"], period)
    assert close(readings["window_seconds"], card.window_seconds)
    assert close(readings["lag_seconds"], 0.0, 0.001)
    assert document["sees_all"] == (not fed or card.update_seconds == 0.1006)
    assert document["quantum_joules"] == pytest.approx(card.quantum_joules)
    for call in ("energy_call_seconds", "power_call_seconds"):
        assert document[call] == pytest.approx(card.call_seconds, rel=0.1)
    assert document["idle_watts"] == pytest.approx(card.idle_watts, rel=0.05)
    assert document["loaded_watts"] == pytest.approx(card.load_watts, rel=0.05)
    assert close(document["rise_seconds"], card.rise_seconds, 0.0015)
    assert close(document["fall_seconds"], card.fall_seconds)
    assert document["counter_to_readings"] == pytest.approx(1.0, abs=0.02)
    assert document["took_seconds"] < 200


H200S = {
    "truth": PRESETS["h200"],
    "sensor": Card.preset("h200", counter="sensor", tick_seconds=0.0),
}


@pytest.mark.parametrize("feed", H200S)
def test_a_card_at_its_power_limit_is_switched_with_milder_work(feed: str) -> None:
    """As an H200 is: its counter takes milliseconds to answer, its readings come when asked for."""
    card = H200S[feed]
    document: dict[str, Any] = apart(found, card, held_back(card.load_watts))
    counter, readings = document["counter"], document["readings"]
    assert document["feed"] == ("true power" if feed == "truth" else "sensor")
    assert document["sees_all"] == (feed == "truth")
    assert close(counter["window_seconds"], 0.1 if feed == "truth" else card.window_seconds)
    assert counter["window_seconds"]["doubt"] < 0.002
    assert close(readings["window_seconds"], card.window_seconds)
    assert not readings["is_even"]
    assert document["mild"]
    assert document["loaded_watts"] == pytest.approx(card.load_watts, rel=0.05)
    assert document["energy_call_seconds"] == pytest.approx(card.energy_call_seconds, rel=0.1)


def test_milder_work_that_shows_too_little_is_not_used() -> None:
    card = Card.preset("h100", idle_watts=150.0, load_watts=340.0)
    document: dict[str, Any] = apart(found, card)
    assert document["loaded_watts"] == pytest.approx(340.0, rel=0.05)
    assert (document["feed"], document["mild"]) == ("true power", False)


def test_a_card_without_a_counter_is_qualified_by_its_readings() -> None:
    card = PRESETS["p100"]
    document: dict[str, Any] = apart(found, card)

    assert document["feed"] == "no counter"
    assert document["counter"] is document["quantum_joules"] is None
    assert close(document["readings"]["period_seconds"], card.update_seconds)
    assert close(document["readings"]["window_seconds"], card.window_seconds)


@pytest.mark.parametrize("feed", ["truth", "sensor"])
def test_a_coarse_counter_is_not_taken_for_what_it_is_not(feed: Any) -> None:
    """In steps of 5 J, of 5.2 J a period, little can be told; what is told is right."""
    document: dict[str, Any] = apart(found, Card.preset("v100", counter=feed, quantum_joules=5.0))
    assert document["quantum_joules"] == 5.0
    assert document["feed"] in ("unknown", "sensor" if feed == "sensor" else "true power")
    assert not document["sees_all"]


def test_a_counter_of_another_rhythm_than_the_sensor_is_known_by_its_scatter() -> None:
    """It ticks every 100 ms, and its sensor looks 10 of every 20 ms."""
    card = Card.preset(
        "h100", counter="sensor", update_seconds=0.02, window_seconds=0.01, tick_seconds=0.1
    )
    document: dict[str, Any] = apart(found, card)
    assert (document["feed"], document["sees_all"]) == ("sensor", False)
    assert close(document["readings"]["window_seconds"], 0.01)


def test_a_counter_that_hardly_ticks_is_not_told_anything_of() -> None:
    document: dict[str, Any] = apart(found, Card.preset("h100", tick_seconds=5.0))
    assert (document["feed"], document["counter"], document["sees_all"]) == ("unknown", None, False)
    assert close(document["readings"]["window_seconds"], 0.025)


def refused(card: Card) -> str:
    """Why a card cannot be qualified."""
    try:
        found(card)
    except EnergyError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (Card(tick_seconds=0.001), "it changes at every look"),
        (Card.preset("v100", call_seconds=0.02), "it changes at every look"),
        (Card(tick_seconds=5.0), "nothing changes, or"),
        (Card.preset("h100", load_watts=50.0), "draws 50 W under load and 50 W at rest"),
        (Card.preset("h100", lines=("reset 30",)), "the counter of `gpu:0` fell"),
        (Card.preset("h100", lines=("lost 30",)), "GPU is lost"),
    ],
    ids=["fast", "slow calls", "slow", "no load", "counter falls", "lost"],
)
def test_what_shows_nothing_is_refused(card: Card, said: str) -> None:
    assert said in apart(refused, card)


def test_the_table_says_what_follows_and_keeps_it(tmp_path: Path) -> None:
    done = apart(command, CARDS["h100 sensor"], tmp_path, ["--keep"])

    assert done.code == 0
    assert "counter: feed              fed by the sensor" in done.text
    assert "it looks 25 % of the time" in done.text
    assert "1 of 4: idle, then even work" in done.text
    assert "h100simulated.toml changed; read it, then commit it:" in done.text
    path = tmp_path / "h100simulated.toml"
    first = path.read_text()
    [(uuid, kept)] = read(path).sensors.items()
    assert (uuid, kept.feed, kept.sees_all) == (done.document["uuid"], "sensor", False)
    assert kept.driver == done.document["driver"]
    assert kept.figures["counter_window_seconds"] == pytest.approx(0.025, rel=0.1)

    # Another qualification takes its place, and a person's note and all else stay.
    path.write_text(first + 'note = "rack 7"\n\n[claims.savings]\ncounter = [0.4, 0.6]  # kept\n')
    apart(command, CARDS["h100 truth"], tmp_path, ["--keep"])
    again = path.read_text()
    [kept] = read(path).sensors.values()
    assert (kept.feed, kept.sees_all) == ("true power", True)
    assert 'note = "rack 7"' in again
    assert "counter = [0.4, 0.6]  # kept" in again


def drawn(folder: Path, card: Card) -> tuple[str, dict[str, Any]]:
    """The page of a card, and its charts."""
    pytest.importorskip("plotly")
    pytest.importorskip("jinja2")
    from plotly.graph_objects import Figure

    path = folder / "page.html"
    done = apart(command, card, folder, ["--html", str(path)])
    assert f"{path} written" in done.text
    text = path.read_text()
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', text, re.S)
    assert found is not None
    charts: dict[str, Any] = json.loads(found[1])
    for chart in charts.values():
        Figure(json.loads(re.sub(r'"@[a-z0-9-]+(/[0-9.]+)?"', '"#123456"', json.dumps(chart))))
    return text, charts


def test_the_page_draws_what_was_found(tmp_path: Path) -> None:
    card = Card.preset("h100", counter="sensor", name="NVIDIA H100 <img src=x>")
    text, charts = drawn(tmp_path, card)

    assert "<h1>The counter looks 25\u00a0% of the time</h1>" in text
    assert "NVIDIA H100 &lt;img src=x&gt;" in text
    assert "<td>counter: feed</td><td>fed by the sensor</td>" in text
    curves = ["edge-on", "edge-off", "beats", "lock"]
    assert list(charts) == [*curves, "even", "intercept", "shortest", "levels"]
    names = [trace["name"] for trace in charts["edge-off"]["data"]]
    assert names == ["counter", "fitted", "power reading", "fitted"]
    seen, fitted = charts["edge-off"]["data"][:2]
    assert len(seen["x"]) > 100
    assert max(abs(y - 0) for x, y in zip(seen["x"], seen["y"], strict=True) if x > 300) < 3
    assert fitted["y"][0] == pytest.approx(100, abs=1)
    assert len(charts["even"]["data"][0]["x"]) == 10


def test_the_page_of_what_misses_nothing_warns_of_no_steps(tmp_path: Path) -> None:
    text, charts = drawn(tmp_path, CARDS["h100 truth"])
    assert "<h1>The counter misses nothing of what the card draws</h1>" in text
    assert "lock" not in charts


def test_the_page_of_a_card_without_a_counter(tmp_path: Path) -> None:
    text, charts = drawn(tmp_path, PRESETS["p100"])
    assert "There is no counter: joules are made of power readings" in text
    assert [trace["name"] for trace in charts["edge-on"]["data"]] == ["power reading", "fitted"]
    assert "lock" in charts


def test_it_is_not_kept_unless_asked(tmp_path: Path) -> None:
    done = apart(command, PRESETS["v100"], tmp_path)
    assert "not kept; `--keep` puts it into the hardware's baseline file" in done.text
    assert list(tmp_path.glob("*.toml")) == []


def test_without_a_gpu_nothing_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["qualify"]) == 4
    assert "the NVIDIA driver does not answer" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["qualify", "--json", str(tmp_path / "file" / "found.json")]) == 4
    error = capsys.readouterr().err
    assert "--json" in error
    assert "cannot be written" in error


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ([sim.SimulatedGpu(), sim.SimulatedGpu()], "2 GPUs are visible"),
        ([sim.SimulatedGpu()], "`gpu:0` needs a load, and this torch has no CUDA"),
    ],
)
def test_what_cannot_be_qualified_is_refused_before_anything_is_measured(
    cards: list[sim.SimulatedGpu], said: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest_energy", "qualify"],
        env=sim.environment(cards, tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert said in done.stderr
    assert "1 of 4" not in done.stdout


def kept_and_found_again(card: Card) -> tuple[Any, Any]:
    """What was found of a card, and what is found of it again by the looks that were kept."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "looks.json.gz"
        done = command(card, Path(name), ["--looks", str(path)])
        again = qualified(ReplayedCard(path), lambda _: None)
    assert f"{path} written" in done.text
    return done.document, document_of(again)


def test_looks_that_were_kept_say_the_same_again() -> None:
    found_then, again = apart(kept_and_found_again, Card.preset("h100", counter="sensor"))
    assert found_then["uuid"].startswith("GPU-")
    assert again["uuid"] == ""
    for name in ("feed", "sees_all", "quantum_joules", "even_work", "date", "driver", "mild"):
        assert again[name] == found_then[name], name
    for name in ("counter", "readings"):
        for figure, value in found_then[name].items():
            if isinstance(value, dict):
                assert again[name][figure]["value"] == pytest.approx(value["value"], abs=2e-6)
    assert len(again["beats"]) == 5
