"""Which cards CUDA would see, by the same variables that CUDA reads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_energy.errors import MeterRefusedError, MeterUnavailableError
from pytest_energy.meters.nvml.card import Card, DeviceLostError

VARIABLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"


def initialised_driver() -> Any:
    """The `pynvml` module, ready to be called; `MeterUnavailableError` says what is missing."""
    try:
        import pynvml
    except ImportError:
        raise MeterUnavailableError(
            "meter `nvml`: `nvidia-ml-py` is not installed; `pip install nvidia-ml-py`"
        ) from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise MeterUnavailableError(
            f"meter `nvml`: the NVIDIA driver does not answer ({error}); "
            "`nvidia-smi` should list a GPU before it can be metered"
        ) from None
    return pynvml


def visible_cards(nvml: Any) -> list[Card]:
    """The cards that CUDA would use; MIG slices are refused, since the counter is the card's."""
    known = [_identity(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    if not known:
        raise MeterUnavailableError("meter `nvml`: the driver lists no GPU")
    uuids, names = zip(*known, strict=True)
    return [_card(nvml, index) for index in visible_indices(uuids, names, os.environ)]


def _identity(nvml: Any, index: int) -> tuple[str, str]:
    """UUID and name; empty for a card that does not answer, which need not be a visible one."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        return str(nvml.nvmlDeviceGetUUID(handle)), str(nvml.nvmlDeviceGetName(handle))
    except nvml.NVMLError:
        return "", ""


def _card(nvml: Any, index: int) -> Card:
    try:
        card = Card(nvml, index)
        partitioned = card.is_partitioned()
    except (nvml.NVMLError, DeviceLostError) as error:
        raise MeterRefusedError(f"meter `nvml`: `gpu:{index}` does not answer ({error})") from None
    if partitioned:
        raise MeterRefusedError(
            f"meter `nvml`: `{card.domain}` is split into MIG slices, but its energy counter is "
            "the whole card's; turn MIG off (`nvidia-smi -mig 0`)"
        )
    return card


def require_power(cards: Iterable[Card]) -> None:
    """Refuse cards without a counter whose power readings cannot be integrated over a window."""
    for card in cards:
        named = f"meter `nvml`: `{card.domain}` ({card.device.name}) has"
        if card.sharpest_watts() is None:
            raise MeterRefusedError(f"{named} neither an energy counter nor a power reading")
        if card.instant_watts() is None and card.usage_is_averaged():
            raise MeterRefusedError(
                f"{named} no energy counter, and its power reading is the mean of the last "
                "second, too slow to meter a window by"
            )


def visible_indices(
    uuids: Sequence[str], names: Sequence[str], environment: Mapping[str, str]
) -> tuple[int, ...]:
    """NVML indices of the cards that CUDA would use, in CUDA's order.

    `uuids` and `names` are all cards' in NVML's order, which is that of the PCI bus. As in CUDA,
    entries after the first one that names no card are not visible. Raises
    `MeterUnavailableError` where no card is visible, `MeterRefusedError` where it cannot be told
    which one is, or where it is a MIG slice.
    """
    setting = environment.get(VARIABLE)
    if setting is None:
        return tuple(range(len(uuids)))
    indices: list[int] = []
    for entry in (part.strip() for part in setting.split(",")):
        if entry.upper().startswith("MIG"):
            raise MeterRefusedError(
                f"meter `nvml`: `{VARIABLE}` names the MIG slice `{entry}`, but the energy counter "
                "is the whole card's; turn MIG off or meter the card from one process"
            )
        index = _resolve(entry, uuids, names, environment)
        if index is None or index in indices:
            break
        indices.append(index)
    if not indices:
        raise MeterUnavailableError(
            f"meter `nvml`: `{VARIABLE}={setting}` makes no GPU visible "
            f"(there are {len(uuids)}); name one by its index or UUID, or unset it"
        )
    return tuple(indices)


def _resolve(
    entry: str, uuids: Sequence[str], names: Sequence[str], environment: Mapping[str, str]
) -> int | None:
    if entry.isdecimal():
        # CUDA's default order puts the fastest card first and is not documented further; among
        # equal cards it is the PCI bus's, NVML's own.
        if len(set(names)) > 1 and environment.get(ORDER) != "PCI_BUS_ID":
            raise MeterRefusedError(
                f"meter `nvml`: `{VARIABLE}` names card `{entry}` by index, and the cards differ, "
                f"so CUDA may number them otherwise than the driver; set `{ORDER}=PCI_BUS_ID` or "
                "name the card by its UUID"
            )
        return int(entry) if int(entry) < len(uuids) else None
    if not entry.upper().startswith("GPU"):
        return None
    matching = [i for i, uuid in enumerate(uuids) if uuid.upper().startswith(entry.upper())]
    return matching[0] if len(matching) == 1 else None
