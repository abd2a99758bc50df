"""The process of one side: runs the user's own test, whose gate then sells windows on request."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_energy.compare.protocol import VERSION, Channel, ClosedError

ORDER_SECONDS = 60.0
"""How long the order may take, which is sent as soon as the process has been started."""


def main(arguments: Sequence[str]) -> int:
    """Serve until the test is over; the arguments are the pipes to read from and to write to."""
    channel = Channel(int(arguments[0]), int(arguments[1]))
    try:
        order = channel.receive(ORDER_SECONDS)
    except ClosedError:
        order = None
    if order is None:
        return 1
    if order["version"] != VERSION:
        channel.send("fault", fault="version", text=f"{VERSION}, not {order['version']}")
        return 1
    _ignore(order["ignored"])
    import pytest

    from pytest_energy.compare.serving import Serving, plugin_arguments

    serving = Serving(channel, order)
    code = pytest.main([*plugin_arguments(), *order["arguments"]], plugins=[serving])
    serving.finished(int(code))
    return int(code)


def _ignore(folder: str | None) -> None:
    """Take another tree off the path, so that this side imports none of its code."""
    if folder is None:
        return
    installed = ("site-packages", "dist-packages")
    sys.path[:] = [
        entry
        for entry in sys.path
        if not Path(entry or ".").resolve().is_relative_to(folder)
        or any(part in installed for part in Path(entry).parts)
    ]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
