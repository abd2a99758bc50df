"""The site has every page once, and links that lead somewhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="mkdocs.yml is read with PyYAML, of the extra `dev`")

ROOT = Path(__file__).parents[2]
FROM_ABOVE = {"index.md", "contributing.md", "security.md", "changelog.md"}


def _pages(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for part in nav.values():
            yield from _pages(part)
    else:
        for part in nav:
            yield from _pages(part)


def test_every_page_is_in_the_site_once() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]

    pages = list(_pages(nav))

    assert len(pages) == len(set(pages))
    assert set(pages) == FROM_ABOVE | {path.name for path in (ROOT / "docs").glob("*.md")}


def test_it_builds(tmp_path: Path) -> None:
    pytest.importorskip("mkdocstrings", reason="`make site` installs what builds the site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "red-check" / "index.html").is_file()
