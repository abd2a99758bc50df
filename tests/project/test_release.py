"""A release: the tag is the version, and nothing is published that the changelog does not tell."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTES = ROOT / ".github" / "scripts" / "release_notes.py"
CHANGELOG = """# Changelog

## Unreleased

## 1.2.0 - 2026-12-01

### Added
- A meter.

## 1.1.0 - 2026-11-01

- The first.
"""
BUILT = ("pytest_energy-1.2.0-py3-none-any.whl", "pytest_energy-1.2.0.tar.gz")


def notes(
    folder: Path, tag: str = "v1.2.0", built: tuple[str, ...] = BUILT, changelog: str = CHANGELOG
) -> subprocess.CompletedProcess[str]:
    """What is printed for a tag, files that were built, and a changelog."""
    (folder / "dist").mkdir()
    for name in built:
        (folder / "dist" / name).touch()
    (folder / "CHANGELOG.md").write_text(changelog)
    command = [sys.executable, str(NOTES), tag, "dist", "CHANGELOG.md"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_notes_are_the_version_s_part_of_the_changelog(tmp_path: Path) -> None:
    done = notes(tmp_path)

    assert (done.returncode, done.stdout) == (0, "### Added\n- A meter.\n")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tag": "v1.2"}, "the tag `v1.2` is no version; name it like v1.2.3"),
        ({"tag": "1.2.0"}, "the tag `1.2.0` is no version"),
        ({"tag": "v1.2.1"}, "expected pytest_energy-1.2.1-py3-none-any.whl"),
        ({"built": BUILT[:1]}, "built were pytest_energy-1.2.0-py3-none-any.whl; expected"),
        (
            {"changelog": CHANGELOG.replace("Unreleased\n", "Unreleased\n- More.\n")},
            "CHANGELOG.md has lines under `Unreleased`; move them to `1.2.0`",
        ),
        ({"changelog": CHANGELOG.replace(" - 2026-12-01", "")}, "no section `## 1.2.0 - YYYY"),
        ({"changelog": CHANGELOG.replace("1.2.0", "1.3.0")}, "no section `## 1.2.0 - YYYY"),
    ],
)
def test_a_tag_that_is_not_what_was_built_is_refused(
    tmp_path: Path, changed: dict[str, object], said: str
) -> None:
    done = notes(tmp_path, **changed)  # type: ignore[arg-type]

    assert done.returncode == 1
    assert said in done.stderr
    assert not done.stdout


def test_the_tag_is_the_version(tmp_path: Path) -> None:
    pytest.importorskip("hatch_vcs", reason="`hatch-vcs` is of the extra `dev`")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in ("README.md", "LICENSE"):
        (tmp_path / name).touch()

    def version() -> str:
        command = [sys.executable, "-W", "ignore", "-m", "hatchling", "version"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def git(*arguments: str) -> None:
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    assert version() == "0.1.0.dev0"  # no checkout, such as an archive of the sources
    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "one")
    git("tag", "v9.8.7")
    assert version() == "9.8.7"
    git("commit", "-q", "--allow-empty", "-m", "two")
    assert version() == "9.8.8.dev1"
