"""Keeping the memory that training frees, so that no step on a CPU faults it in anew."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping

# As glibc's <malloc.h> numbers them.
_TRIM_THRESHOLD = -1
_MMAP_MAX = -4
_NEVER_TRIM = -1

VARIABLES: Mapping[str, str] = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 36),
}
"""What does the same to a process that is yet to start."""

_CHOICES = (*VARIABLES, "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for the next allocation; whether it does now.

    By default it hands large blocks back to the kernel, which zeroes them for each step of training
    again: CPU time that differs from step to step and from process to process. What the user's
    environment says of it stands, and another C library is left alone.
    """
    if not sys.platform.startswith("linux") or is_chosen(os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER_TRIM))


def is_chosen(environment: Mapping[str, str]) -> bool:
    """Whether an environment says itself when memory is handed back."""
    return any(name in environment for name in _CHOICES)
