"""Processes of ours, in sessions of their own, and temporary folders that end with their owner.

A folder whose owner was killed ends with the next run.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_energy.clocks import real_time
from pytest_energy.text import decoded

if TYPE_CHECKING:
    import psutil

TAIL_LINES = 25
TAIL_BYTES = 20_000
MOST_PRINTED_BYTES = 1 << 28
FLOODS = f"it printed more than {MOST_PRINTED_BYTES >> 20} MiB, so it was ended"
KILL_SECONDS = 5.0
"""How long processes may take to be gone once they are killed."""
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_SECONDS = 0.1
_ENDING_SECONDS = 15.0
"""How long a command that is broken off may take to remove what it has made."""
LOOK_SECONDS = 0.02
"""Between two looks at whether a process has ended."""

_PREFIX = "pytest-energy-"
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
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-")).resolve()
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
    if not folder.name.startswith(_PREFIX):
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
    ours = re.compile(rf"{_PREFIX}(?!tree-)[a-z]+-\w{{8}}")
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


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back what signals do here until the block is over, such as one that starts a process.

    Else that could run while nobody has noted it yet. What it starts has the signals as ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in _ENDING}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    held: list[int] = []
    for number in ours:
        signal.signal(number, lambda came, _: held.append(came))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        for came in held:
            signal.raise_signal(came)


class ChildProcess:
    """A command at work, which reads nothing; `output` is the file that it prints to.

    `folder` is private to it and removed when it is stopped. Raises `OSError` if it does not start.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        environment: Mapping[str, str],
        working_folder: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.folder = folder
        self.output = folder / "output"
        self._stopped = False
        try:
            with self.output.open("wb") as output:
                self._process = subprocess.Popen(
                    command,
                    cwd=working_folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=pass_fds,
                    # Ctrl-C is for us: we end the child, and say so once.
                    start_new_session=True,
                )
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def wait(self, seconds: float = 0.0) -> int | None:
        """Its exit code; None if it has not ended by itself within `seconds`."""
        give_up = real_time.monotonic() + seconds
        # Not by the process's own `wait`, whose deadline goes by a clock that tests may stop.
        while (exit_code := self._process.poll()) is None and real_time.monotonic() < give_up:
            real_time.sleep(LOOK_SECONDS)
        return exit_code

    @property
    def floods(self) -> bool:
        """Whether it has printed more than anybody will read, `MOST_PRINTED_BYTES`."""
        with suppress(OSError):
            return self.output.stat().st_size > MOST_PRINTED_BYTES
        return False

    def kill(self) -> None:
        """Kill its whole session at once, so that a later `stop_all` need not wait for it."""
        self._signal(signal.SIGKILL)

    def _descendants(self) -> set[psutil.Process]:
        """What it has started that runs now, in sessions of their own, too."""
        import psutil

        with suppress(psutil.Error):
            return set(psutil.Process(self._process.pid).children(recursive=True))
        return set()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def stop_all(
    children: Iterable[ChildProcess], grace_seconds: float = 0.0, ending_seconds: float = 0.0
) -> None:
    """End processes and all that they started, by force if they do not follow.

    Together they have `grace_seconds` to end by themselves, and `ending_seconds` more after
    SIGTERM. Those that were stopped already are left alone.
    """
    live = [child for child in children if not child._stopped]
    started = {each for child in live for each in child._descendants()}
    try:
        if ending_seconds and not _end_within(grace_seconds, live):
            for child in live:
                child._signal(signal.SIGTERM)
            _end_within(ending_seconds, live)
    finally:
        started |= {each for child in live for each in child._descendants()}
        for child in live:
            child.kill()
        for child in live:
            child._process.wait()
        _kill(started)
        for child in live:
            shutil.rmtree(child.folder, ignore_errors=True)
            child._stopped = True


def finished(
    command: Sequence[str],
    place: Path,
    environment: Mapping[str, str],
    seconds: float,
    late: str,
    kept: Path | None = None,
    ending_seconds: float = _ENDING_SECONDS,
) -> tuple[int | None, str, str]:
    """Run a command in a folder: its exit code, why it was ended, and the end of what it printed.

    If it prints too much or takes longer than `seconds`, which `late` says, it is ended, and its
    code is None. All that it printed is `kept` in a file, if one is named. It has `ending_seconds`
    to remove what it made, such as worktrees and processes of its own, until it is killed.
    """
    folder = PrivateFolder("run")
    with uninterrupted():  # a process that nobody has noted would outlive us
        child = ChildProcess(command, folder.path, environment=environment, working_folder=place)
    try:
        give_up, why = real_time.monotonic() + seconds, ""
        while (code := child.wait(_POLL_SECONDS)) is None and not why:
            if child.floods:
                why = FLOODS
            elif real_time.monotonic() > give_up:
                why = late
        if kept is not None:
            shutil.copyfile(child.output, kept)
        return code, "" if code is not None else why, tail_of(child.output)
    finally:
        stop_all([child], 0.0, ending_seconds)
        folder.remove()


def _end_within(seconds: float, children: Iterable[ChildProcess]) -> bool:
    """Whether all end by themselves."""
    give_up = real_time.monotonic() + seconds
    return all(
        child.wait(max(0.0, give_up - real_time.monotonic())) is not None for child in children
    )


def signal_name(exit_code: int) -> str | None:
    """The signal that ended a process, such as `SIGKILL`; None if none did."""
    if exit_code >= 0:
        return None
    with suppress(ValueError):
        return signal.Signals(-exit_code).name
    return f"signal {-exit_code}"


def tail_of(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a file, what is not UTF-8 replaced; empty if there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            text = decoded(file.read(TAIL_BYTES)).strip()
    except OSError:
        return ""
    return "\n".join(line.rstrip() for line in text.splitlines()[-lines:])


def _kill(processes: Iterable[psutil.Process]) -> None:
    """Kill processes, which are known again by when they began, and wait until they are gone."""
    import psutil

    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    give_up = real_time.monotonic() + KILL_SECONDS
    while any(map(_is_alive, processes)) and real_time.monotonic() < give_up:
        real_time.sleep(LOOK_SECONDS)


def _is_alive(process: psutil.Process) -> bool:
    import psutil

    with suppress(psutil.Error):
        # One that nobody waits for stays as a zombie.
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
