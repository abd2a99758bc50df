"""Meters by name: built in, installed, unknown, not working."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import tomlkit

import pytest_energy
from pytest_energy import open_meter
from pytest_energy.errors import EnergyError, MeterUnavailableError
from pytest_energy.meters import meter_names, probe_meters
from sim import SimulatedGpu, environment, run_python

DOCUMENT = Path(__file__).parents[2] / "docs" / "writing-a-meter.md"
FAILING = """

def broken():
    raise OSError("the cable is out")


def unavailable():
    from pytest_energy.errors import MeterUnavailableError
    raise MeterUnavailableError("meter `dark`: it is night; wait for the sun")


def no_meter():
    return object()


def ends():
    raise SystemExit("no licence\\nfound")


def refuses():
    from pytest_energy.errors import EnergyError
    raise EnergyError("it is not plugged in")


def warns():
    import warnings
    warnings.warn("soon gone", DeprecationWarning)
    return SolarPanel()


class Half(SolarPanel):
    @property
    def devices(self):
        raise RuntimeError("half a meter")

    @devices.setter
    def devices(self, value):
        pass
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented meter and some that fail, installed as another package would do it."""
    example = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    entry = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    points = tomlkit.parse(entry[0]).unwrap()["project"]["entry-points"]["pytest_energy.meters"]
    (tmp_path / "solar_meter.py").write_text(example[0] + FAILING)
    metadata = tmp_path / "solar_meter-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: solar-meter\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[pytest_energy.meters]\n"
        f"solar = {points['solar']}\n"
        "cable = solar_meter:broken\n"
        "dark = solar_meter:unavailable\n"
        "stone = solar_meter:no_meter\n"
        "gone = solar_meter:nothing_here\n"
        "ends = solar_meter:ends\n"
        "refuses = solar_meter:refuses\n"
        "warns = solar_meter:warns\n"
        "half = solar_meter:Half\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "solar_meter", raising=False)


@pytest.mark.usefixtures("installed")
def test_an_installed_meter_meters() -> None:
    meter = open_meter("solar")
    before = meter.read().joules["wall"]
    with pytest_energy.window(meter, "work") as w:
        first = meter.read().joules["wall"]
        while (last := meter.read().joules["wall"]) < first + 4:
            pass
    after = meter.read().joules["wall"]
    assert 4 <= last - first <= w.joules <= after - before
    assert w.record.method == "external"
    assert w.record.notes == {"sunshine_lux": 50_000.0}


@pytest.mark.usefixtures("installed")
def test_installed_names_come_after_the_built_in_ones() -> None:
    assert meter_names()[:3] == ("nvml", "rapl", "codecarbon")
    assert {"cable", "dark", "gone", "solar", "stone"} <= set(meter_names()[3:])


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cable", r"meter `cable` \(`solar_meter:broken`\) fails: OSError: the cable is out"),
        ("dark", "meter `dark`: it is night; wait for the sun"),
        ("stone", r"meter `stone` \(`solar_meter:no_meter`\) is not a meter"),
        ("gone", r"meter `gone` \(`solar_meter:nothing_here`\) fails: AttributeError"),
        ("ends", r"meter `ends` \(`solar_meter:ends`\) fails: SystemExit: no licence\\nfound"),
        ("refuses", r"meter `refuses` \(`solar_meter:refuses`\): it is not plugged in"),
    ],
)
def test_an_installed_meter_that_fails_is_named(name: str, message: str) -> None:
    with pytest.raises(MeterUnavailableError, match=message):
        open_meter(name)
    assert [probe.works for probe in probe_meters() if probe.name == name] == [False]


@pytest.mark.usefixtures("installed")
def test_a_meter_whose_import_warns_is_opened() -> None:
    assert open_meter("warns").name == "solar"


@pytest.mark.usefixtures("installed")
def test_a_meter_that_fails_when_it_is_probed_is_a_reason() -> None:
    (half,) = [probe for probe in probe_meters() if probe.name == "half"]
    assert (half.works, half.method) == (False, None)
    assert half.detail.endswith("fails: RuntimeError: half a meter")


@pytest.mark.usefixtures("installed")
def test_probing_says_of_each_whether_it_works() -> None:
    probes = {probe.name: probe for probe in probe_meters()}
    assert list(probes) == list(meter_names())
    assert (probes["solar"].works, probes["solar"].method) == (True, "external")
    assert probes["solar"].detail == "wall panel on the roof"
    assert not probes["dark"].works
    assert "it is night" in probes["dark"].detail
    assert not probes["stone"].works


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        EnergyError, match="meter `nvlm` is not known: choose one of `auto`, `nvml`"
    ):
        open_meter("nvlm")


def test_none_that_works_gives_every_reason(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["codecarbon"] = None
from pytest_energy import open_meter
from pytest_energy.errors import MeterUnavailableError
try:
    open_meter()
except MeterUnavailableError as error:
    print(error)
"""
    variables = environment([], tmp_path)
    variables |= {"LD_LIBRARY_PATH": "", "PYTEST_ENERGY_POWERCAP": str(tmp_path / "none")}
    lines = run_python(code, variables).splitlines()
    assert lines[0] == "no meter works here:"
    assert [line.strip().split(":")[0] for line in lines[1:]] == [
        "- meter `nvml`",
        "- meter `rapl`",
        "- meter `codecarbon`",
    ]


def test_probing_simulated_cards(tmp_path: Path) -> None:
    code = """
from pytest_energy.meters import probe_meters
print([(p.works, p.method, p.detail) for p in probe_meters() if p.name == "nvml"])
"""
    counter = run_python(code, environment([SimulatedGpu(name="NVIDIA H200")], tmp_path))
    assert counter == "[(True, 'counter', 'energy counter of gpu:0 NVIDIA H200')]\n"
    gpus = [SimulatedGpu(), SimulatedGpu(tick_seconds=None)]
    power = run_python(code, environment(gpus, tmp_path))
    assert "(True, 'integrated', 'power of gpu:0" in power


def test_no_driver_is_a_sentence() -> None:
    with pytest.raises(MeterUnavailableError, match="the NVIDIA driver does not answer"):
        open_meter("nvml")


def test_public_names_are_loaded_when_they_are_asked_for_alone() -> None:
    code = "import sys, pytest_energy as e; [getattr(e, n) for n in dir(e)]; print(*sys.modules)"
    loaded = run_python(code, {}).split()
    assert not {"torch", "pytest_energy.workloads"} & set(loaded)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pytest_energy.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_imports_nothing_heavy(tmp_path: Path) -> None:
    code = """
import sys
import pytest_energy.meters
import pytest_energy.metering
heavy = {"torch", "numpy", "pynvml", "codecarbon", "pandas", "psutil", "rich"}
print(sorted(heavy & set(sys.modules)))
"""
    assert run_python(code, environment([], tmp_path)) == "[]\n"
