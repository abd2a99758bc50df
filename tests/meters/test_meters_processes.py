"""Whose processes these are: of real ones, and of a container's as the kernel lays them out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.meters.process_tree import ProcessTree, tree_root

WITH_A_CHILD = """
import subprocess, sys
wait = "import sys; sys.stdin.read()"
child = subprocess.Popen([sys.executable, "-c", wait], stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.read()
child.communicate()
"""
NOBODY = 1 << 22
"""More than any process id."""


@pytest.fixture
def family() -> Iterator[tuple[int, int, int]]:
    """A process, its child and its sibling, whose parent is the test."""
    with ExitStack() as stack:
        pids: list[int] = []
        for _ in range(2):
            process = subprocess.Popen(
                [sys.executable, "-c", WITH_A_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            stack.callback(process.communicate)
            assert process.stdout is not None
            pids += process.pid, int(process.stdout.readline())
        own, child, sibling, _ = pids
        yield own, child, sibling


def test_own_tree_and_ancestors_are_ours(family: tuple[int, int, int]) -> None:
    own, child, sibling = family
    tree = ProcessTree(own)
    assert tree.foreign([own, child, os.getpid(), os.getppid()]) == ()
    assert tree.foreign([sibling, 1, NOBODY]) == (sibling, 1, NOBODY)


def test_a_root_given_from_outside_makes_siblings_ours(
    family: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, child, sibling = family
    monkeypatch.setenv("PYTEST_ENERGY_PROCESS_ROOT", str(os.getpid()))
    assert ProcessTree(own).foreign([own, child, sibling, NOBODY]) == (NOBODY,)


def test_a_child_stays_ours_for_as_long_as_the_driver_lists_it() -> None:
    tree = ProcessTree()
    with subprocess.Popen([sys.executable, "-c", WITH_A_CHILD], stdin=subprocess.PIPE) as child:
        assert tree.foreign([child.pid]) == ()
        child.communicate()
    assert not psutil.pid_exists(child.pid)
    assert tree.foreign([child.pid]) == ()


def test_a_name_that_is_no_text_is_a_process_like_others(tmp_path: Path) -> None:
    program = os.fsencode(tmp_path) + b"/caf\xe9 (x) y"
    os.symlink("/bin/sh", program)
    with subprocess.Popen([program, "-c", "read line"], stdin=subprocess.PIPE) as child:
        assert ProcessTree().foreign([child.pid]) == ()
        assert ProcessTree(own=child.pid, root=child.pid).foreign([os.getpid()]) == ()
        child.communicate()


OWN, CHILD, STRANGER, HOSTS = 100, 110, 900, 777001


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's files of a container with process ids of its own."""
    for pid, parent in {1: 0, OWN: 1, CHILD: OWN, STRANGER: 1}.items():
        folder = tmp_path / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "ns").mkdir()
        (folder / "ns" / "pid").symlink_to("pid:[4026532999]")
        (folder / "stat").write_text(f"{pid} (a (strange) name) S {parent}" + " 0" * 48)
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    return tmp_path


def test_numbers_of_the_host_in_a_container(container: Path) -> None:
    tree = ProcessTree(OWN)
    assert tree.foreign([HOSTS]) == (HOSTS,)
    (container / str(OWN) / "fd" / "7").symlink_to("/dev/nvidia-uvm")
    assert tree.foreign([HOSTS]) == ()
    assert tree.foreign([HOSTS, HOSTS + 1]) == (HOSTS + 1,)
    (container / str(CHILD) / "fd" / "9").symlink_to("/dev/nvidia-uvm")
    assert tree.foreign([HOSTS, HOSTS + 1]) == ()
    assert tree.foreign([HOSTS, STRANGER]) == (STRANGER,)


def test_numbers_of_the_host_outside_a_container(container: Path) -> None:
    (container / str(OWN) / "fd" / "7").symlink_to("/dev/nvidia-uvm")
    (container / str(OWN) / "ns" / "pid").unlink()
    (container / str(OWN) / "ns" / "pid").symlink_to("pid:[4026531836]")
    assert ProcessTree(OWN).foreign([HOSTS]) == (HOSTS,)


def test_a_root_that_is_no_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tree_root() == os.getpid()
    monkeypatch.setenv("PYTEST_ENERGY_PROCESS_ROOT", "pytest")
    with pytest.raises(EnergyError, match="`PYTEST_ENERGY_PROCESS_ROOT=pytest` is no process id"):
        tree_root()
