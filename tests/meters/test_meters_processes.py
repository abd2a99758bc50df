"""Whose processes these are, by a tree of files as the kernel lays it out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.meters.process_tree import ProcessTree, tree_root

OWN, CHILD, GRANDCHILD, PARENT, SIBLING, STRANGER = 100, 110, 111, 50, 101, 900


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    parents = {1: 0, PARENT: 1, OWN: PARENT, SIBLING: PARENT, CHILD: OWN, GRANDCHILD: CHILD}
    for pid, parent in {**parents, STRANGER: 1}.items():
        folder = tmp_path / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "ns").mkdir()
        (folder / "ns" / "pid").symlink_to("pid:[4026531836]")
        (folder / "stat").write_text(f"{pid} (a (strange) name) S {parent} 1 1 0")
    return tmp_path


def test_own_tree_and_ancestors_are_ours(proc: Path) -> None:
    tree = ProcessTree(proc, OWN)
    assert tree.foreign([OWN, CHILD, GRANDCHILD, PARENT]) == ()
    assert tree.foreign([SIBLING, STRANGER, 1, 12345]) == (SIBLING, STRANGER, 1, 12345)


def test_a_root_given_from_outside_makes_siblings_ours(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ENERGY_PROCESS_ROOT", str(PARENT))
    assert ProcessTree(proc, OWN).foreign([OWN, SIBLING, STRANGER]) == (STRANGER,)


def test_a_child_stays_ours_for_as_long_as_the_driver_lists_it(proc: Path) -> None:
    tree = ProcessTree(proc, OWN)
    assert tree.foreign([CHILD]) == ()
    (proc / str(CHILD) / "stat").unlink()
    assert tree.foreign([CHILD]) == ()


def test_numbers_of_the_host_in_a_container(proc: Path) -> None:
    for pid in (OWN, CHILD):
        (proc / str(pid) / "ns" / "pid").unlink()
        (proc / str(pid) / "ns" / "pid").symlink_to("pid:[4026532999]")
    tree = ProcessTree(proc, OWN)
    assert tree.foreign([777001]) == (777001,)
    (proc / str(OWN) / "fd" / "7").symlink_to("/dev/nvidia-uvm")
    assert tree.foreign([777001]) == ()
    assert tree.foreign([777001, 777002]) == (777002,)
    (proc / str(CHILD) / "fd" / "9").symlink_to("/dev/nvidia-uvm")
    assert tree.foreign([777001, 777002]) == ()
    assert tree.foreign([777001, STRANGER]) == (STRANGER,)


def test_a_root_that_is_no_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tree_root() == os.getpid()
    monkeypatch.setenv("PYTEST_ENERGY_PROCESS_ROOT", "pytest")
    with pytest.raises(EnergyError, match="`PYTEST_ENERGY_PROCESS_ROOT=pytest` is no process id"):
        tree_root()
