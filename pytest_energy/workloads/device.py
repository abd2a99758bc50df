"""Torch's device: which one computes, and whether it is what is metered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_energy.errors import EnergyError
from pytest_energy.meters.protocol import Device, is_module


def default_device() -> str:
    """`cuda` where torch sees a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def computes_in_bf16(device: str) -> bool:
    """Whether `device` (`cpu`, `cuda`, `cuda:1`, …) is a GPU with bf16 arithmetic of its own."""
    if not device.startswith("cuda"):
        return False
    import torch

    if torch.version.hip is not None:
        return bool(torch.cuda.is_bf16_supported())
    # Before Ampere (8.0) bf16 is emulated: is_bf16_supported() says yes to that.
    return bool(torch.cuda.get_device_capability(device) >= (8, 0))


def is_host(devices: Sequence[Device]) -> bool:
    """Whether all that is metered is of the host: processors and memory."""
    return all(each.domain.startswith(("cpu", "dram")) for each in devices)


def require_metered(work: str, device: str, devices: Sequence[Device]) -> None:
    """Raise `EnergyError` if `work` computes on torch's `device` and others are metered.

    GPUs are compared by UUID, or by number and name if torch does not tell their UUIDs. A meter
    of other things, such as the wall or a module with its CPU, may see any device.
    """
    of_gpus = all(each.has_gpu and not is_module(each.domain) for each in devices)
    metered = ", ".join(f"`{each.domain}` ({each.shown})" for each in devices)
    if device == "cpu" and devices and of_gpus:
        raise EnergyError(
            f"`{work}` computes on the CPU, and what is metered is {metered}: its joules would not "
            "be this work's; install torch with CUDA, or meter the CPU with `--energy-meter=rapl` "
            "or `codecarbon`"
        )
    if not device.startswith("cuda"):
        return
    if devices and is_host(devices):
        raise EnergyError(
            f"`{work}` computes on `{device}`, and what is metered is {metered}: its joules would "
            "not be this work's; `pytest-energy doctor` says why the GPU is not metered. To work "
            'on the CPU give `device="cpu"`, or set `CUDA_VISIBLE_DEVICES=`'
        )
    gpus = {_bare(each.uuid): each for each in devices if each.has_gpu}
    _require_same_gpus(work, device, gpus)


def _require_same_gpus(work: str, device: str, metered: Mapping[str, Device]) -> None:
    """GPUs by their UUIDs; nothing is known of those that another kind of identity names."""
    if not metered or not all(metered):
        return
    import torch

    cuda = torch.cuda
    seen = [cuda.get_device_properties(index) for index in range(cuda.device_count())]
    index = torch.device(device).index
    used = seen[cuda.current_device() if index is None else index]
    uuids = [_bare(f"gpu-{getattr(each, 'uuid', '')}") for each in seen]
    if all(uuids):
        elsewhere = _bare(f"gpu-{used.uuid}") not in metered
        unseen = [each for uuid, each in metered.items() if uuid not in uuids]
    else:
        elsewhere = used.name not in [each.name for each in metered.values()]
        unseen = list(metered.values())[len(seen) :]
    domains = ", ".join(f"`{each.domain}`" for each in metered.values())
    if elsewhere:
        raise EnergyError(
            f"`{work}` computes on `{device}` ({_shown(used)}), and what is metered is {domains}; "
            f"{_MASK}"
        )
    if unseen:
        names = ", ".join(f"`{each.domain}`" for each in unseen)
        raise EnergyError(
            f"{names} would be metered, and torch does not see it, so that it would be idle "
            f"while `{work}` computes; {_MASK}"
        )


_UUID = re.compile(r"gpu-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_MASK = "set `CUDA_VISIBLE_DEVICES` before pytest starts, and not in a test"


def _bare(uuid: str) -> str:
    """The UUID of an NVIDIA GPU without its prefix; empty if it is none."""
    found = _UUID.fullmatch(uuid.lower().replace("gpu-gpu-", "gpu-"))
    return found[1] if found else ""


def _shown(properties: Any) -> str:
    uuid = getattr(properties, "uuid", None)
    return f"{properties.name}, GPU-{uuid}" if uuid else str(properties.name)
