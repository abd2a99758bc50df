"""`pytest-energy calibrate`: paired windows, pairs from a file, and what is stored."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_energy.baselines.reading import read
from pytest_energy.cli import main
from pytest_energy.meters.protocol import Device
from pytest_energy.workloads.loads import load_for
from wall_support import PERIOD, logging_watts

pytestmark = pytest.mark.realtime

# A device whose power climbs by itself, and does not depend on the load: the truth is known.
_METER = """
import time
from pytest_energy.meters import Conditions, Device, Reading

BEGAN = time.time()


def watts():
    return 100 + 60 * (time.time() - BEGAN)


class RisingMeter:
    name, method = "rising", "counter"
    update_period_seconds = resolution_joules = 0.0
    devices = (Device("gpu:0", "NVIDIA H200", "GPU-0000-rising", 7e9),)

    def read(self):
        now, t = time.monotonic(), time.time() - BEGAN
        return Reading(now, {"gpu:0": 100 * t + 30 * t * t})

    def conditions(self):
        return Conditions()

    def close(self):
        pass
"""


@pytest.fixture
def rising(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install the meter `rising`; a wall meter logs 40 W + 1.25 x its watts meanwhile."""
    site = tmp_path / "site"
    info = site / "rising-1.0.dist-info"
    info.mkdir(parents=True)
    name = f"rising_{tmp_path.name}"
    (site / f"{name}.py").write_text(_METER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rising\nVersion: 1.0\n")
    points = f"[pytest_energy.meters]\nrising = {name}:RisingMeter\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_ENERGY_LOCKS", str(tmp_path))
    module = __import__(name)
    log = tmp_path / "plug.csv"
    with logging_watts(log, lambda: 40 + 1.25 * module.watts()):
        time.sleep(4 * PERIOD)
        yield log


def _figures(text: str, name: str) -> list[float]:
    line = next(line for line in text.splitlines() if line.startswith(f"  {name}"))
    words = line.replace("(", " ").replace(")", " ").split()
    return [float(word) for word in words if word.replace(".", "").lstrip("-").isdigit()]


def test_paired_windows_find_offset_and_slope_and_store_them(
    rising: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["calibrate", f"--wall={rising}", "--meter=rising", "--seconds=0.3", "--windows=5"]

    assert main([*command, "--write"]) == 0

    out = capsys.readouterr().out
    assert "device: `gpu:0` NVIDIA H200 (rising, counter)" in out
    assert "wall: `plug.csv`, a reading every 0.0" in out
    assert "load: busy loops on" in out
    assert [line.split()[0] for line in out.splitlines()[6:11]] == [
        "0%",
        "100%",
        "50%",
        "25%",
        "75%",
    ]
    slope, _, low, high = _figures(out, "slope")
    assert slope == pytest.approx(1.25, rel=0.05)
    assert low < slope < high
    assert _figures(out, "offset")[0] == pytest.approx(40, abs=20)
    assert "wall W less fit" in out
    assert "+[calibration.GPU-0000-rising]" in out
    stored = read(tmp_path / "baselines" / "h200.toml")
    kept = stored.calibrations["GPU-0000-rising"]
    assert kept.fit.slope == pytest.approx(slope, abs=1e-3)
    assert (kept.fit.count, kept.wall) == (5, "plug.csv")


def test_a_wall_reading_that_stops_ends_it_with_a_reason(
    rising: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.csv"
    old.write_text("timestamp,watts\n100,10\n101,10\n102,10\n")

    assert main(["calibrate", f"--wall={old}", "--meter=rising"]) == 4

    assert "wall reading missing: `old.csv`: its last reading is" in capsys.readouterr().err


PAIRS = "device_watts,wall_watts,note\n70,212.4,idle\n200,355.7,\n400,575.3,\n700,905.6,full\n"


def test_pairs_from_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(PAIRS)

    assert main(["calibrate", f"--pairs={path}", f"--baselines={tmp_path}"]) == 0

    out = capsys.readouterr().out
    assert _figures(out, "slope")[0] == pytest.approx(1.1, abs=0.002)
    assert _figures(out, "offset")[0] == pytest.approx(135.5, abs=0.5)
    assert "over 4 pairs" in out
    assert "the slope is known to" not in out
    assert "not stored; `--write`" in out
    assert list(tmp_path.glob("*.toml")) == []


def test_a_slope_that_is_hardly_known_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("device_watts,wall_watts\n70,260\n200,340\n400,640\n700,920\n")

    assert main(["calibrate", f"--pairs={path}"]) == 0
    assert "the slope is known to ± 36 %" in capsys.readouterr().out


def test_pairs_are_stored_beside_what_is_there(
    rising: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(PAIRS)
    path = tmp_path / "baselines" / "h200.toml"
    path.parent.mkdir()
    path.write_text('# ours\nschema = 1\n\n[hardware]\nkey = "h200"\nmatch = ["NVIDIA H200*"]\n')

    assert main(["calibrate", f"--pairs={pairs}", "--meter=rising", "--write"]) == 0

    assert path.read_text().startswith("# ours\nschema = 1\n\n[hardware]\n")
    assert read(path).calibrations["GPU-0000-rising"].wall == "pairs.csv"
    assert "h200.toml changed; read it, then commit it" in capsys.readouterr().out


def test_a_slope_that_may_be_nothing_is_not_stored(
    rising: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("device_watts,wall_watts\n70,300\n200,310\n400,290\n700,305\n")

    assert main(["calibrate", f"--pairs={pairs}", "--meter=rising", "--write"]) == 4

    assert "not stored: wall watts do not surely rise" in capsys.readouterr().err
    assert not (tmp_path / "baselines").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("device,wall\n1,2\n", "has no column `device_watts`"),
        ("device_watts,wall_watts\n1,2\n3,x\n", "pairs.csv` line 3: '3' and 'x' are no watts"),
        ("device_watts,wall_watts\n1,2\n3\n", "pairs.csv` line 3"),
        ("device_watts,wall_watts\n1,2\n3,4\n", "2 pairs make no calibration"),
        ("", "pairs.csv`: the file is empty; expected a CSV whose first line names"),
        ("device_watts,wall_watts\n1,2\n3,nan\n", "line 3: '3' and 'nan' are no watts"),
        ("device_watts,wall_watts\n\n1,2\n\n-3,4\n", "line 5: '-3' and '4' are no watts"),
        ("device_watts,wall_watts\n1,1e308\n", "line 2: '1' and '1e308' are no watts"),
        ("device_watts,wall_watts\n" + "9" * 400 + ",2\n", "9…' and '2' are no watts"),
        ('device_watts,wall_watts\n1,"2\n3,4\n5,6\n', "pairs.csv` line 2: unexpected end of data"),
        ("device_watts,wall_watts\n1," + "2" * 2000, "line 2: is longer than 1,000 characters"),
        ("device_watts,wall_watts\n" + "1,2\n" * 20_000, "has 20,000 lines; give 10,000 pairs"),
        ("device_watts,wall_watts\n" + "1,2\n" * 300_000, "is larger than 1,048,576 bytes"),
    ],
)
def test_pairs_that_are_wrong_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text)

    assert main(["calibrate", f"--pairs={path}"]) == 4
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--wall=nowhere.csv", "--windows=1001"], "`--windows=1001` is too many; give 1000 or"),
        (["--pairs=/dev/zero"], "`/dev/zero` is no regular file"),
        (["--wall=/dev/zero"], "`/dev/zero` is no regular file"),
        ([], "`--wall` or `--pairs` is missing"),
        (["--pairs=nowhere.csv"], "`nowhere.csv` cannot be read"),
        (["--wall=nowhere.csv"], "`nowhere.csv` cannot be read"),
        (["--wall=nowhere.csv", "--windows=2"], "`--windows=2` is too few; give 3 or more"),
        (["--wall=nowhere.csv", "--seconds=0"], "`--seconds=0` is out of range"),
        (["--wall=nowhere.csv", "--seconds=nan"], "`--seconds=nan` is out of range"),
    ],
)
def test_bad_input_is_exit_code_4(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["calibrate", *arguments]) == 4
    assert message in capsys.readouterr().err


def _line(offset: float, slope: float, wobble: float = 0.0) -> str:
    loads = (70.0, 200.0, 400.0, 700.0, 550.0, 300.0)
    rows = [f"{x},{offset + slope * x + wobble * (-1) ** i}" for i, x in enumerate(loads)]
    return "\n".join(["device_watts,wall_watts", *rows])


@pytest.mark.fault(
    "stores and documents",
    "pairs of a calibration fit a line that no machine has",
    "shown, not stored, exit code 4",
)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_line(100, 0.8), "wall watts rise by 0.8 of device watts, and it must be 1 or more; see"),
        (_line(100, 0.97), "wall watts rise by 0.97 of device watts"),
        (_line(100, 2.5), "wall watts rise by 2.5 of device watts, and it must be 2 or less; see"),
        (_line(-60, 1.4), "without the device the wall would give -60 W, surely below 0"),
        (_line(300, -1.0 / 3), "wall watts do not surely rise with device watts: slope -0.333"),
        (_line(200, 1.2, 150), "wall watts do not surely rise with device watts: slope 1.1"),
    ],
)
def test_a_fit_that_no_machine_has_is_shown_and_refused(
    rising: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    message: str,
) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(text)

    for write in ([], ["--write"]):
        assert main(["calibrate", f"--pairs={pairs}", "--meter=rising", *write]) == 4
        printed = capsys.readouterr()
        assert "wall W less fit" in printed.out
        assert f"not stored: {message}" in printed.err
        assert "; see that " in printed.err
    assert not (tmp_path / "baselines").exists()


def test_a_pipe_of_pairs_is_refused_without_a_wait(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pairs")

    assert main(["calibrate", f"--pairs={tmp_path / 'pairs'}"]) == 4
    assert "is no regular file" in capsys.readouterr().err


def test_the_cpu_load_keeps_cpus_busy_for_its_share_and_ends() -> None:
    psutil = pytest.importorskip("psutil")
    load = load_for([Device("cpu", "a CPU", "cpu")])

    with load.run(0.5):
        workers = psutil.Process().children()
        before = [sum(worker.cpu_times()[:2]) for worker in workers]
        time.sleep(0.5)
        spent = [sum(worker.cpu_times()[:2]) - b for worker, b in zip(workers, before, strict=True)]
    with load.run(0.0):
        idle = psutil.Process().children()

    assert workers
    assert all(0.0 < seconds < 0.45 for seconds in spent)
    assert idle == []
    assert not any(worker.is_running() for worker in workers)
