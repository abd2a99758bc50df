"""A history that a command is given, and whether there is anything in it of what is asked."""

from __future__ import annotations

from pytest_energy.history.protocols import is_local, local_path
from pytest_energy.history.reading import read_figures
from pytest_energy.history.store import HistoryError, open_store


def require_history(url: str) -> None:
    """Raise `HistoryError` where a local history is not there, which is a misspelt name."""
    if is_local(url) and not local_path(url).is_dir():
        raise HistoryError(
            f"`{url}` is no folder; give the history that `--energy-history` writes to"
        )


def what_there_is(url: str, hardware: str | None, branch: str | None = None) -> str | None:
    """What a history has instead, where no session at all is of a hardware or a branch.

    To be called where nothing was found: it reads the history once more.
    """
    seen = [(one.hardware, one.branch) for one in read_figures(open_store(url), lambda _: None)]
    if not seen:
        return f"`{url}` holds no session with figures; is it what `--energy-history` writes to?"
    for option, value, known in (
        ("--hw", hardware, {key for key, _ in seen}),
        ("--branch", branch, {name for _, name in seen}),
    ):
        names = ", ".join(f"`{name}`" for name in sorted(filter(None, known)))
        if value is not None and value not in known and names:
            return f"`{option}={value}`: no session is of it; there are those of {names}"
    return None
