"""What may go wrong with a side, by name, with the end of what it printed."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Literal

from pytest_energy.errors import EnergyError

Kind = Literal[
    "absent", "died", "failed", "hung", "import", "memory", "mixed", "other", "skipped", "start",
    "version",
]  # fmt: skip

TAIL_LINES = 25
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


def tail_of(path: Path) -> str:
    """The last lines of a file, without what cannot be decoded."""
    try:
        lines = path.read_bytes()[-20_000:].decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(line.rstrip() for line in lines[-TAIL_LINES:]).strip()


def last_error(text: str) -> str | None:
    """The last line of a report that names an error."""
    lines = [line.removeprefix("E ").strip() for line in text.splitlines()]
    return next((line for line in reversed(lines) if "Error" in line or "ERROR" in line), None)


def ending(code: int) -> tuple[Kind, str]:
    """What a process's exit code says; the kernel kills by SIGKILL where memory runs out."""
    if code >= 0:
        return "died", f"its process ended with code {code}"
    name = signal.Signals(-code).name
    if -code == signal.SIGKILL:
        return "memory", f"its process was killed ({name}), as the kernel does to free memory"
    return "died", f"its process was ended by {name}"


def is_memory(error: BaseException | None) -> bool:
    """Whether an exception, or what it came from, says that memory ran out."""
    seen = 0
    while error is not None and seen < 20:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False
