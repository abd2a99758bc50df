"""RAPL counters as the kernel lays them out, moved by tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RANGE = 262_143_328_850


@dataclass(frozen=True)
class Powercap:
    """A tree of zones; `spend` moves one's counter as the kernel would."""

    root: Path

    def add(self, zone: str, name: str, microjoules: int = 0) -> None:
        folder = self.root / zone
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text(f"{microjoules}\n")
        (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")

    def limit(self, zone: str, watts: float, what: str = "max_power") -> None:
        """Let the kernel tell a power limit of a zone."""
        (self.root / zone / f"constraint_0_{what}_uw").write_text(f"{int(watts * 1e6)}\n")

    def show(self, zone: str, joules: float) -> None:
        """Set a counter."""
        (self.root / zone / "energy_uj").write_text(f"{round(joules * 1e6)}\n")

    def spend(self, zone: str, joules: float) -> None:
        counter = self.root / zone / "energy_uj"
        total = int(counter.read_text()) + int(joules * 1e6)
        counter.write_text(f"{total % RANGE}\n")
