"""The tutorial, as it is written: its files are made, its commands run, its outcomes come."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from doc_pages import ROOT, Block, blocks, rows

PAGE = ROOT / "docs" / "tutorial.md"

INSTALLS = {
    "mkdir my-training && cd my-training",
    "python3 -m venv .venv && source .venv/bin/activate",
    "pip install --quiet '../pytest-energy[carbon]'",
}
"""What the test has done already: it runs in an empty folder with the plugin installed."""


@pytest.mark.realtime
def test_every_step_does_what_the_page_says(tmp_path: Path) -> None:
    pytest.importorskip("codecarbon", reason="the tutorial meters by CodeCarbon's model")
    home = {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"), "PYTHONPATH": str(ROOT)}
    (tmp_path / "gitconfig").write_text("[user]\nname = Reader\nemail = reader@example.org\n")
    environment = {
        **os.environ,
        **home,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    environment.pop("CI", None)
    project = tmp_path / "my-training"
    project.mkdir()
    left, came, shown = set(INSTALLS), "", 0

    for block in blocks(PAGE):
        if block.title:
            (project / block.title).write_text(block.text)
        left -= set(block.commands)
        if block.language == "":
            assert set(rows(block.text)) <= set(rows(came)), came
            shown += len(rows(block.text))
        elif block.commands:
            came = _run(block, project, environment)

    assert (left, shown) == (set(), 7)


def _run(block: Block, project: Path, environment: dict[str, str]) -> str:
    """Run a console's commands as one shell does that the next block goes on with."""
    script = [command for command in block.commands if command not in INSTALLS]
    for command in script:
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            environment[name] = value
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr
