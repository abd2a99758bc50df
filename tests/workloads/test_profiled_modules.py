"""What modules are called under the profiler."""

from __future__ import annotations

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
