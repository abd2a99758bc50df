"""The pages hang together: links lead somewhere, and the files and names that they give exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not _leads_somewhere(page, link)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_of_the_project_exist(page: Path) -> None:
    found = re.findall(r"`((?:tests|perf|docs|benchmarks)/[\w./-]+)`", page.read_text("utf-8"))

    assert [name for name in found if not (ROOT / name).exists()] == []


def test_the_layers_are_those_that_lint_holds() -> None:
    told = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Layers")[2]
    rows = re.findall(r"^\| (`.+?) \|", told.partition("\n## ")[0], re.MULTILINE)
    held = (ROOT / "pyproject.toml").read_text("utf-8").partition("layers = [")[2].partition("]")[0]

    assert [re.findall(r"\w+", row) for row in rows] == [
        re.findall(r"pytest_energy\.(\w+)", line) for line in held.split(",\n")[:-1]
    ]


ROWS = [
    line
    for line in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and ("/" in line or ".py" in line)
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_contributors_find_what_a_row_names(row: str) -> None:
    quoted = re.findall(r"`([^`]+)`", row)
    paths = [name for name in quoted if "/" in name or "." in name]
    places = {name: _place(name) for name in paths}
    text = "".join(place.read_text("utf-8") for place in places.values() if place.is_file())
    names = [name for name in quoted if name.isidentifier()]

    assert [name for name, place in places.items() if not place.exists()] == []
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


def _place(name: str) -> Path:
    """The file or folder of a name in CONTRIBUTING.md, which may be below the package."""
    inside = ROOT / "pytest_energy" / name
    return inside if inside.exists() else ROOT / name


def _leads_somewhere(page: Path, link: str) -> bool:
    if link.startswith(("https://", "http://")):
        return True
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    if not target.exists():
        return False
    return not anchor or anchor in _anchors(target)


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
