"""What goes wrong with a side ends by name, with the end of what it printed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ab_support import Repository, ledger_repository

# In the base all is well; in the head each test goes wrong in a way of its own.
FAULTS = """
import os
import signal
import sys
import time

import pytest
from project import FAULTY, Run


class Late(Run):
    def __init__(self, meter, spoil):
        super().__init__(meter)
        self.spoil = spoil

    def window(self):
        if FAULTY:
            self.spoil()
        return super().window()


def spoil_by_dying():
    print("last words", file=sys.stderr, flush=True)
    os._exit(7)


class OutOfMemoryError(RuntimeError):
    pass


def run_out():
    raise OutOfMemoryError("tried to allocate 3 GiB")


@pytest.mark.parametrize(
    "spoil", [spoil_by_dying, lambda: time.sleep(60), run_out], ids=["dies", "hangs", "memory"]
)
def test_window(spoil, energy, energy_gate):
    energy_gate.check("joules_per_token", Late(energy.meter, spoil))


def test_prints(energy, energy_gate):
    print("to stdout")
    os.write(1, b"{\\"kind\\": \\"finished\\"}\\n")
    with energy.window("before"):  # nothing of it is compared, and it disturbs nothing
        pass
    record = energy_gate.check("joules_per_token", Run(energy.meter))
    assert record.outcome == "within"


def test_skips(energy, energy_gate):
    if FAULTY:
        pytest.skip("not today")
    energy_gate.check("joules_per_token", Run(energy.meter))


def test_other_model(energy, energy_gate):
    energy_gate.check("joules_per_token", Run(energy.meter, "mine/other" if FAULTY else "mine/one"))


def test_meters_itself(energy_gate):
    import ledger
    energy_gate.check("joules_per_token", Run(ledger.LedgerMeter()))
"""

SUBTESTS = """

def test_subtest(subtests, energy, energy_gate):
    with subtests.test("part"):
        pytest.skip("this part")
    energy_gate.check("joules_per_token", Run(energy.meter))
"""

NEW = """

def test_new(energy, energy_gate):
    energy_gate.check("joules_per_token", Run(energy.meter))
"""


def test_a_side_s_skipped_subtest_skips_no_test(repository: Repository) -> None:
    if pytest.version_tuple < (9,):
        pytest.importorskip("pytest_subtests")
        repository.variables["PYTEST_PLUGINS"] = "pytest_subtests.plugin"
    repository.write(test_mine="import pytest\nfrom project import Run\n" + SUBTESTS)
    repository.commit()

    done = repository.pytest("--energy-compare=HEAD")

    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return ledger_repository(tmp_path)


@pytest.mark.fault(
    "processes and signals",
    "a side of an A/B dies, hangs, runs out of memory, skips, or meters itself",
    "`invalid`, with the end of what it printed",
)
def test_faults_of_a_side_are_named(repository: Repository) -> None:
    repository.change("project", "JOULES =", "FAULTY = False\nJOULES =")
    repository.write(test_mine=FAULTS)
    repository.commit()
    repository.change("project", "FAULTY = False", "FAULTY = True")
    repository.write(test_mine=FAULTS + NEW)
    report = repository.path.parent / "report.json"

    done = repository.pytest(
        "--energy-compare=HEAD", "--energy-side-timeout=5", f"--energy-json={report}", "-rs"
    )

    found = {v["nodeid"].rpartition("::")[2]: v for v in json.loads(report.read_text())["verdicts"]}
    said = {name: (v["verdict"], v["fails"], v["reason"]) for name, v in found.items()}
    dies, hangs, memory = (said[f"test_window[{name}]"] for name in ("dies", "hangs", "memory"))
    assert dies[:2] == hangs[:2] == memory[:2] == ("invalid", True)
    assert "the head (`working tree`) died: its process ended with code 7" in dies[2]
    assert "last words" in done.stdout
    assert "does not end its window within 5 s (`--energy-side-timeout`)" in hangs[2]
    # On its own it runs out of memory, too.
    assert "ran out of memory: OutOfMemoryError: tried to allocate 3 GiB" in memory[2]
    assert said["test_prints"][:2] == ("within", False)
    assert "test_skips" not in said
    assert "not today" in done.stdout
    assert said["test_other_model"][:2] == ("invalid", True)
    assert "`mine/one` and the head `mine/other`" in said["test_other_model"][2]
    assert said["test_new"][:2] == ("missing", False)
    assert "nothing to compare with: the base (`HEAD (" in said["test_new"][2]
    assert "run meters itself" in done.stdout
    assert "5 failed, 1 passed, 2 skipped" in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stdout
    assert repository.worktrees() == ["1 listed"]


def test_code_that_fails_within_a_window_is_the_users_to_mend(repository: Repository) -> None:
    repository.change("project", "ledger.spend(", "ledger.spent(")

    done = repository.pytest("--energy-compare=HEAD")

    assert "the head (`working tree`) fails: AttributeError: " in done.stdout
    assert "\nnext: pytest test_mine.py::test_mine   # your code fails in it: " in done.stdout

    repository.path = repository.path / "tests of mine"
    repository.path.mkdir()
    done = repository.pytest("--energy-compare=HEAD", "..")
    repository.path = repository.path.parent

    assert "\nnext: pytest ../test_mine.py::test_mine   # your code fails in it: " in done.stdout

    repository.commit("broken")
    repository.change("project", "ledger.spent(", "ledger.spend(")
    done = repository.pytest("--energy-compare=HEAD")

    assert "the base (`HEAD (" in done.stdout
    assert "\nnext: compare with a revision in which the test runs\n" in done.stdout


# Memory for one: whoever comes second finds it taken, and it is free when its holder has ended.
CROWDED = """

import fcntl, os

class OutOfMemoryError(RuntimeError):
    pass

class Crowded(Run):
    def __init__(self, meter):
        super().__init__(meter)
        self.memory = open(os.environ["LEDGER"] + ".memory", "w")
        try:
            fcntl.flock(self.memory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutOfMemoryError("no room for two")
"""


def test_sides_take_turns_where_memory_does_not_do_for_both(repository: Repository) -> None:
    repository.change("project", "JOULES = 0.005", "JOULES = 0.005\n")
    text = (repository.path / "project.py").read_text()
    repository.write(project=text + CROWDED)
    repository.change("test_mine", "import Run", "import Crowded as Run")
    repository.commit()
    repository.change("project", "JOULES = 0.005", "JOULES = 0.0054")
    report = repository.path.parent / "report.json"

    done = repository.pytest("--energy-compare=HEAD", f"--energy-json={report}")

    (verdict,) = json.loads(report.read_text())["verdicts"]
    assert verdict["verdict"] == "regression", done.stdout + done.stderr
    assert verdict["comparison"]["turns"]
    (note,) = verdict["comparison"]["notes"]
    assert note.startswith("the sides took turns, since with both resident the ")
    assert "no room for two" in done.stdout


@pytest.mark.attack(
    "ends",
    "CI ends an A/B by a signal",
    "no worktree and no process is left",
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_worktree_is_gone_after_a_signal(repository: Repository, number: int) -> None:
    repository.change(
        "test_mine", "    energy_gate", "    __import__('time').sleep(60)\n    energy_gate"
    )
    before = repository.state()
    process = subprocess.Popen(
        repository.command("--energy-compare=HEAD"),
        cwd=repository.path,
        env=repository.variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    sides = _wait_for_sides(process)
    assert repository.worktrees()[0] == "2 listed"

    os.kill(process.pid, number)
    said, _ = process.communicate(timeout=60)

    assert process.returncode == (2 if number == signal.SIGINT else 128 + number), said
    assert repository.worktrees() == ["1 listed"]
    assert repository.state() == before
    assert not any(Path(f"/proc/{side}").exists() for side in sides)


def _wait_for_sides(process: subprocess.Popen[str]) -> list[str]:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        done = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        sides = [line.split()[0] for line in done.stdout.splitlines() if "plugin.ab_side" in line]
        if len(sides) == 2:
            return sides
        time.sleep(0.1)
    raise AssertionError("no sides were started")


def test_what_a_killed_run_left_behind_is_removed_by_the_next(repository: Repository) -> None:
    abandoned = Path(repository.variables["TMPDIR"]) / "pytest-energy-old"
    abandoned.mkdir()
    (abandoned / "owner").write_text("4194305")  # above the largest process id there is
    repository.git("worktree", "add", "--detach", str(abandoned / "tree"), "HEAD")

    # Neither side spreads its one test over processes, as this project likes to.
    with (repository.path / "pytest.ini").open("a") as file:
        file.write("addopts = -p xdist.plugin -n2\n")

    done = repository.pytest("--energy-compare=HEAD", "--energy-max-windows=4", "-n0")

    assert done.returncode == 0, done.stdout + done.stderr
    assert repository.worktrees() == ["1 listed"]
