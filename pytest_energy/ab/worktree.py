"""A clean worktree of a commit in a temporary folder, removed however the run ends."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import tarfile
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from pytest_energy.ab.targets import GitError, attempt, git
from pytest_energy.errors import EnergyError

PREFIX = "pytest-energy-"
_OWNER = "owner"
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Worktree:
    """A detached checkout of `commit`, with the submodules that the user's checkout has.

    The user's checkout, index, stash and refs stay as they are; hooks do not run. `on_signal` is
    called for a signal that would end this process at once, to end it in order instead.
    """

    def __init__(
        self,
        toplevel: Path,
        commit: str,
        on_signal: Callable[[signal.Signals], None] | None = None,
    ) -> None:
        self._toplevel = toplevel
        _remove_abandoned(toplevel)
        self._folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        (self._folder / _OWNER).write_text(str(os.getpid()), encoding="utf-8")
        self.path = self._folder / toplevel.name
        self._heeded: list[int] = []
        atexit.register(self.remove)
        if on_signal is not None:
            self._heed_signals(on_signal)
        try:
            git(toplevel, "worktree", "add", "--detach", "--quiet", str(self.path), commit)
            _fill_submodules(toplevel, self.path)
        except GitError as error:
            self.remove()
            raise EnergyError(
                f"`git worktree add` of `{commit[:9]}` failed: {error}; mend that, or check the "
                f"revision out by hand to see more"
            ) from None
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Take the worktree away, from the disk and from git; a second call does nothing."""
        if not self._folder.exists():
            return
        _remove(self._toplevel, self.path)
        self._restore_signals()
        atexit.unregister(self.remove)

    def _heed_signals(self, on_signal: Callable[[signal.Signals], None]) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, lambda found, _: on_signal(signal.Signals(found)))
                self._heeded.append(number)

    def _restore_signals(self) -> None:
        # From a thread that may not set handlers, they stay.
        with contextlib.suppress(ValueError):
            while self._heeded:
                signal.signal(self._heeded[-1], signal.SIG_DFL)
                self._heeded.pop()


def _remove(toplevel: Path, path: Path) -> None:
    command = ("worktree", "remove", "--force", "--force", str(path))
    removed = attempt(toplevel, *command)
    shutil.rmtree(path.parent, ignore_errors=True)
    if removed is None:
        # Of a folder that is gone git forgets. Pruning would forget the user's own worktrees, too,
        # where their folders are not in sight: on a disk that is not mounted, outside a container.
        attempt(toplevel, *command)


def _remove_abandoned(toplevel: Path) -> None:
    """Take away what runs have left behind that were killed outright."""
    for line in git(toplevel, "worktree", "list", "--porcelain").splitlines():
        path = Path(line.removeprefix("worktree "))
        owner = path.parent / _OWNER
        if not line.startswith("worktree ") or not path.parent.name.startswith(PREFIX):
            continue
        with contextlib.suppress(OSError, ValueError):
            if not Path(f"/proc/{int(owner.read_text(encoding='utf-8'))}").exists():
                _remove(toplevel, path)


def _fill_submodules(source: Path, target: Path) -> None:
    """Put the submodules' commits into a worktree, from the clones that the checkout has."""
    for line in git(target, "ls-files", "--stage", "-z").split("\0"):
        entry, _, name = line.partition("\t")
        if not entry.startswith("160000 "):
            continue
        commit, clone = entry.split()[1], source / name
        if not (clone / ".git").exists():
            continue  # not there in the user's checkout either
        archive = target.parent / "submodule.tar"
        try:
            git(clone, "archive", "--format=tar", f"--output={archive}", commit)
        except GitError:
            raise EnergyError(
                f"submodule `{name}` lacks commit `{commit[:9]}`, which the base has; fetch it "
                f"with `git -C {name} fetch origin {commit[:9]}`"
            ) from None
        with tarfile.open(archive) as files:
            files.extraction_filter = getattr(tarfile, "tar_filter", None)
            files.extractall(target / name)
