"""A kernel lock a device, so that two runs never meter one GPU at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def device_lock(
    uuids: Sequence[str], timeout_seconds: float, on_wait: Callable[[str], None]
) -> Iterator[None]:
    """Hold the devices' locks for the block; waits for another holder, then gives up."""
    yield
