"""Files written: what is replaced, what is written into, and what is refused beforehand."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_energy.errors import BaselineError, EnergyError
from pytest_energy.files import append, require_writable, write_atomically

NOBODY = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="takes root to be another user")


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder of nobody's, who the test is; of root's own is what `root` makes in it."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


def read_of(fifo: Path) -> tuple[threading.Thread, list[str]]:
    """A reader of a pipe, and what it will have read."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(fifo.read_text()), daemon=True)
    thread.start()
    return thread, found


@pytest.mark.fault(
    "files",
    "a report's path is a link",
    "the link stays, its target is replaced",
)
def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to("target.json")

    write_atomically(link, "new")

    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_link_to_nothing_makes_its_target(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to("deep/target.json")
    require_writable(link, "--energy-json")

    write_atomically(link, "new")

    assert (tmp_path / "deep" / "target.json").read_text() == "new"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="takes a folder that takes no files")
def test_a_folder_that_takes_no_files_is_found_beforehand() -> None:
    with pytest.raises(BaselineError, match="you may not write to `/proc`"):
        require_writable(Path("/proc/run.html"), "--energy-html")


def test_both_names_of_a_file_keep_one_text(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("an old text that is longer")
    os.link(one, other)

    write_atomically(one, "new")

    assert other.read_text() == "new"


@pytest.mark.fault(
    "files",
    "a report's path is a pipe",
    "written into, it stays one",
)
def test_a_pipe_is_written_into_and_stays_one(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    require_writable(fifo, "--energy-json")
    thread, found = read_of(fifo)
    text = "x" * 300_000  # more than a pipe holds at once
    while True:  # until the reader has it open
        try:
            write_atomically(fifo, text)
            break
        except OSError as error:
            assert "nobody reads" in str(error)  # noqa: PT017
    thread.join(10)

    assert "".join(found) == text
    assert stat.S_ISFIFO(fifo.stat().st_mode)


@pytest.mark.fault(
    "files",
    "a report's path is a pipe that nobody reads",
    "an error, nothing is waited for",
)
@pytest.mark.parametrize("write", [write_atomically, append])
def test_a_pipe_without_a_reader_is_not_waited_for(write: object, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    with pytest.raises(OSError, match="nobody reads this pipe") as raised:
        write(fifo, "text")  # type: ignore[operator]

    assert raised.value.filename == str(fifo)


@pytest.mark.attack(
    "commands",
    "somebody names a device as the place of a report",
    "written into, it stays a device",
)
def test_a_device_is_written_into() -> None:
    require_writable(Path("/dev/null"), "--energy-json")
    write_atomically(Path("/dev/null"), "text")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)

    with pytest.raises(OSError, match="No space left") as raised:
        write_atomically(Path("/dev/full"), "text")
    assert raised.value.filename == "/dev/full"


@pytest.mark.parametrize("mode", ["a", "w"])
@pytest.mark.parametrize("name", ["/dev/stdout", "link"])
def test_a_redirected_output_keeps_what_is_printed(name: str, mode: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    code = (
        "from pathlib import Path; from pytest_energy.files import write_atomically;"
        f"print('before', flush=True); write_atomically(Path({name!r}), 'text\\n');"
        "print('after', flush=True)"
    )
    with (tmp_path / "log").open(mode) as log:
        subprocess.run([sys.executable, "-c", code], stdout=log, check=True, cwd=tmp_path)

    assert (tmp_path / "log").read_text() == "before\ntext\nafter\n"


@pytest.mark.fault(
    "files",
    "a report's path is a folder, a socket, a loop of links, or below a file",
    "refused before anything is metered",
)
@pytest.mark.parametrize("kind", ["folder", "socket", "loop", "below a file"])
def test_what_takes_no_text_is_refused_beforehand(kind: str, tmp_path: Path) -> None:
    import socket

    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to("x")
    elif kind == "below a file":
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "x"
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))

    with pytest.raises(BaselineError, match=r"^`--energy-json`: `.*` cannot be written \("):
        require_writable(path, "--energy-json")
    with pytest.raises(OSError, match=r".") as raised:
        write_atomically(path, "text")
    assert raised.value.filename


@AS_ROOT
def test_a_file_of_another_user_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")
    os.chown(path, NOBODY, NOBODY)

    write_atomically(path, "new")

    found = path.stat()
    assert (found.st_uid, found.st_gid, path.read_text()) == (NOBODY, NOBODY, "new")


@AS_ROOT
def test_mode_group_and_attributes_stay(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")
    os.chown(path, 0, NOBODY)
    os.chmod(path, 0o2640)
    os.utime(path, (1, 1))
    try:
        os.setxattr(path, "user.note", b"kept")
        attributes = True
    except OSError:
        attributes = False

    write_atomically(path, "new")

    found = path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o2640
    assert found.st_gid == NOBODY
    assert found.st_mtime > 1
    assert not attributes or os.getxattr(path, "user.note") == b"kept"


@AS_ROOT
def test_a_file_in_a_folder_that_takes_no_new_one_is_written_into(as_nobody: Path) -> None:
    path = as_nobody / "run.json"
    path.write_text("old")
    os.seteuid(0)
    os.chmod(as_nobody, 0o555)
    os.seteuid(NOBODY)
    require_writable(path, "--energy-json")

    write_atomically(path, "new")

    assert path.read_text() == "new"


@pytest.mark.fault(
    "files",
    "a report's path is read-only, another user's, or in a closed folder",
    "refused before anything is metered",
)
@AS_ROOT
@pytest.mark.parametrize("what", ["read-only", "of another user", "in a closed folder"])
def test_what_may_not_be_written_is_refused_before_and_then(what: str, as_nobody: Path) -> None:
    path = as_nobody / "run.json"
    if what == "read-only":
        path.write_text("old")
        os.chmod(path, 0o444)
    else:
        os.seteuid(0)
        if what == "of another user":
            path.write_text("old")
        else:
            os.chmod(as_nobody, 0o555)
        os.seteuid(NOBODY)

    with pytest.raises(EnergyError, match=r"cannot be written .you may not write to"):
        require_writable(path, "--energy-json")
    with pytest.raises(PermissionError):
        write_atomically(path, "new")
    assert not path.exists() or path.read_text() == "old"


def test_a_name_as_long_as_they_may_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 127)

    write_atomically(path, "new")

    assert path.read_text() == "new"


@pytest.mark.fault(
    "files",
    "a name that was no UTF-8 gets into a report",
    "written with replacement characters",
)
def test_bytes_that_were_no_text_are_written_as_replacements(tmp_path: Path) -> None:
    path = tmp_path / "run.md"
    write_atomically(path, "caf\udce9\n")
    append(path, "\udcff")

    assert path.read_bytes() == b"caf?\n?"
