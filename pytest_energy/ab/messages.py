"""What may go wrong with a side, by name, and the version of what sides and we say."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any, Literal

from pytest_energy.errors import EnergyError
from pytest_energy.processes import signal_name

Kind = Literal[
    "absent", "died", "failed", "hung", "import", "memory", "mixed", "other", "skipped", "start",
    "version",
]  # fmt: skip

VERSION = 2
"""To be raised whenever a message changes; sides of another version are refused by name."""

_WORDS: dict[Kind, str] = {
    "absent": "does not have this test",
    "died": "died",
    "failed": "fails outside its check",
    "hung": "hangs",
    "import": "cannot be imported",
    "memory": "ran out of memory",
    "mixed": "runs code of the other side",
    "other": "does other work",
    "skipped": "skips this test",
    "start": "does not start",
    "version": "speaks another version of the protocol",
}


class SideFaultError(EnergyError):
    """A side that cannot be measured; `tail` is the end of what it printed, pytest's report too."""

    def __init__(self, side: str, reference: str, kind: Kind, text: str, tail: str = "") -> None:
        super().__init__(f"the {side} (`{reference}`) {_WORDS[kind]}: {text}")
        self.side = side
        self.kind = kind
        self.text = text
        self.tail = tail


def expect(message: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The message, if it is of a kind; raises `EnergyError` otherwise."""
    if message["kind"] != kind:
        raise EnergyError(
            f"a side sent `{message['kind']}` where `{kind}` was due; both sides need a "
            f"pytest-energy that speaks version {VERSION} of the protocol"
        )
    return message


def last_error(text: str) -> str | None:
    """The last line of a report that names an error."""
    lines = [line.removeprefix("E ").strip() for line in text.splitlines()]
    return next((line for line in reversed(lines) if "Error" in line or "ERROR" in line), None)


def ending(exit_code: int) -> tuple[Kind, str]:
    """What the end of a side's process says; the kernel kills by SIGKILL if memory runs out."""
    name = signal_name(exit_code)
    if exit_code == -signal.SIGKILL:
        return "memory", f"its process was killed ({name}), as the kernel does to free memory"
    ended = f"was ended by {name}" if name else f"ended with code {exit_code}"
    return "died", f"its process {ended}"


def is_memory(error: BaseException | None) -> bool:
    """Whether an exception, or what it came from, says that memory ran out."""
    seen = 0
    while error is not None and seen < 20:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False
