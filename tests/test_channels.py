"""Channels between processes of ours: messages, garbage, silence, and ends that are gone."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pytest_energy.channels import ADDRESS_VARIABLE, Channel, ClosedError, Listener, connect
from pytest_energy.errors import EnergyError


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    one, two = map(Channel, Pipe())
    yield one, two
    one.close()
    two.close()


@pytest.fixture
def raw() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel, and a socket into which another end may write whatever it likes."""
    ours, theirs = socket.socketpair()
    channel = Channel(Connection(ours.detach()), stall_seconds=0.1)
    with theirs:
        yield channel, theirs
    channel.close()


def test_messages_go_both_ways_and_their_end_is_an_error(ends: tuple[Channel, Channel]) -> None:
    one, two = ends
    long = "x" * 100_000

    one.send("ready", text=long)
    one.send("window", run=1)

    assert two.receive() == {"kind": "ready", "text": long}
    assert two.receive(1) == {"kind": "window", "run": 1}
    assert two.receive(0.01) is None
    one.close()
    with pytest.raises(ClosedError, match="the other process has ended"):
        two.receive()
    with pytest.raises(ClosedError, match="does not listen any more"):
        two.send("done")
    one.close()
    with pytest.raises(ClosedError):
        one.receive(1)


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize(
    "data",
    [
        framed(b"[1]"),
        framed(b"hello"),
        framed(b"\xff\xfe\xfd"),
        framed(b'{"run": 1}'),
        framed(b"[" * 100_000),
        framed(b""),
        b"Traceback (most recent call last):\n",  # read as a length, it is too long
        b"\xff" * 32,
    ],
)
def test_what_is_no_message_is_refused(raw: tuple[Channel, socket.socket], data: bytes) -> None:
    channel, other = raw
    other.sendall(data)

    with pytest.raises(EnergyError, match="no message"):
        channel.receive(5)


@pytest.mark.parametrize("data", [b"\0\0", (100).to_bytes(4, "big") + b'{"kind":'])
def test_half_a_message_holds_nobody_up(raw: tuple[Channel, socket.socket], data: bytes) -> None:
    channel, other = raw
    other.sendall(data)

    with pytest.raises(EnergyError, match="no message"):
        channel.receive(5)


@pytest.mark.attack(
    "plugs and pipes",
    "a process sends a byte now and then",
    "given up, nobody is held up",
)
def test_a_byte_now_and_then_holds_nobody_up(raw: tuple[Channel, socket.socket]) -> None:
    channel, other = raw
    other.sendall((1 << 20).to_bytes(4, "big") + b'{"kind":')
    stopped = threading.Event()

    def drip() -> None:
        for _ in range(100):
            other.sendall(b"\0")
            if stopped.wait(0.02):
                return
        other.close()

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        with pytest.raises(EnergyError, match="no message"):
            channel.receive(5)
    finally:
        stopped.set()
        dripping.join()


def test_an_end_that_reads_a_little_now_and_then_holds_nobody_up(
    raw: tuple[Channel, socket.socket],
) -> None:
    channel, other = raw
    stopped = threading.Event()

    def sip() -> None:
        for _ in range(100):
            other.recv(40_000)
            if stopped.wait(0.02):
                return
        while other.recv(1 << 20):
            pass

    sipping = threading.Thread(target=sip)
    sipping.start()
    try:
        with pytest.raises(ClosedError, match="does not listen any more"):
            channel.send("answer", text="x" * 10_000_000)
    finally:
        stopped.set()
        channel.close()
        sipping.join()


def test_a_listener_s_path_may_be_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    listener = Listener()
    monkeypatch.setenv(ADDRESS_VARIABLE, listener.address)

    theirs, ours = connect(), listener.accept(1)

    assert theirs is not None
    assert ours is not None
    ours.close()
    theirs.close()
    listener.close()
    assert list(folder.iterdir()) == []


def test_an_end_that_dies_within_a_message_is_gone(raw: tuple[Channel, socket.socket]) -> None:
    channel, other = raw
    other.sendall((100).to_bytes(4, "big") + b'{"kind":')
    other.close()

    with pytest.raises(ClosedError, match="has ended"):
        channel.receive(5)


def test_an_end_that_never_reads_holds_nobody_up(raw: tuple[Channel, socket.socket]) -> None:
    channel, _ = raw

    with pytest.raises(ClosedError, match="does not listen any more"):
        channel.send("answer", text="x" * 10_000_000)


def test_rank_0_finds_the_process_that_launched_it(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener()
    monkeypatch.setenv(ADDRESS_VARIABLE, listener.address)
    assert listener.accept(0.01) is None

    theirs, ours = connect(), listener.accept(1)
    listener.close()

    assert theirs is not None
    assert ours is not None
    theirs.send("done", steps=3)
    assert ours.receive(1) == {"kind": "done", "steps": 3}
    assert connect() is None
    monkeypatch.delenv(ADDRESS_VARIABLE)
    assert connect() is None
    ours.close()
    theirs.close()
