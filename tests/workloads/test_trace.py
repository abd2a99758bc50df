"""From the profiler's events to parts of a token's time, on a device and on the host."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_energy.metering.profile import Part, Profile
from pytest_energy.workloads.trace import MODULE, profile_of


class Events:
    """Events as torch gives them, of operators with what is around them and of kernels (µs)."""

    def __init__(self) -> None:
        self.all: list[Any] = []

    def host(
        self,
        name: str,
        start: float,
        end: float,
        *,
        inside: Any = None,
        sequence: int = -1,
        device: float = 0.0,
    ) -> Any:
        event = SimpleNamespace(
            name=name,
            time_range=SimpleNamespace(start=start, end=end, elapsed_us=lambda: end - start),
            device_type="DeviceType.CPU",
            cpu_parent=inside,
            sequence_nr=sequence,
            self_cpu_time_total=end - start,
            self_device_time_total=device,
        )
        if inside is not None:
            inside.self_cpu_time_total -= event.self_cpu_time_total
        self.all.append(event)
        return event

    def kernel(self, name: str, start: float, end: float) -> None:
        self.all.append(
            SimpleNamespace(
                name=name,
                time_range=SimpleNamespace(start=start, end=end, elapsed_us=lambda: end - start),
                device_type="DeviceType.CUDA",
            )
        )


def step(*, on_device: bool) -> list[Any]:
    """A forward pass of a module with attention, its backward pass, clipping and an optimizer."""
    made = Events()
    share = 2.0 if on_device else 0.0
    model = made.host(f"{MODULE}|Bert", 0, 40)
    attention = made.host(f"{MODULE}layer.*.attention|BertSelfAttention", 5, 30, inside=model)
    sdpa = made.host("aten::scaled_dot_product_attention", 6, 28, inside=attention, sequence=3)
    made.host(
        "aten::_scaled_dot_product_flash_attention", 7, 27, inside=sdpa, sequence=3, device=share
    )
    made.host("aten::mm", 31, 39, inside=model, sequence=4, device=share)
    for number, begun in ((4, 50), (3, 60)):
        node = made.host(
            "autograd::engine::evaluate_function: X", begun, begun + 9, sequence=number
        )
        made.host("aten::mm", begun + 1, begun + 8, inside=node, device=share)
    made.host("aten::norm", 70, 72, device=share)
    optimizer = made.host("Optimizer.step#AdamW.step", 80, 100)
    made.host("aten::_fused_adamw_", 85, 95, inside=optimizer, device=share)
    if on_device:
        for number in range(6):
            made.kernel("gemm", 10 + 20 * number, 12 + 20 * number)
        made.kernel("overlapping", 11, 12)
    return made.all


def micros(parts: tuple[Part, ...]) -> dict[str, float]:
    return {part.name: pytest.approx(1e6 * part.seconds) for part in parts}  # type: ignore[misc]


def profiled(*, on_device: bool) -> Profile:
    found = profile_of(step(on_device=on_device), steps=1, tokens=1)
    assert found is not None
    return found


def test_the_phases_of_a_step_on_the_host() -> None:
    found = profiled(on_device=False)

    assert found.clock == "host"
    assert found.seconds == pytest.approx(100e-6)
    # In the order in which a step has them; what is between operators is nobody's.
    assert micros(found.phases) == {
        "forward": 30.0, "backward": 14.0, "optimizer": 12.0, "gaps": 44.0,
    }  # fmt: skip


def test_modules_have_the_time_of_their_backward_pass() -> None:
    found = profiled(on_device=False)

    assert micros(found.modules) == {"layer.*.attention": 29.0, "Bert": 15.0}
    assert {part.name: part.calls for part in found.modules} == {"layer.*.attention": 1, "Bert": 1}
    assert found.attention is not None
    assert found.attention.name == "sdpa flash"
    assert found.attention.seconds == pytest.approx(29e-6)


def test_on_a_device_time_is_that_of_its_kernels() -> None:
    found = profiled(on_device=True)

    assert found.clock == "device"
    assert found.seconds == pytest.approx(112e-6)
    assert micros(found.phases) == {
        "forward": 4.0, "backward": 4.0, "optimizer": 4.0, "gaps": 100.0,
    }  # fmt: skip
    assert [(part.name, part.calls) for part in found.kernels] == [("gemm", 6), ("overlapping", 1)]


def test_without_an_operator_there_is_no_profile() -> None:
    assert profile_of([], steps=1, tokens=100) is None


def test_names_are_safe_in_a_sentence() -> None:
    made = Events()
    made.host("my`op\n" + "x" * 500, 0, 10)

    found = profile_of(made.all, steps=1, tokens=1)

    assert found is not None
    (part,) = found.operators
    assert part.name.startswith("my'op\\n")
    assert len(part.name) <= 120
