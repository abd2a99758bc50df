"""NVIDIA's driver: its library and the Python bindings, and why they cannot be used."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from ctypes import CDLL, c_uint, create_string_buffer
from importlib import import_module
from typing import Any, Final

from pytest_energy.errors import MeterRefusedError, MeterUnavailableError
from pytest_energy.text import decoded, one_line

LIBRARY: Final = "libnvidia-ml.so.1"
PACKAGE: Final = "nvidia-ml-py>=12.535"
NEEDED: Final = (
    "NVMLError",
    "NVML_DEVICE_ARCH_UNKNOWN",
    "NVML_FI_DEV_POWER_INSTANT",
    "nvmlDeviceGetCount",
    "nvmlDeviceGetFieldValues",
    "nvmlDeviceGetHandleByIndex",
    "nvmlInit",
    "nvmlLib",
    "nvmlShutdown",
)
"""What the bindings must have; the module `pynvml` may be another package's, or an old one."""
TEXT_BYTES: Final = 96


def initialised_driver() -> Any:
    """The `pynvml` module, ready to be called.

    `MeterUnavailableError` if this machine has no driver; `MeterRefusedError` if it has one that
    does not answer, or that nothing here can talk to: there may be a GPU.
    """
    _require_library()
    nvml = _bindings()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise MeterRefusedError(
            f"meter `nvml`: the NVIDIA driver does not answer ({words(error)}); "
            "`nvidia-smi` should list a GPU before it can be metered"
        ) from None
    return nvml


def release(nvml: Any) -> None:
    """Let go of the driver, which others of this process may have shut down already."""
    with suppress(nvml.NVMLError):
        nvml.nvmlShutdown()


def words(error: Exception) -> str:
    """What the driver says of an error, on one line."""
    try:
        return one_line(error)
    except UnicodeDecodeError:
        return f"NVML error {getattr(error, 'value', '')}"


def text(function: Callable[..., int], *arguments: object) -> str:
    """The text that a function of the driver's library gives; empty if it gives none."""
    # The bindings decode strictly, and a name need not be UTF-8.
    buffer = create_string_buffer(TEXT_BYTES)
    code = function(*arguments, buffer, c_uint(TEXT_BYTES))
    return "" if code else one_line(decoded(buffer.value))


def _require_library() -> None:
    try:
        CDLL(LIBRARY)
    except OSError as error:
        why = one_line(error)
        missing = "No such file" in why
        kind = MeterUnavailableError if missing else MeterRefusedError
        raise kind(
            f"meter `nvml`: the NVIDIA driver does not answer ({why}); "
            "`nvidia-smi` should list a GPU before it can be metered"
        ) from None


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
