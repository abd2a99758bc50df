"""The page in a browser: charts draw, the console is clean, a phone need not scroll sideways."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

import pytest

from report_support import drift, full_run

pytest.importorskip("plotly")
pytest.importorskip("jinja2")
from pytest_energy.reports.html import render

pytestmark = pytest.mark.realtime

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = (360, 1280)
PATIENCE_SECONDS = 120

# Frames of both widths; once all charts are there, or it drew often enough, what was seen is sent.
HARNESS = """<!doctype html><body style="margin:0">
<script>
function look(frame) {
  const page = frame.contentDocument, root = page.documentElement;
  const charts = [...page.querySelectorAll(".chart")];
  return {
    width: root.clientWidth,
    overflow: root.scrollWidth - root.clientWidth,
    charts: charts.length,
    drawn: charts.filter((one) => one.querySelector("svg.main-svg g.trace path")).length,
    colour: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
    fetched: frame.contentWindow.performance.getEntriesByType("resource").map((one) => one.name),
    alerted: frame.contentWindow.alerted || 0,
    wide: charts.filter((one) => one.getBoundingClientRect().right > root.clientWidth + 1).length,
  };
}
const frames = WIDTHS.map((width) => {
  const frame = document.createElement("iframe");
  frame.style = `border:0;display:block;width:${width}px;height:12000px`;
  frame.src = "page.html";
  document.body.append(frame);
  return frame;
});
// By frames, not by time: a busy machine draws few of them a second.
let rounds = 0;
function step() {
  let done = false;
  if (frames.every((frame) => frame.contentDocument?.readyState === "complete")) {
    for (const frame of frames) {
      for (const part of frame.contentDocument.querySelectorAll("details")) part.open = true;
    }
    const seen = frames.map(look);
    done = seen.every((one) => one.charts && one.drawn === one.charts) || ++rounds > 300;
    if (done) fetch("seen", {method: "POST", body: JSON.stringify(seen)});
  }
  if (!done) requestAnimationFrame(step);
}
step();
</script>"""


@dataclass(frozen=True)
class Visit:
    """What was seen at each width, and what the browser logged."""

    seen: dict[int, dict[str, Any]]
    console: list[str]


def browser() -> str:
    """An installed browser, or a skip that says what was looked for."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return found


class Server(ThreadingHTTPServer):
    """Gives a folder's files to a browser on this machine and takes what was seen there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Pages, directory=str(folder)))
        self.seen: Queue[str] = Queue()


class Pages(SimpleHTTPRequestHandler):
    """Answers one request of the browser."""

    server: Server

    def do_POST(self) -> None:
        """Take what the harness saw."""
        self.server.seen.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def visit(folder: Path, *arguments: str) -> Visit:
    """Open the page that is in a folder, until it has told what was seen."""
    (folder / "harness.html").write_text(HARNESS.replace("WIDTHS", json.dumps(WIDTHS)))
    profile = tempfile.mkdtemp(dir=folder)
    log = Path(profile) / "log"
    with Server(folder) as server, log.open("wb") as errors:
        Thread(target=server.serve_forever, daemon=True).start()
        command = [
            browser(), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--no-first-run", f"--user-data-dir={profile}", "--window-size=1400,24100", *arguments,
            "--remote-debugging-port=0", f"http://127.0.0.1:{server.server_port}/harness.html",
        ]  # fmt: skip
        with subprocess.Popen(command, stdout=errors, stderr=errors) as process:
            try:
                seen = json.loads(server.seen.get(timeout=PATIENCE_SECONDS))
            except Empty:
                pytest.fail(f"the page told nothing: {log.read_text(errors='replace')}")
            finally:
                process.terminate()
        server.shutdown()
    console = [line for line in log.read_text(errors="replace").splitlines() if "CONSOLE" in line]
    return Visit(dict(zip(WIDTHS, seen, strict=True)), console)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page that has everything in it."""
    folder = tmp_path_factory.mktemp("page")
    text = render([full_run()], drift())
    # What tries to break out would be noticed.
    text = text.replace("<head>", "<head><script>window.alert = () => alerted = 1</script>", 1)
    (folder / "page.html").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def light(folder: Path) -> Visit:
    """The page as it looks by day."""
    return visit(folder, "--blink-settings=preferredColorScheme=1")


@pytest.mark.parametrize("width", WIDTHS)
def test_every_chart_draws(light: Visit, width: int) -> None:
    seen = light.seen[width]

    assert seen["width"] == width
    assert seen["charts"] >= 9
    assert seen["drawn"] == seen["charts"]
    assert seen["wide"] == 0


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_does_not_scroll_sideways(light: Visit, width: int) -> None:
    assert light.seen[width]["overflow"] == 0


def test_the_console_is_clean_and_nothing_is_fetched(light: Visit) -> None:
    assert light.console == []
    assert [seen["fetched"] for seen in light.seen.values()] == [[], []]
    assert [seen["alerted"] for seen in light.seen.values()] == [0, 0]


def test_it_is_dark_by_night(folder: Path, light: Visit) -> None:
    dark = visit(folder, "--blink-settings=preferredColorScheme=0")

    assert dark.console == []
    assert dark.seen[360]["drawn"] == light.seen[360]["drawn"]
    assert light.seen[360]["colour"] == "rgb(246, 247, 249)"
    assert dark.seen[360]["colour"] == "rgb(16, 19, 23)"
