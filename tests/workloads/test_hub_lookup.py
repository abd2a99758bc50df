"""The hub is asked once, and quickly, whether it has a model."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest

pytest.importorskip("huggingface_hub")

_ASK = """
import sys
from pytest_energy.errors import EnergyError
from pytest_energy.workloads.architectures import require_on_hub

for name in sys.argv[1:]:
    try:
        require_on_hub(name, name)
    except EnergyError as error:
        print(error)
    else:
        print(name, "is there")
print("transformers" in sys.modules)
"""


class _Hub(http.server.BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.asked.append(self.path)
        if "/real/" in self.path:
            self.send_response(200)
            self.send_header("ETag", '"0"')
            self.send_header("X-Repo-Commit", "0" * 40)
        elif "/gated/" in self.path:
            self.send_response(403)
            self.send_header("X-Error-Code", "GatedRepo")
        elif "/broken/" in self.path:
            self.send_response(500)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    """A hub's address, and the paths that it was asked for."""
    _Hub.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", _Hub.asked
        server.shutdown()


def ask(*names: str, **variables: str) -> list[str]:
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    command = [sys.executable, "-c", _ASK, *names]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**environment, **variables}, check=True
    )
    return done.stdout.splitlines()


def test_a_slip_is_named_after_one_question(hub: tuple[str, list[str]]) -> None:
    address, asked = hub
    missing, real, gated, broken, loaded = ask(
        "bert-base-uncase", "real/model", "gated/model", "broken/model", HF_ENDPOINT=address
    )
    assert missing.startswith("`bert-base-uncase` cannot be loaded: it is not on the hub, or is")
    assert "did you mean `bert-base-uncased`?" in missing
    assert [real, gated, broken] == [f"{n}/model is there" for n in ("real", "gated", "broken")]
    assert len(asked) == 4
    assert loaded == "False"


def test_a_hub_that_is_not_there_is_asked_once() -> None:
    (said, _) = ask("some-model", HF_ENDPOINT="http://127.0.0.1:9")
    assert said.startswith("`some-model` cannot be loaded: it is not in the hub's cache, and the")
    assert "use one of bert-base-uncased, " in said


def test_what_needs_no_question_is_not_asked(hub: tuple[str, list[str]]) -> None:
    address, asked = hub
    first, second, _ = ask("./models/bert", "a model", HF_ENDPOINT=address)
    assert "no name that the hub could have" in first
    assert "no name that the hub could have" in second
    (offline, _) = ask("bert-base-uncase", HF_ENDPOINT=address, HF_HUB_OFFLINE="1")
    assert "`HF_HUB_OFFLINE` is set; did you mean `bert-base-uncased`?" in offline
    assert asked == []
