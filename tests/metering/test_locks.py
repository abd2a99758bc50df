"""Two runs never meter one device at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.metering.device_lock import HELD_VARIABLE, device_lock, held_devices

HOLD = """
import sys, time
from pytest_energy.metering.device_lock import device_lock
with device_lock(sys.argv[1:], 10, print):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTEST_ENERGY_LOCKS", str(tmp_path / "locks"))
    return tmp_path / "locks"


@contextmanager
def holder(*uuids: str, program: Sequence[str] = ("-c", HOLD)) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, *program, *uuids],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if process.stdin is not None:
            process.stdin.close()


def is_free(uuid: str, *within: str) -> bool:
    """Whether another process, started by a command if one is given, can take the lock at once."""
    command = [*within, sys.executable, "-c", HOLD.replace("10", "0"), uuid]
    done = subprocess.run(command, input="", capture_output=True, text=True)
    assert done.returncode == 0 or "is being metered by process" in done.stderr
    return done.returncode == 0


def test_second_gives_up_and_says_who_holds_it() -> None:
    told: list[str] = []
    with (
        holder("GPU-a") as process,
        pytest.raises(EnergyError, match=rf"device `GPU-a` .*process {process.pid} \(python"),
        device_lock(["GPU-b", "GPU-a"], 0.3, told.append),
    ):
        pytest.fail("entered while another process held the device")
    assert len(told) == 1
    assert f"waiting for process {process.pid} (python" in told[0]


def test_second_enters_when_the_first_lets_go() -> None:
    told: list[str] = []
    with holder("GPU-a") as process:

        def let_go(text: str) -> None:
            told.append(text)
            assert process.stdin is not None
            process.stdin.close()

        with device_lock(["GPU-a"], 30, let_go):
            assert len(told) == 1


@pytest.mark.fault(
    "processes and signals",
    "a run that holds a device is killed",
    "the device is free at once",
)
def test_a_killed_holder_frees_the_device() -> None:
    with holder("GPU-a") as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with device_lock(["GPU-a"], 0, pytest.fail):
            pass


def test_other_devices_are_free() -> None:
    with holder("GPU-a"), device_lock(["GPU-b"], 0, pytest.fail):
        pass


def test_what_was_taken_is_given_back_when_another_is_busy() -> None:
    with (
        holder("GPU-b"),
        pytest.raises(EnergyError),
        device_lock(["GPU-a", "GPU-b"], 0, lambda _: None),
    ):
        pytest.fail("entered while another process held the device")
    assert is_free("GPU-a")


def test_same_process_enters_again_and_frees_it_with_the_outermost_block() -> None:
    with device_lock(["GPU-a"], 0, pytest.fail):
        with device_lock(["GPU-a", "GPU-a"], 0, pytest.fail):
            pass
        assert not is_free("GPU-a")
    assert is_free("GPU-a")


def test_a_thread_keeps_what_another_thread_lets_go() -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with device_lock(["GPU-a"], 0, pytest.fail):
            entered.set()
            leave.wait(30)

    second = threading.Thread(target=hold)
    with device_lock(["GPU-a"], 0, pytest.fail):
        second.start()
        assert entered.wait(30)
    assert held_devices() == ("GPU-a",)
    assert not is_free("GPU-a")
    leave.set()
    second.join()
    assert held_devices() == ()
    assert is_free("GPU-a")


FORKED = """
import os, sys
from pytest_energy.metering.device_lock import device_lock, held_devices
with device_lock(["GPU-a"], 0, print):
    if not (child := os.fork()):
        with device_lock(["GPU-a", "GPU-b"], 0, print):
            print(held_devices(), flush=True)
        print(held_devices(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print("left", flush=True)
    sys.stdin.read()
"""


def test_a_forked_process_enters_what_is_held_for_it_and_leaves_it_held() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORKED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline() for _ in range(3)]
        assert printed == ["('GPU-a', 'GPU-b')\n", "('GPU-a',)\n", "left\n"]
        assert not is_free("GPU-a")
        assert is_free("GPU-b")
        process.communicate("")


def test_a_folder_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PYTEST_ENERGY_LOCKS", str(tmp_path / "file"))
    with (
        pytest.raises(EnergyError, match="set `PYTEST_ENERGY_LOCKS`"),
        device_lock(["GPU-a"], 0, pytest.fail),
    ):
        pass


def test_what_another_process_holds_for_us_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with holder("GPU-1"):
        monkeypatch.setenv(HELD_VARIABLE, "GPU-1\nGPU-3")
        with device_lock(["GPU-1", "GPU-2"], 0, print):
            assert held_devices() == ("GPU-1", "GPU-2", "GPU-3")
            assert not is_free("GPU-2")
        monkeypatch.delenv(HELD_VARIABLE)
        assert held_devices() == ()
        with (
            pytest.raises(EnergyError, match="`GPU-1` is being metered"),
            device_lock(["GPU-1"], 0, print),
        ):
            pass


@pytest.fixture
def unchosen(monkeypatch: pytest.MonkeyPatch) -> str:
    """A device that no other test names, where no folder is chosen for locks."""
    monkeypatch.delenv("PYTEST_ENERGY_LOCKS")
    return f"GPU-{uuid.uuid4()}"


@pytest.mark.fault(
    "processes and signals",
    "two runs with folders of their own for temporary files meter one device",
    "the second one waits, whatever `TMPDIR` says",
)
def test_the_job_s_folder_for_temporary_files_does_not_matter(
    unchosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holder(unchosen):
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        assert not is_free(unchosen)
    assert list(tmp_path.iterdir()) == []


AS_NOBODY = """
import os, sys
from pytest_energy.metering.device_lock import device_lock
import encodings.unicode_escape, psutil
os.setgid(65534), os.setuid(65534)
with device_lock(sys.argv[1:], 0, print):
    pass
"""


@pytest.mark.attack(
    "locks",
    "another user meters a device that is held",
    "kept off, and told who holds it",
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a process as another user")
@pytest.mark.parametrize("chosen", [False, True])
def test_another_user_is_kept_off(
    unchosen: str, chosen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", AS_NOBODY, unchosen]
    with TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o1777)
        if chosen:
            monkeypatch.setenv("PYTEST_ENERGY_LOCKS", name)
        with holder(unchosen) as process:
            done = subprocess.run(command, capture_output=True, text=True)
        assert f"is being metered by process {process.pid} (python" in done.stderr
        assert subprocess.run(command).returncode == 0
        assert folder.stat().st_mode & 0o7777 == 0o1777  # what is there keeps its mode


@pytest.mark.attack(
    "locks",
    "anybody removes a lock's file or its folder",
    "the device stays held",
)
def test_a_removed_file_or_folder_frees_nothing(folder: Path) -> None:
    with holder("GPU-a"):
        (folder / "GPU-a.lock").unlink()
        assert not is_free("GPU-a")
        shutil.rmtree(folder)
        assert not is_free("GPU-a")
    assert is_free("GPU-a")


def test_a_shared_folder_keeps_containers_apart(folder: Path) -> None:
    """Two network namespaces do not see each other's sockets."""
    apart = ("unshare", "--user", "--map-root-user", "--net")
    if subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("this machine makes no network namespaces")
    assert is_free("GPU-a", *apart)
    with holder("GPU-a"):
        command = [*apart, sys.executable, "-c", HOLD.replace("10", "0"), "GPU-a"]
        done = subprocess.run(command, input="", capture_output=True, text=True)
    assert "`GPU-a` is being metered by another process" in done.stderr


def test_others_may_lock_what_a_strict_umask_made(folder: Path) -> None:
    mask = os.umask(0o077)
    try:
        with device_lock(["GPU-a"], 0, pytest.fail):
            assert (folder / "GPU-a.lock").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(mask)


@pytest.mark.attack(
    "locks",
    "another user puts a link, a pipe or a folder where a lock's file will be",
    "refused by name; what the link leads to is not touched",
)
@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder", "link to nothing"])
def test_what_others_plant_is_refused_and_left_alone(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    folder.mkdir()
    planted, target = folder / "GPU-a.lock", tmp_path / "mine"
    target.write_text("mine")
    target.chmod(0o600)
    match kind:
        case "link":
            planted.symlink_to(target)
        case "hard link":
            planted.hardlink_to(target)
        case "pipe":
            os.mkfifo(planted)
        case "folder":
            planted.mkdir()
        case _:
            planted.symlink_to(tmp_path / "nothing")
    before = sorted(tmp_path.rglob("*"))

    with (
        pytest.raises(EnergyError, match=r"lock file `.*GPU-a.lock` .*set `PYTEST_ENERGY_LOCKS`"),
        device_lock(["GPU-a"], 30, pytest.fail),
    ):
        pass

    assert sorted(tmp_path.rglob("*")) == before
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("mine", 0o600)


@pytest.mark.attack(
    "locks",
    "another user has a private folder taken for the one of locks, by a link",
    "refused; its mode and contents stay",
)
def test_a_link_or_another_user_s_folder_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    folder.symlink_to(private)
    with pytest.raises(EnergyError, match="is a link"), device_lock(["GPU-a"], 0, pytest.fail):
        pass
    assert list(private.iterdir()) == []
    assert private.stat().st_mode & 0o777 == 0o700
    if os.geteuid() == 0:
        os.chown(private, 65534, 65534)
        monkeypatch.setenv("PYTEST_ENERGY_LOCKS", str(private))
        with (
            pytest.raises(EnergyError, match="belongs to another user: set"),
            device_lock(["GPU-a"], 0, pytest.fail),
        ):
            pass


@pytest.mark.attack(
    "locks",
    "a holder writes what is no text into a command line, with passwords and line breaks",
    "one printable line, passwords masked",
)
def test_a_holder_is_named_on_one_line_and_without_secrets(tmp_path: Path) -> None:
    program = tmp_path / "hold.py"
    program.write_text(HOLD)
    odd = ["http://a:s3cret@plug/?k=s3cret", "a\n::error::b", "\udcff", "x" * 500]
    with (
        holder("GPU-a", *odd, program=[os.path.relpath(program)]),
        pytest.raises(EnergyError) as refused,
        device_lock(["GPU-a"], 0, pytest.fail),
    ):
        pass
    text = str(refused.value)
    assert "http://***@plug/?***" in text
    assert "s3cret" not in text
    assert text.isprintable()
    assert len(text) < 500


def test_a_child_that_lives_on_keeps_nothing() -> None:
    with device_lock(["GPU-a"], 0, pytest.fail):
        child = os.fork()
        if not child:
            signal.pause()
    try:
        assert is_free("GPU-a")
        with device_lock(["GPU-a"], 0, pytest.fail):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
