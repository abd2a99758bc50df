"""What is measured on: its key, its devices, and a fingerprint of what moves energy figures."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_energy.files import digest_of
from pytest_energy.text import decoded, encodable, one_line

if TYPE_CHECKING:
    from pytest_energy.meters.protocol import Device, Meter


# Vendor and form-factor words that say nothing about which energy figures are comparable.
_NOISE = re.compile(
    r"\b(nvidia|amd|tesla|quadro|geforce|graphics|device|sxm\d*|pcie|hbm\d*e?|\d+gb)\b|[^a-z0-9]+"
)
_PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "datasets", "numpy")


@dataclass(frozen=True)
class Hardware:
    """A machine as baselines know it; `environment` is the fingerprint, `key` names the file."""

    key: str
    devices: tuple[Device, ...]
    environment: Mapping[str, str]

    @property
    def environment_id(self) -> str:
        """Eight hex digits that name this environment in a baseline file."""
        return digest_of(dict(self.environment))

    @property
    def names(self) -> tuple[str, ...]:
        """Device names, each once."""
        return tuple(dict.fromkeys(device.name for device in self.devices))

    @property
    def device(self) -> str | None:
        """The GPUs' UUIDs, by which baseline sessions are told apart; None without a GPU."""
        uuids = [d.uuid for d in self.devices if d.uuid and d.has_gpu]
        return "+".join(uuids) or None

    @property
    def place(self) -> str | None:
        """What baseline sessions are told apart by: the GPUs' UUIDs, else the host that draws."""
        return self.device or host()

    @property
    def uuids(self) -> str:
        """What identifies the metered devices on this host, a processor's domains included."""
        return "+".join(device.uuid for device in self.devices if device.uuid)


HOST_VARIABLE = "PYTEST_ENERGY_HOST"
"""What a host is called where its own name and identity are thrown away with a container."""


def host() -> str:
    """A name for this host that tells nobody which it is: eight hex digits of its identity.

    That is what `HOST_VARIABLE` says, else the machine's own identity, else its name.
    """
    name = os.environ.get(HOST_VARIABLE, "").strip()
    if not name:
        with suppress(OSError):
            name = decoded(_MACHINE_IDENTITY.read_bytes()).strip()
    return f"host-{digest_of(f'pytest-energy {name or platform.node()}')}"


_MACHINE_IDENTITY = Path("/etc/machine-id")


@dataclass(frozen=True)
class Budget:
    """What one window costs by default: `tokens` processed, at most so many of them a batch.

    `of_tasks` are tasks whose windows have another number of tokens.
    """

    tokens: int
    max_tokens_per_batch: int | None = None
    of_tasks: Mapping[str, int] = field(default_factory=dict)

    def tokens_of(self, task: str | None) -> int:
        """Tokens of a window of a task, or of what is no task."""
        return self.tokens if task is None else self.of_tasks.get(task, self.tokens)


# An H200 spends under eight seconds on the larger one (SST-2; docs/results-h200.md);
# two CPU cores spend one or two on the smaller.
GPU_BUDGET = Budget(tokens=250_000)
CPU_BUDGET = Budget(tokens=240, max_tokens_per_batch=512)


def identify(meter: Meter, known: Mapping[str, tuple[str, ...]] | None = None) -> Hardware:
    """Name the machine behind a meter.

    `known` maps hardware keys to device-name globs (a baseline file's `match`). The first that fits
    all devices names the hardware. Else the key is made from the devices' own names, and is never
    one whose globs say that it is another hardware's.
    """
    devices = tuple(meter.devices)
    names = [device.name for device in devices]
    gpus = [device.name for device in devices if device.has_gpu]
    key = matching_key(names, known or {}) if gpus else "cpu"
    return Hardware(
        key=key or _free_key(gpus, known or {}),
        devices=devices,
        environment=fingerprint(devices, meter_name=_meter_name(meter)),
    )


def _meter_name(meter: Meter) -> str:
    """The meter as a baseline knows it: other joules for the same work are another meter's."""
    estimate = getattr(meter, "estimate", None)
    return f"{meter.name}{f', estimate {estimate}' if estimate else ''} ({meter.method})"


def matching_key(names: list[str], known: Mapping[str, tuple[str, ...]]) -> str | None:
    """The key whose globs fit every device name, or None."""
    for key, globs in known.items():
        if names and all(any(fnmatchcase(name, glob) for glob in globs) for name in names):
            return key
    return None


def _free_key(names: list[str], known: Mapping[str, tuple[str, ...]]) -> str:
    """A key from device names: the short one, or the whole names if that is another hardware's."""
    short, whole = (
        "-".join(dict.fromkeys(map(make, names)))
        for make in (slug, lambda name: re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"))
    )
    return whole if known.get(short) else short


def slug(name: str) -> str:
    """A short key from a device name: `NVIDIA A100-SXM4-80GB` gives `a100`."""
    words = _NOISE.sub(" ", name.lower()).split()
    return "".join(words) or "gpu"


def fingerprint(devices: tuple[Device, ...], meter_name: str) -> dict[str, str]:
    """What the run stands on, by name; read without importing the packages it names."""
    gpus = [device for device in devices if device.has_gpu]
    names = [device.name for device in gpus]
    counts = {name: f"{names.count(name)}x " if names.count(name) > 1 else "" for name in names}
    found = {package: _version(package) for package in _PACKAGES} | {
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()}",
        "cpu": _cpu_name(),
        "meter": meter_name,
        "gpu": _joined(counts[name] + name for name in names),
        "driver": _joined(gpu.driver for gpu in gpus),
        "power_limit_watts": _joined(
            gpu.power_limit_watts and f"{gpu.power_limit_watts:g}" for gpu in gpus
        ),
        "max_sm_clock_mhz": _joined(gpu.max_sm_clock_mhz for gpu in gpus),
        "application_sm_clock_mhz": _joined(gpu.application_sm_clock_mhz for gpu in gpus),
        "cuda": _cuda_of_torch() if gpus and _version("torch") else None,
    }
    return {name: encodable(value) for name, value in found.items() if value}


def _joined(values: Iterable[object]) -> str:
    """The values that there are, each once."""
    return "+".join(dict.fromkeys(str(value) for value in values if value))


def _cpu_name() -> str:
    """The processor's model name, from the kernel if it says one."""
    with suppress(OSError):
        for line in decoded(Path("/proc/cpuinfo").read_bytes()).split("\n"):
            if line.lower().startswith("model name"):
                return one_line(line.partition(":")[2].strip())
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except (metadata.PackageNotFoundError, KeyError, ValueError, OSError):
        return None  # not installed, or with metadata that nobody can read


def _cuda_of_torch() -> str:
    # From the file that says it: importing torch takes seconds.
    found = None
    with suppress(OSError, ValueError):
        spec = util.find_spec("torch")
        if spec is not None and spec.origin is not None:
            text = decoded(Path(spec.origin).with_name("version.py").read_bytes())
            found = re.search(r"^cuda\b[^=]*=\s*['\"]([\d.]+)", text, re.MULTILINE)
    return found[1] if found else "none"
