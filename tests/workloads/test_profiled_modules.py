"""What modules are called under the profiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from pytest_energy import Window
from pytest_energy.workloads.profiling import profile


class Steps:
    """Windows of a few steps of a Sequential, whose parts have numbers for names."""

    def __init__(self) -> None:
        self.model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU())

    def window(self) -> Window:
        for _ in range(3):
            self.model(torch.ones(4, 8)).sum().backward()
        return Window("steps", "counter", {"gpu:0": 1.0}, 1.0, 0.0, 0.0, tokens=12)


def test_parts_without_names_are_called_after_what_holds_them() -> None:
    found = profile(Steps())

    assert found is not None
    assert "Sequential.*" in {part.name for part in found.modules}


class Readout(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.ones(8, 8))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch @ self.weights


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.readout = Readout()

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.readout(batch @ batch.T @ batch)
        return found


class Mine(torch.nn.Module):
    """A wrapper of the user's own, with the name that torch's have for what they hold."""

    def __init__(self) -> None:
        super().__init__()
        self.module = Net()

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.module(batch + batch)
        return found


def compiled(model: torch.nn.Module, backend: str = "eager") -> Any:
    return torch.compile(model, backend=backend)


@pytest.mark.parametrize(
    ("wrapped", "names"),
    [
        (lambda: Net(), {"Net", "readout"}),
        (lambda: torch.nn.DataParallel(Net()), {"Net", "readout"}),
        (lambda: compiled(Net()), {"Net"}),
        (lambda: compiled(Net(), "aot_eager"), {"Net"}),
        (lambda: torch.nn.Sequential(compiled(Net())), {"Sequential.*"}),
        (lambda: Mine(), {"Mine", "module", "module.readout"}),
    ],
    ids=["plain", "parallel", "compiled", "compiled by graphs", "compiled part", "own wrapper"],
)
def test_what_torch_has_wrapped_is_called_what_the_user_wrote(
    wrapped: Callable[[], torch.nn.Module], names: set[str]
) -> None:
    model = wrapped()
    run = Steps()
    run.model = model  # type: ignore[assignment]
    run.window()  # compiled here

    found = profile(run)

    assert found is not None
    told = {part.name: part.calls for part in found.modules}
    assert set(told) - {"Sequential"} == names
    assert set(told.values()) == {3}
