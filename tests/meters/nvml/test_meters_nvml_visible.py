"""Cards as CUDA would see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from metered import metered, unavailable
from pytest_energy.errors import MeterRefusedError, MeterUnavailableError
from pytest_energy.meters.nvml.driver import visible_indices
from sim import SimulatedGpu

UUIDS = ("GPU-aaaa1111", "GPU-aaaa2222", "GPU-bbbb3333")
EQUAL = ("NVIDIA H200",) * 3


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
