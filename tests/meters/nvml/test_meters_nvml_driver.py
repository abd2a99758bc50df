"""A driver that is absent or fails, bindings that are not NVIDIA's, and cards as CUDA sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim
from metered import metered, unavailable
from pytest_energy.errors import MeterRefusedError, MeterUnavailableError
from pytest_energy.meters.nvml.driver import visible_indices
from sim import SimulatedGpu, environment, run_python

UUIDS = ("GPU-aaaa1111", "GPU-aaaa2222", "GPU-bbbb3333")
EQUAL = ("NVIDIA H200",) * 3
OPEN = """
from pytest_energy import open_meter
from pytest_energy.errors import EnergyError
try:
    print(open_meter("auto").name)
except EnergyError as error:
    print(type(error).__name__, error)
"""
OLD_MODULE = "class NVMLError(Exception): pass\ndef nvmlInit(): pass\nnvmlLib = None\n"
WARNING_FINDER = """
import sys, warnings

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "pynvml":
            warnings.warn("The pynvml package is deprecated.", FutureWarning, stacklevel=2)

sys.meta_path.insert(0, Finder())
"""


@pytest.mark.fault(
    "NVML",
    "the driver cannot be initialised: not loaded, no permission, another version than "
    "its library's, unknown",
    "the meter is refused with the driver's words; the CPU is not taken in its stead",
)
@pytest.mark.parametrize(
    ("code", "words"), [(9, "Driver Not Loaded"), (12, ""), (17, ""), (18, "mismatch"), (999, "")]
)
def test_a_driver_that_fails_is_not_replaced_by_the_cpu(
    code: int, words: str, tmp_path: Path
) -> None:
    reason = unavailable(
        [SimulatedGpu()], tmp_path, library_lines=[f"init_error {code}"], meter="auto"
    )

    assert "meter `nvml`: the NVIDIA driver does not answer (" in reason
    assert words in reason
    assert "`--energy-meter=codecarbon`" in reason


@pytest.mark.fault(
    "NVML",
    "a run starts on a driver that does not fit its library",
    "exit code 4 with the driver's words, before a test runs",
)
def test_a_run_ends_with_the_words_of_a_driver_that_fails(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = environment([SimulatedGpu()], pytester.path, library_lines=["init_error 18"])
    for name in ("LD_LIBRARY_PATH", "NVML_SIM", "PYTEST_ENERGY_LOCKS"):
        monkeypatch.setenv(name, variables[name])
    pytester.makepyfile("def test_mine(energy): pass")

    result = pytester.runpytest_subprocess()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: meter `nvml`: the NVIDIA driver*RM version mismatch*"])


@pytest.mark.fault(
    "NVML",
    "the driver's library is a file that is none",
    "refused with the loader's words",
)
def test_a_library_that_cannot_be_loaded_is_no_absent_driver(tmp_path: Path) -> None:
    (tmp_path / sim.LIBRARY).write_text("no library")

    printed = run_python(OPEN, environment([], tmp_path) | {"LD_LIBRARY_PATH": str(tmp_path)})

    assert printed.startswith("MeterRefusedError meter `nvml`: the NVIDIA driver does not answer (")
    assert "invalid ELF header" in printed or "file too short" in printed


@pytest.mark.fault(
    "NVML",
    "another package is imported as `pynvml`",
    "its file is named, and what to install",
)
def test_another_module_called_pynvml_is_named(tmp_path: Path) -> None:
    module = tmp_path / "first" / "pynvml.py"
    module.parent.mkdir()
    module.write_text(OLD_MODULE)
    variables = environment([SimulatedGpu()], tmp_path)
    variables["PYTHONPATH"] = f"{module.parent}:{variables['PYTHONPATH']}"

    printed = run_python(OPEN, variables)

    assert printed.startswith(f"MeterRefusedError meter `nvml`: `{module}` is imported as `pynvml`")
    assert "`pip install 'nvidia-ml-py>=12.535'`" in printed


@pytest.mark.fault(
    "NVML",
    "the bindings raise when they are imported",
    "refused, no traceback",
)
@pytest.mark.parametrize(
    "text", ["import nothing_of_this_name", "def broken(", "raise SystemExit(3)"]
)
def test_bindings_that_cannot_be_imported_are_a_reason(text: str, tmp_path: Path) -> None:
    (tmp_path / "pynvml.py").write_text(text)
    variables = environment([SimulatedGpu()], tmp_path)
    variables["PYTHONPATH"] = f"{tmp_path}:{variables['PYTHONPATH']}"

    assert run_python(OPEN, variables).startswith("MeterRefusedError meter `nvml`")


def test_a_package_that_warns_on_import_ends_nothing(tmp_path: Path) -> None:
    variables = environment([SimulatedGpu(tick_seconds=0.02)], tmp_path)

    assert run_python(WARNING_FINDER + OPEN, variables) == "nvml\n"


@pytest.mark.fault(
    "NVML",
    "`CUDA_VISIBLE_DEVICES` names no card that there is",
    "refused, and the variable is named",
)
@pytest.mark.parametrize("mask", ["0;1", "all", "0-1", "2", "0,1;2", "+1", "GPU-ffff", "none"])
def test_a_mask_that_names_no_card_is_not_replaced_by_the_cpu(mask: str, tmp_path: Path) -> None:
    reason = unavailable(
        [SimulatedGpu(), SimulatedGpu()],
        tmp_path,
        variables={"CUDA_VISIBLE_DEVICES": mask},
        meter="auto",
    )

    assert "meter `nvml`: `CUDA_VISIBLE_DEVICES" in reason
    assert "`--energy-meter=codecarbon`" in reason


@pytest.mark.parametrize("mask", ["", " ", "-1", "-1,0", "NoDevFiles"])
def test_a_mask_that_asks_for_no_card_leaves_the_cpu(mask: str, tmp_path: Path) -> None:
    variables = environment([SimulatedGpu()], tmp_path)
    variables |= {"CUDA_VISIBLE_DEVICES": mask, "PYTEST_ENERGY_POWERCAP": str(tmp_path / "none")}

    assert run_python(OPEN, variables) == "codecarbon\n"


@pytest.mark.fault(
    "NVML",
    "the names of card and driver are no UTF-8",
    "shown with replacement characters",
)
def test_names_that_are_not_utf_8_are_shown(tmp_path: Path) -> None:
    code = """
from pytest_energy import open_meter
meter = open_meter("nvml")
print(ascii((meter.devices[0].name, meter.devices[0].driver)))
"""
    gpu = SimulatedGpu(name="NVIDIA \udcff\x1b[2J", tick_seconds=0.02)
    variables = environment([gpu], tmp_path, library_lines=["driver 580\udcc3"])

    assert run_python(code, variables) == (r"('NVIDIA \ufffd\\x1b[2J', '580\ufffd')" + "\n")


@pytest.mark.fault(
    "NVML",
    "an optional query fails when the card is opened",
    "that field is missing, and it is said",
)
@pytest.mark.parametrize("query", ["UUID", "Name", "FieldValues", "MigMode", "EnforcedPowerLimit"])
def test_a_query_that_fails_when_the_card_is_opened_costs_its_field_alone(
    query: str, tmp_path: Path
) -> None:
    code = """
from pytest_energy import open_meter
meter = open_meter("nvml")
print(meter.method, meter.devices[0].name, meter.devices[0].uuid[:4], meter.remarks)
"""
    lines = (f"error nvmlDeviceGet{query} 999",)
    variables = environment([SimulatedGpu(tick_seconds=0.02, lines=lines)], tmp_path)

    printed = run_python(code, variables)

    assert printed.startswith("counter ")
    assert ("unknown" in printed) == (query == "Name")
    assert ("GPU-" in printed) == (query != "UUID")
    assert ("does not always tell its power limit" in printed) == (query == "EnforcedPowerLimit")


@pytest.mark.fault(
    "NVML",
    "the counter's query fails when the card is opened",
    "refused: power readings are not taken in its stead",
)
def test_a_counter_that_fails_when_it_is_opened_is_not_replaced_by_power(tmp_path: Path) -> None:
    gpu = SimulatedGpu(lines=("error nvmlDeviceGetTotalEnergyConsumption 999",))

    assert "`gpu:0` no longer answers (Unk" in unavailable([gpu], tmp_path, meter="auto")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, (0, 1, 2)),
        ("0", (0,)),
        ("2,0", (2, 0)),
        (" 1 , 2", (1, 2)),
        ("0,-1,2", (0,)),
        ("0,7,2", (0,)),
        ("1,1", (1,)),
        ("GPU-bbbb3333", (2,)),
        ("GPU-b", (2,)),
        ("gpu-aaaa2,0", (1, 0)),
        ("0,GPU-aaaa,1", (0,)),
    ],
)
def test_visible(setting: str | None, expected: tuple[int, ...]) -> None:
    variables = {} if setting is None else {"CUDA_VISIBLE_DEVICES": setting}
    assert visible_indices(UUIDS, EQUAL, variables) == expected


@pytest.mark.parametrize("setting", ["", " ", "-1", "-1,0", "NoDevFiles"])
def test_no_card_is_asked_for(setting: str) -> None:
    with pytest.raises(MeterUnavailableError, match="makes no GPU visible"):
        visible_indices(UUIDS, EQUAL, {"CUDA_VISIBLE_DEVICES": setting})


@pytest.mark.parametrize("setting", ["3", "GPU-aaaa", "GPU-cccc", ",0", "-2"])
def test_no_card_of_that_name(setting: str) -> None:
    with pytest.raises(MeterRefusedError, match=r"names no GPU that there is: there are 0 `GPU-a"):
        visible_indices(UUIDS, EQUAL, {"CUDA_VISIBLE_DEVICES": setting})


@pytest.mark.parametrize("setting", ["0;1", "all", "0-1", "0,1;2", "+1", "0x1", "void", "\u0661"])
def test_what_is_no_name_of_a_card_is_refused(setting: str) -> None:
    with pytest.raises(MeterRefusedError, match="which is neither an index nor a UUID"):
        visible_indices(UUIDS, EQUAL, {"CUDA_VISIBLE_DEVICES": setting})


def test_a_card_that_does_not_tell_its_name_is_taken_for_one_of_the_others() -> None:
    assert visible_indices(UUIDS, ("A", "", "A"), {"CUDA_VISIBLE_DEVICES": "2"}) == (2,)


def test_a_slice_is_refused() -> None:
    with pytest.raises(MeterRefusedError, match="the MIG slice `MIG-1/2/3`"):
        visible_indices(UUIDS, EQUAL, {"CUDA_VISIBLE_DEVICES": "MIG-1/2/3"})


def test_an_index_among_different_cards_needs_their_order() -> None:
    names = ("NVIDIA A100", "NVIDIA H200", "NVIDIA H200")
    setting = {"CUDA_VISIBLE_DEVICES": "1"}
    with pytest.raises(MeterRefusedError, match="set `CUDA_DEVICE_ORDER=PCI_BUS_ID`"):
        visible_indices(UUIDS, names, setting)
    assert visible_indices(UUIDS, names, {**setting, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}) == (1,)
    assert visible_indices(UUIDS, names, {"CUDA_VISIBLE_DEVICES": UUIDS[1]}) == (1,)


@pytest.mark.parametrize("setting", ["1", "GPU-00000002-0000-0000-0000-000000000000"])
def test_only_the_visible_card_is_metered(setting: str, tmp_path: Path) -> None:
    gpus = [SimulatedGpu("constant 300", 0.05), SimulatedGpu("constant 100", 0.05)]
    (found,) = metered(gpus, tmp_path, variables={"CUDA_VISIBLE_DEVICES": setting})
    assert list(found.joules_by_domain) == ["gpu:1"]
    assert abs(found.error) < 0.01


def test_a_lost_card_that_is_not_visible_is_nobodys_business(tmp_path: Path) -> None:
    gpus = [SimulatedGpu(lines=("lost 0",)), SimulatedGpu("constant 100", 0.05)]
    uuid = "GPU-00000002-0000-0000-0000-000000000000"

    (found,) = metered(gpus, tmp_path, variables={"CUDA_VISIBLE_DEVICES": uuid})

    assert list(found.joules_by_domain) == ["gpu:1"]


def test_no_visible_card_is_no_meter(tmp_path: Path) -> None:
    text = unavailable([SimulatedGpu()], tmp_path, variables={"CUDA_VISIBLE_DEVICES": ""})
    assert "`CUDA_VISIBLE_DEVICES=` makes no GPU visible (there are 1)" in text
