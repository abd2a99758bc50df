"""Check what a wheel holds: the package, whole and typed, its entry points, and nothing else."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def faults(wheel: Path) -> list[str]:
    """What is wrong with a wheel, a sentence each."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = "".join(
            archive.read(name).decode() for name in names if name.endswith("/entry_points.txt")
        )
        page = "".join(archive.read(name).decode() for name in names if name.endswith("/METADATA"))
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "pytest_energy").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    ours = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    found = [f"`{name}` is missing" for name in sorted(sources - ours)]
    found += [f"`{name}` does not belong there" for name in sorted(ours - sources)]
    if "pytest_energy/py.typed" not in names:
        found.append("`py.typed` is missing, so that nobody sees the types")
    if not any(name.endswith("/licenses/LICENSE") for name in names):
        found.append("`LICENSE` is missing")
    for link in re.findall(r"\]\(((?!https?:)[^)]*)\)", page):
        found.append(f"the link `{link}` of the README leads nowhere on a package's page")
    for line in ("energy = pytest_energy.plugin", "pytest-energy = pytest_energy.cli:main"):
        if line not in entry_points:
            found.append(f"the entry point `{line}` is missing")
    return found


if __name__ == "__main__":
    wrong = [f"{path}: {fault}" for path in sys.argv[1:] for fault in faults(Path(path))]
    print("\n".join(wrong) or f"{len(sys.argv) - 1} wheel(s) hold what they should")
    sys.exit(bool(wrong))
