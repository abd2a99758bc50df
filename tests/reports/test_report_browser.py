"""The page in a browser: charts draw, the console is clean, a phone need not scroll sideways."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from report_support import drift, full_run

pytest.importorskip("plotly")
pytest.importorskip("jinja2")
from pytest_energy.reports.html import render

pytestmark = pytest.mark.realtime

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = (360, 1280)

# Frames of both widths; once all charts are there, or time is over, what was seen is noted.
HARNESS = """<!doctype html><body style="margin:0">
<pre id="seen"></pre>
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
    if (done) document.getElementById("seen").textContent = JSON.stringify(seen);
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


def visit(folder: Path, *arguments: str) -> Visit:
    """Open the page that is in a folder."""
    (folder / "harness.html").write_text(HARNESS.replace("WIDTHS", json.dumps(WIDTHS)))
    command = [
        browser(), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        "--allow-file-access-from-files", f"--user-data-dir={folder / 'profile'}",
        "--window-size=1400,24100", "--virtual-time-budget=60000", "--dump-dom", *arguments,
        (folder / "harness.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    match = re.search(r'<pre id="seen">(.+?)</pre>', done.stdout, re.DOTALL)
    assert match is not None, done.stderr
    seen = json.loads(html.unescape(match.group(1)))
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
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
