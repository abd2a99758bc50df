"""Naming the machine: keys from device names, globs of baseline files, fingerprints."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from pytest_energy.metering.hardware import (
    Hardware,
    fingerprint,
    identify,
    matching_key,
    slug,
)
from pytest_energy.meters.protocol import Device


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA A100 80GB PCIe", "a100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("Quadro RTX 8000", "rtx8000"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("Tesla V100-SXM2-16GB", "v100"),
        ("NVIDIA Graphics Device", "gpu"),
    ],
)
def test_a_key_from_the_device_name(name: str, key: str) -> None:
    assert slug(name) == key


def test_globs_must_fit_every_device() -> None:
    known = {"a100": ("NVIDIA A100*",), "h200": ("NVIDIA H200*",)}

    assert matching_key(["NVIDIA H200", "NVIDIA H200"], known) == "h200"
    assert matching_key(["NVIDIA H200", "NVIDIA A100-SXM4-80GB"], known) is None
    assert matching_key([], known) is None


class Named:
    """A meter of GPUs with names."""

    name, method = "named", "counter"

    def __init__(self, *names: str) -> None:
        self.devices = tuple(
            Device(f"gpu:{number}", name, f"GPU-{number}") for number, name in enumerate(names)
        )


def test_a_short_key_never_names_a_hardware_that_its_file_does_not_fit() -> None:
    known = {"a100": ("*SXM4-80GB*",), "h100": ("NVIDIA H100*",), "v100": ()}

    def key(*names: str) -> str:
        meter: Any = Named(*names)
        return identify(meter, known).key

    assert key("NVIDIA A100-SXM4-80GB") == "a100"
    assert key("NVIDIA A100-SXM4-40GB") == "nvidia-a100-sxm4-40gb"
    assert key("NVIDIA A100 80GB PCIe") == "nvidia-a100-80gb-pcie"
    assert key("NVIDIA H200") == "h200"
    assert key("NVIDIA H200", "NVIDIA H200") == "h200"
    assert key("Tesla V100-SXM2-16GB") == "v100"  # its file fits any
    assert key("NVIDIA H100 80GB HBM3", "NVIDIA A30") == "h100-a30"


def test_the_fingerprint_holds_what_moves_energy() -> None:
    devices = (
        Device("gpu:0", "NVIDIA H200", "GPU-1", 700.0, "580.1", 1980, 1500),
        Device("gpu:1", "NVIDIA H200", "GPU-2", 700.0, "580.1"),
    )

    found = fingerprint(devices, "nvml (counter)")

    assert found["driver"] == "580.1"
    assert found["power_limit_watts"] == "700"
    assert (found["max_sm_clock_mhz"], found["application_sm_clock_mhz"]) == ("1980", "1500")
    assert found["gpu"] == "2x NVIDIA H200"
    assert found["meter"] == "nvml (counter)"
    assert {"python", "os", "cpu"} <= found.keys()


def environment_id(environment: dict[str, str]) -> str:
    return Hardware("a", (), environment).environment_id


def test_an_environment_is_named_by_its_content() -> None:
    first = environment_id({"torch": "2.11", "driver": "580"})

    assert first == environment_id({"driver": "580", "torch": "2.11"})
    assert first != environment_id({"torch": "2.12", "driver": "580"})
    assert len(first) == 8
    assert int(first, 16) >= 0


def test_environments_are_not_mistaken_for_each_other() -> None:
    # Of ids of four digits, two of so many would most likely be one.
    found = {environment_id({"torch": f"2.{minor}"}) for minor in range(3000)}

    assert len(found) == 3000


def test_devices_are_told_apart_by_uuid() -> None:
    two = (Device("gpu:0", "A", "GPU-1"), Device("gpu:1", "A", "GPU-2"))

    assert Hardware("a", two, {}).device == "GPU-1+GPU-2"
    assert Hardware("cpu", (Device("cpu", "Xeon", ""),), {}).device is None


def test_a_fingerprint_imports_no_framework() -> None:
    code = (
        "import sys; from pytest_energy.metering.hardware import fingerprint;"
        "from pytest_energy.meters.protocol import Device;"
        "fingerprint((Device('gpu:0', 'NVIDIA H200', 'GPU-1'),), 'nvml');"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
