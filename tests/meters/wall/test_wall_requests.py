"""A plug whose name is looked up, or whose TLS begins, for longer than anybody waits."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_energy.errors import MeterUnavailableError
from pytest_energy.meters.wall import open_wall
from sim import build, run_python

ROOT = Path(__file__).parents[3]
RESOLVER = ROOT / "tests/support/hanging_resolver.c"

NEVER_FOUND = """
from pytest_energy.errors import MeterUnavailableError
from pytest_energy.meters.wall import open_wall

open("hang", "w").close()
try:
    open_wall("http://plug.invalid")
except MeterUnavailableError as error:
    print(error)
"""
NOT_FOUND_LATER = """
import json, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pytest_energy import window
from pytest_energy.meters.wall import WallMeter
from pytest_energy.meters.wall.http import WallPlug

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"apower": 150.0, "aenergy": {"total": 1.0}}).encode())

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
meter = WallMeter(WallPlug(f"http://plug.invalid:{server.server_port}", 0.02, 0.2))
open("hang", "w").close()
with window(meter, "work") as w:
    time.sleep(1.0)
print(w.invalid_reason)
print([thread.name for thread in threading.enumerate()].count("wall request"))
meter.close()
server.shutdown()
server.server_close()
"""


def with_hanging_resolver(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What code prints whose `*.invalid` are found at once, or never while there is a `hang`."""
    monkeypatch.chdir(folder)
    library = build([RESOLVER], folder / "libresolver.so")
    return run_python(code, {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)})


@pytest.mark.attack(
    "plugs and pipes",
    "a resolver never answers for a plug's name",
    "given up after the request's time limit",
)
def test_a_name_whose_look_up_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = with_hanging_resolver(NEVER_FOUND, tmp_path, monkeypatch)

    assert "the plug `plug.invalid` does not answer (timed out)" in said


def test_a_look_up_that_hangs_in_a_window_is_named_and_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, threads = with_hanging_resolver(NOT_FOUND_LATER, tmp_path, monkeypatch).splitlines()

    assert said.startswith("wall reading missing: `plug.invalid:")
    assert "does not answer (timed out)" in said
    assert threads == "1"


@pytest.mark.attack(
    "plugs and pipes",
    "a plug sends a byte of its TLS handshake at a time",
    "given up after the request's time limit",
)
def test_a_tls_handshake_that_trickles_is_given_up() -> None:
    ended = threading.Event()

    def trickle(server: socket.socket) -> None:
        with suppress(OSError), server.accept()[0] as connection:
            connection.sendall(b"\x16\x03\x03\x3f\xff")  # a record of 16 kB is to follow
            while not ended.wait(0.05):
                connection.sendall(b"\x02")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=trickle, args=(server,))
        thread.start()
        with pytest.raises(MeterUnavailableError, match=r"does not answer \(timed out"):
            open_wall(f"https://127.0.0.1:{server.getsockname()[1]}")
        ended.set()
        thread.join()
