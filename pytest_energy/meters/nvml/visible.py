"""Which cards CUDA would see, by the same variables that CUDA reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_energy.errors import MeterRefusedError, MeterUnavailableError
from pytest_energy.meters.nvml.card import Card, DeviceLostError
from pytest_energy.meters.nvml.driver import text, words
from pytest_energy.text import one_line

VARIABLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"
NO_CARD = ("", "-1", "NoDevFiles")
"""Settings that ask for no card; the last is what Slurm sets for a job that was given none."""


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
    except nvml.NVMLError:
        return "", ""
    library = nvml.nvmlLib
    return text(library.nvmlDeviceGetUUID, handle), text(library.nvmlDeviceGetName, handle)


def _card(nvml: Any, index: int) -> Card:
    try:
        card = Card(nvml, index)
        partitioned = card.is_partitioned()
    except (nvml.NVMLError, DeviceLostError) as error:
        silent = f"`gpu:{index}` does not answer ({words(error)})"
        raise MeterRefusedError(f"meter `nvml`: {silent}") from None
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
    entries after the first one that names no card are not visible. Raises `MeterUnavailableError`
    if the variable asks for no card. Raises `MeterRefusedError` if it names none that there is, if
    it cannot be told which one, or if it is a MIG slice.
    """
    setting = environment.get(VARIABLE)
    if setting is None:
        return tuple(range(len(uuids)))
    entries = [part.strip() for part in setting.split(",")]
    if setting.strip() in NO_CARD or entries[0] == "-1":
        raise MeterUnavailableError(
            f"meter `nvml`: `{VARIABLE}={one_line(setting)}` makes no GPU visible "
            f"(there are {len(uuids)}); name one by its index or UUID, or unset it"
        )
    indices: list[int] = []
    for entry in entries:
        index = _resolve(entry, uuids, names, environment)
        if index is None or index in indices:
            break
        indices.append(index)
    if not indices:
        raise MeterRefusedError(
            f"meter `nvml`: `{VARIABLE}={one_line(setting)}` names no GPU that there is: "
            f"{_known(uuids)}; name one by its index or UUID, or unset it"
        )
    return tuple(indices)


def _resolve(
    entry: str, uuids: Sequence[str], names: Sequence[str], environment: Mapping[str, str]
) -> int | None:
    """The index of the card that an entry names, or None; refuses what is no name of a card."""
    if re.fullmatch(r"[0-9]+", entry):
        # CUDA's default order puts the fastest card first and is not documented further; among
        # equal cards it is the PCI bus's, NVML's own.
        if len(set(names) - {""}) > 1 and environment.get(ORDER) != "PCI_BUS_ID":
            raise MeterRefusedError(
                f"meter `nvml`: `{VARIABLE}` names card `{entry}` by index, and the cards differ, "
                f"so CUDA may number them otherwise than the driver; set `{ORDER}=PCI_BUS_ID` or "
                "name the card by its UUID"
            )
        return int(entry) if int(entry) < len(uuids) else None
    upper = entry.upper()
    if upper.startswith("MIG"):
        raise MeterRefusedError(
            f"meter `nvml`: `{VARIABLE}` names the MIG slice `{one_line(entry)}`, but the energy "
            "counter is the whole card's; turn MIG off or meter the card from one process"
        )
    if upper.startswith("GPU"):
        matching = [i for i, uuid in enumerate(uuids) if uuid.upper().startswith(upper)]
        return matching[0] if len(matching) == 1 else None
    if re.fullmatch(r"(-[0-9]+)?", entry):
        return None
    raise MeterRefusedError(
        f"meter `nvml`: `{VARIABLE}` has the entry `{one_line(entry)}`, which is neither an index "
        f"nor a UUID ({_known(uuids)}), so it is not known which GPUs CUDA uses; separate "
        "them by commas, or unset it"
    )


def _known(uuids: Sequence[str]) -> str:
    listed = ", ".join(f"{index} `{uuid}`" for index, uuid in enumerate(uuids))
    return f"there {'is' if len(uuids) == 1 else 'are'} {listed}"


def visible(environment: Mapping[str, str], local_ranks: int) -> dict[str, str]:
    """Variables under which CUDA and NVML see as many of a node's GPUs as it has ranks."""
    chosen = environment.get(VARIABLE)
    if chosen is not None:
        return {VARIABLE: ",".join(chosen.split(",")[:local_ranks])}
    # By index in NVML's order, or different models could be told apart by neither.
    indices = ",".join(str(index) for index in range(local_ranks))
    return {VARIABLE: indices, ORDER: environment.get(ORDER, "PCI_BUS_ID")}
