"""Folders of ours: gone with their owner or with the next run, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_energy.processes import PrivateFolder, is_abandoned

DEAD = "4194305"  # above the largest process id there is

MAKE = """
import sys
from pytest_energy.processes import PrivateFolder
folder = PrivateFolder("side")
(folder.path / "output").write_text("a lot")
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def owner() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    with subprocess.Popen(
        [sys.executable, "-c", MAKE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())


def made_by(name: str, place: Path, pid: str = DEAD) -> Path:
    folder = place / name
    folder.mkdir()
    (folder / "owner").write_text(pid)
    return folder


def test_what_a_killed_process_left_is_removed_by_the_next(place: Path) -> None:
    with owner() as (process, left):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (left / "output").exists()

    folder = PrivateFolder("ranks")

    assert list(place.iterdir()) == [folder.path]
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.remove()
    folder.remove()
    assert list(place.iterdir()) == []


def test_what_a_living_process_owns_stays_until_it_ends(place: Path) -> None:
    with owner() as (process, kept):
        assert not is_abandoned(kept)
        # In another container it would have another number, or none.
        (kept / "owner").write_text(DEAD)
        with owner() as (second, _):
            second.communicate("")
        assert kept.exists()
        process.communicate("")
    assert list(place.iterdir()) == []


@pytest.mark.attack(
    "ends",
    "somebody names a folder like ours, or links to one",
    "nothing but what is surely ours is removed",
)
def test_nothing_but_what_is_surely_ours_and_abandoned_is_removed(
    place: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    mine = made_by("pytest-energy-side-abcdefgh", elsewhere)
    (place / "pytest-energy-side-linkedto").symlink_to(mine)
    without = place / "pytest-energy-side-projects"  # somebody's checkout
    without.mkdir()
    linked = place / "pytest-energy-side-ownerlnk"
    linked.mkdir()
    (linked / "owner").symlink_to(mine / "owner")
    pipe = place / "pytest-energy-side-ownerpip"
    pipe.mkdir()
    os.mkfifo(pipe / "owner")
    made_by("pytest-energy-side-textown1", place, "nobody")
    made_by("pytest-energy-side-living12", place, str(os.getpid()))
    made_by("pytest-energy-results", place)
    if os.geteuid() == 0:
        foreign = made_by("pytest-energy-side-foreign1", place)
        os.chown(foreign, 65534, 65534)
    before = sorted(place.rglob("*"))
    abandoned = made_by("pytest-energy-side-abandone", place)

    PrivateFolder("side").remove()

    assert sorted(place.rglob("*")) == before
    assert not abandoned.exists()
    assert mine.exists()


def test_a_fork_leaves_it_to_its_owner(place: Path) -> None:
    folder = PrivateFolder("side")
    child = os.fork()
    if not child:
        folder.remove()
        os._exit(0)
    os.waitpid(child, 0)
    assert folder.path.exists()
    folder.remove()
