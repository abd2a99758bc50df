"""What is posted about a run, against a server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pytest_energy.reports import notify

SECRET = "hush"
TEST = """
    from gated import Run

    def test_it(energy, energy_gate):
        energy_gate.joules_per_token(Run("<!channel> & co"))
"""


class Hook:
    """A webhook that answers with `status`, or redirects to itself; `got` is what it was sent."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[dict[str, Any]] = []
        self.methods: list[str] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.methods.append("POST")
                hook.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(hook.status)
                self.send_header("Location", hook.url)
                self.end_headers()

            def do_GET(self) -> None:
                hook.methods.append("GET")

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/{SECRET}"
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}
        )
        self.thread.start()

    def close(self) -> None:
        """End the server."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A server that is asked."""
    made = Hook()
    yield made
    made.close()


@pytest.fixture
def project(pytester: pytest.Pytester, spending: Path) -> pytest.Pytester:
    """One figure that has no baseline, so that it fails."""
    pytester.makepyfile(test_mine=TEST)
    return pytester


def test_a_run_is_posted_once_in_words_and_in_figures(
    project: pytest.Pytester, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://example.org")
    monkeypatch.setenv("GITHUB_REPOSITORY", "me/mine")
    monkeypatch.setenv("GITHUB_RUN_ID", "7")

    result = project.runpytest("--energy-hw=h200", f"--energy-notify={hook.url}")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (sent,) = hook.got
    first, second, place = sent["text"].split("\n")
    assert first == "Energy on h200: 1 of 1 verdicts fails"
    assert second == "&lt;!channel&gt; &amp; co: missing"
    assert place == sent["energy"]["run"] == "https://example.org/me/mine/actions/runs/7"
    (verdict,) = sent["energy"]["verdicts"]
    assert (verdict["id"], verdict["verdict"], verdict["fails"]) == (
        *("<!channel> & co", "missing", True),
    )
    assert sent["energy"]["failed"] is True
    assert SECRET not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize(("status", "said"), [(500, "answers HTTP 500"), (302, "answers HTTP 302")])
def test_what_fails_is_said_and_fails_nothing(
    project: pytest.Pytester, hook: Hook, status: int, said: str
) -> None:
    hook.status = status

    result = project.runpytest(f"--energy-notify={hook.url}")

    assert result.ret == 0
    assert hook.methods == ["POST"]
    assert f"nobody was notified: `127.0.0.1` {said}" in result.stdout.str()
    assert SECRET not in result.stdout.str() + result.stderr.str()


def test_one_that_never_answers_is_not_waited_for(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, project: pytest.Pytester
) -> None:
    monkeypatch.setattr(notify, "SECONDS", 0.3)
    asked = threading.Event()

    def trickle(server: Any) -> None:
        with suppress(OSError), server.accept()[0] as connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not asked.wait(0.05):
                connection.sendall(b"X: y\r\n")

    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=trickle, args=(server,))
        thread.start()
        result = project.runpytest(
            f"--energy-notify=http://127.0.0.1:{server.getsockname()[1]}/{SECRET}"
        )
        asked.set()
        thread.join()

    assert result.ret == 0
    assert "nobody was notified: `127.0.0.1` does not answer within" in result.stdout.str()


@pytest.mark.parametrize(
    "url",
    [f"http://example.org/{SECRET}", f"{SECRET}", f"https://:80/{SECRET}", f"https://x:y/{SECRET}"],
)
def test_an_address_that_others_can_read_is_refused(project: pytest.Pytester, url: str) -> None:
    result = project.runpytest(f"--energy-notify={url}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = result.stdout.str() + result.stderr.str()
    assert "`--energy-notify` is no https:// address" in said
    assert SECRET not in said
