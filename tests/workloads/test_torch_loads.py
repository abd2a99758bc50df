"""Matrix products that are switched on and off; on the CPU, since tests have no GPU."""

from __future__ import annotations

import threading

import pytest

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.meters.protocol import Device
from pytest_energy.workloads.torch_loads import SwitchedProducts, products_for


def test_it_works_while_it_is_on_and_ends_with_its_block() -> None:
    before = threading.active_count()
    with SwitchedProducts("cpu", sizes=(8, 16)) as load:
        assert threading.active_count() == before + 1
        for mild in (False, True):
            called = real_time.monotonic()
            first, last = load.on(mild=mild), load.off()
            assert called <= first < last <= load.off()
        assert load.text in (
            "matrix products (8 x 8, half precision)",
            "matrix products (16 x 16, half precision)",
        )
    assert threading.active_count() == before


def test_a_device_that_fails_is_named() -> None:
    with pytest.raises(EnergyError, match=r"the load on the GPU ended early: .*free the GPU first"):
        SwitchedProducts("cuda").__enter__()


def test_without_cuda_a_gpu_has_no_load() -> None:
    with pytest.raises(EnergyError, match="this torch has no CUDA; install PyTorch with CUDA"):
        products_for(Device("gpu:0", "NVIDIA H200", "GPU-0", 700.0))
