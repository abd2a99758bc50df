"""Temporary folders that end with their owner, or with the next run if that was killed."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
import weakref
from contextlib import suppress
from functools import cache
from pathlib import Path

PREFIX = "pytest-energy-"
OWNER = "owner"
"""The file in each folder that holds its owner's process id, and whose lock the owner holds."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PID_BYTES = 20


class PrivateFolder:
    """A new folder that only this user can enter, `path`, removed at the latest when we end.

    `kind` is part of its name. Those of the same user whose owners have died are removed first.
    """

    def __init__(self, kind: str) -> None:
        _remove_abandoned_once(tempfile.gettempdir())
        self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-")).resolve()
        owner = os.open(self.path / OWNER, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(owner, fcntl.LOCK_EX)  # before there is a process id, nobody takes it away
        os.write(owner, str(os.getpid()).encode())
        self._end = weakref.finalize(self, _remove, self.path, owner, os.getpid())

    def remove(self) -> None:
        """Take it away with all that is in it; a second call does nothing."""
        self._end()


def is_abandoned(folder: Path) -> bool:
    """Whether a folder is one of ours, and of this user, whose owner has died.

    No link is followed. A process of another container has no number here, but holds its lock.
    """
    if not folder.name.startswith(PREFIX):
        return False
    with suppress(OSError, ValueError):
        handle = os.open(folder, _READ | os.O_DIRECTORY)
        try:
            return os.fstat(handle).st_uid == os.geteuid() and not _is_owned(handle)
        finally:
            os.close(handle)
    return False


def _is_owned(folder: int) -> bool:
    """Whether an owner lives; raises `OSError` or `ValueError` for a folder without one."""
    owner = os.open(OWNER, _READ, dir_fd=folder)
    try:
        found = os.fstat(owner)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return True
        pid = int(os.read(owner, _PID_BYTES))
        fcntl.flock(owner, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return os.path.exists(f"/proc/{pid}")
    except BlockingIOError:
        return True
    finally:
        os.close(owner)


@cache
def _remove_abandoned_once(place: str) -> None:
    # Not worktrees, which git knows too: a comparison in their repository takes them away.
    ours = re.compile(rf"{PREFIX}(?!tree-)[a-z]+-\w{{8}}")
    with suppress(OSError), os.scandir(place) as entries:
        for name in [entry.name for entry in entries if ours.fullmatch(entry.name)]:
            folder = Path(place, name)
            if is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _remove(path: Path, owner: int, pid: int) -> None:
    if os.getpid() != pid:  # a fork of the owner
        return
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        os.close(owner)
