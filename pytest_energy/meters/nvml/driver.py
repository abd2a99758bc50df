"""NVIDIA's driver, why it cannot be used, and which of its cards CUDA would see.

The latter is told by the same variables that CUDA reads.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from ctypes import CDLL
from importlib import import_module
from typing import Any, Final

from pytest_energy.errors import MeterRefusedError, MeterUnavailableError
from pytest_energy.meters.nvml.card import Card, DeviceLostError, text, words
from pytest_energy.text import one_line

LIBRARY: Final = "libnvidia-ml.so.1"
PACKAGE: Final = "nvidia-ml-py>=12.535"
NEEDED: Final = (
    "NVMLError",
    "NVML_DEVICE_ARCH_UNKNOWN",
    "NVML_FI_DEV_POWER_INSTANT",
    "c_nvmlFieldValue_t",
    "nvmlDeviceGetCount",
    "nvmlDeviceGetHandleByIndex",
    "nvmlInit",
    "nvmlLib",
    "nvmlPciInfo_t",
    "nvmlShutdown",
)
"""What the bindings must have; the module `pynvml` may be another package's, or an old one."""
_SILENT: Final = (
    "meter `nvml`: the NVIDIA driver does not answer ({}); `nvidia-smi` should list a GPU before "
    "it can be metered"
)


def visible_cards(opened: ExitStack) -> list[Card]:
    """The cards that CUDA would use; the driver is let go of when the stack is closed.

    `MeterUnavailableError` if this machine has no driver or card; `MeterRefusedError` if it has a
    driver that does not answer, or that nothing here can talk to: there may be a GPU. MIG slices
    are refused, since the counter is the card's.
    """
    nvml = _initialised_driver()
    opened.callback(_release, nvml)
    known = [_identity(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    if not known:
        raise MeterUnavailableError("meter `nvml`: the driver lists no GPU")
    uuids, names = zip(*known, strict=True)
    return [_card(nvml, index) for index in visible_indices(uuids, names, os.environ)]


def _release(nvml: Any) -> None:
    with suppress(nvml.NVMLError):  # others of this process may have shut it down already
        nvml.nvmlShutdown()


def _initialised_driver() -> Any:
    """The `pynvml` module, ready to be called."""
    try:
        CDLL(LIBRARY)
    except OSError as error:
        missing = "No such file" in (why := one_line(error))
        kind = MeterUnavailableError if missing else MeterRefusedError
        raise kind(_SILENT.format(why)) from None
    nvml = _bindings()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise MeterRefusedError(_SILENT.format(words(error))) from None
    return nvml


def _bindings() -> Any:
    install = f"`pip install '{PACKAGE}'`"
    try:
        with warnings.catch_warnings():
            # The package `pynvml` warns of itself when anybody imports the module of this name.
            warnings.simplefilter("ignore")
            module = import_module("pynvml")
    except ModuleNotFoundError:
        missing = f"`nvidia-ml-py` is not installed; {install}"
        raise MeterRefusedError(f"meter `nvml`: {missing}") from None
    lacking = [name for name in NEEDED if not hasattr(module, name)]
    if lacking:
        raise MeterRefusedError(
            f"meter `nvml`: `{getattr(module, '__file__', None)}` is imported as `pynvml`, and has "
            f"no `{lacking[0]}`, so it is not NVIDIA's `nvidia-ml-py` or is too old; remove it "
            f"(`pip uninstall pynvml`), then {install}"
        )
    return module


VARIABLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"
NO_CARD = ("", "-1", "NoDevFiles")
"""Settings that ask for no card; the last is what Slurm sets for a job that was given none."""


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
