"""Freed memory stays with a process that trains on a CPU, unless its user says otherwise."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from pytest_energy.workloads.engine import VARIABLES

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told anything"
)

PAGES = 10_000
# Allocates and frees the same block; how many pages the kernel had to give, in blocks.
BLOCKS = f"""
import resource

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def block():
    bytearray({PAGES} * resource.getpagesize())

block()
before = faults()
for _ in range(10):
    block()
print((faults() - before) / {PAGES})
"""
KEEP = "from pytest_energy.workloads.engine import keep_freed_memory\nkeep_freed_memory()\n"
ENGINE = "from pytest_energy.workloads.engine import accelerator\naccelerator('fp32', {!r})\n"


def blocks_faulted(program: str, **variables: str) -> float:
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", program + BLOCKS]
    done = subprocess.run(
        command, env={**mine, **variables}, capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])


def test_a_freed_block_is_not_faulted_in_again() -> None:
    assert blocks_faulted("") > 9
    assert blocks_faulted(KEEP) < 1
    assert blocks_faulted("", **VARIABLES) < 1


@pytest.mark.parametrize("name", ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"])
def test_what_the_user_set_stands(name: str) -> None:
    assert blocks_faulted(KEEP, **{name: "65536"}) > 9


def test_training_on_a_cpu_keeps_memory() -> None:
    pytest.importorskip("accelerate")

    assert blocks_faulted(ENGINE.format("cpu")) < 1
    assert blocks_faulted(ENGINE.format("cuda")) > 9
