"""A bisection end to end: a repository of a user's own, on the simulated NVML."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ab_support import SIMULATED_PROJECT, SIMULATED_TEST, simulated_repository

pytestmark = pytest.mark.realtime

COMMITS, CULPRIT = 4, 3


def test_more_power_in_one_of_several_commits_is_found_and_says_power(tmp_path: Path) -> None:
    made = simulated_repository(tmp_path, project=SIMULATED_PROJECT, test_mine=SIMULATED_TEST)
    for number in range(1, COMMITS + 1):
        if number == CULPRIT:
            made.change("project", "300.0", "330.0")
        made.write(notes=f"x = {number}\n")
        made.commit(f"change {number}")

    done = subprocess.run(
        [sys.executable, "-m", "pytest_energy", "bisect", "--good", f"HEAD~{COMMITS}",
         "--json", str(tmp_path / "out.json"), "--", "-p", "pytest_energy.plugin", "test_mine.py"],
        cwd=made.path,
        env=made.variables,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads((tmp_path / "out.json").read_text())["culprits"]
    assert found["subject"] == f"change {CULPRIT}"
    assert found["estimate"]["change"] == pytest.approx(0.1, abs=0.04)
    assert " power, " in found["explanation"]
    assert made.worktrees() == ["1 listed"]
