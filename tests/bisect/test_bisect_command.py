"""`pytest-energy bisect` on real repositories, whose joules are a ledger's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ab_support import Repository, ledger_repository
from planted import changed, days, records
from pytest_energy.cli import main
from pytest_energy.history.store import LocalStore

RUN_ONE = ("-p", "pytest_energy.plugin", "-p", "no:randomly", "test_mine.py")
COSTS = "JOULES = 0.005\n"
HANGS = "import time\ntime.sleep(600)\n"


def repository(folder: Path, versions: Sequence[str]) -> Repository:
    """A commit for each version of `lib/cost.py`, after a first one; what tests import from `lib`.

    Its cost is found by `PYTHONPATH`, which leads into the checkout.
    """
    made = ledger_repository(folder)
    library = made.path / "lib"
    library.mkdir()
    made.change("project", "JOULES = 0.005", "from cost import JOULES")
    (library / "cost.py").write_text(COSTS)
    made.variables["PYTHONPATH"] = f"{library}:{made.variables['PYTHONPATH']}"
    made.commit("start")
    for number, text in enumerate(versions, start=1):
        (library / "cost.py").write_text(text)
        made.commit(f"change {number} of <b>mine</b>")
    return made


def command(good: str, *arguments: str, run: Sequence[str] = RUN_ONE) -> list[str]:
    own = [sys.executable, "-m", "pytest_energy", "bisect", "--good", good]
    return [*own, *arguments, "--", *run]


def bisect(
    made: Repository, good: str, *arguments: str, run: Sequence[str] = RUN_ONE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(good, *arguments, run=run),
        cwd=made.path,
        env=made.variables,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def test_a_culprit_beside_a_broken_commit(tmp_path: Path) -> None:
    made = repository(tmp_path, [COSTS, "JOULES = nothing\n", COSTS, "JOULES = 0.0055\n"])
    culprit, before = made.git("rev-parse", "HEAD"), made.state()

    done = bisect(made, "HEAD~4", "--json", "../out.json", "--html", "../out.html")

    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "out.json").read_text())
    (found,) = told["culprits"]
    assert (found["commit"], found["one"]) == (culprit, True)
    assert found["estimate"]["low"] < 0.1 < found["estimate"]["high"]
    assert "same environment" in found["explanation"]
    assert {probe["purpose"] for probe in told["probes"]} == {"ends", "search", "confirm"}
    assert "NameError: name 'nothing' is not defined" in done.stdout
    assert f"next: git show {culprit[:10]}" in done.stdout
    page = (tmp_path / "out.html").read_text()
    assert "change 4 of &lt;b&gt;mine&lt;/b&gt;" in page
    assert "<b>mine" not in page
    assert made.worktrees() == ["1 listed"]
    kept = {name: one for name, one in made.state().items() if name != "files"}
    assert kept == {name: one for name, one in before.items() if name != "files"}

    again = bisect(made, "HEAD~4")

    assert again.returncode == 0
    assert "measured before, kept in " in again.stdout
    assert " ...\n" not in again.stdout  # nothing was measured
    assert again.stdout.split("\n\n")[-1] == done.stdout.split("\n\n")[-1]


STEP = """
import ledger
import pytest
import torch

JOULES, EXTRA = 0.005, 0

@pytest.fixture
def energy_workload():
    weights = torch.rand(200, 200)

    def mine(batch):
        for _ in range(1 + EXTRA):
            weights @ weights
        ledger.spend(1000 * JOULES)

    return mine
"""

STEP_TEST = """
def test_mine(finetune, energy_gate):
    energy_gate.joules_per_token(finetune("sst2", batch_size=4))
"""


def test_the_culprits_operator_is_named_and_shown(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    made = ledger_repository(tmp_path)
    made.write(conftest=STEP, test_mine=STEP_TEST)
    made.commit("a step by torch")
    made.change("conftest", "0.005, 0", "0.007, 2")  # so much that no process may differ by it
    made.commit("more products")

    run = (*RUN_ONE, "--energy-tokens=500")
    done = bisect(made, "HEAD~1", "--json", "../out.json", "--html", "../out.html", run=run)

    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "out.json").read_text())
    (found,) = told["culprits"]
    (products,) = [row for row in found["profile"]["operators"] if row["name"] == "aten::mm"]
    assert (products["base_calls"], products["head_calls"]) == (1, 3)
    assert "`aten::mm` " in found["explanation"]
    assert "(1 -> 3 calls a step)" in done.stdout
    # The search itself spends no time on it.
    (end,) = [probe for probe in told["probes"] if probe["purpose"] == "ends"]
    assert "profiler" not in end["explanation"]
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "Time of a token by operator" in page
    assert "aten::mm" in page.partition('id="charts">')[0]


def test_no_change(tmp_path: Path) -> None:
    made = repository(tmp_path, [COSTS + "# as ever\n"])
    whole = f"{made.path / 'test_mine.py'}::test_mine"  # of the checkout, which is not measured

    done = bisect(made, "HEAD~1", run=["-p", "pytest_energy.plugin", whole])

    assert done.returncode == 1, done.stdout + done.stderr
    assert "not reproduced in " in done.stdout
    assert "the change is not there: the bad end differs by +0.0 % " in done.stdout
    assert "and +5.0 % is looked for (`--change`)" in done.stdout
    assert "tolerance" not in done.stdout  # of the probes' gates: nobody has asked for one
    assert "\nnext: name an older `--good`; if there is none, " in done.stdout


@pytest.mark.parametrize(
    ("bad", "code", "told", "change", "what"),
    [
        ("0.0045", 1, "not there: the bad end differs by -10.0 % ", "-10", "costs less"),
        (
            "0.005125",
            2,
            "cannot be told apart: the bad end differs by +2.5 % ",
            "2.5",
            "costs more",
        ),
    ],
)
def test_ends_that_are_not_as_they_were_thought_to_be(
    tmp_path: Path, bad: str, code: int, told: str, change: str, what: str
) -> None:
    made = repository(tmp_path, [])
    made.change("project", "gauss(1, 0.001)", "gauss(1, 0.00001)")
    made.commit("steady")
    (made.path / "lib" / "cost.py").write_text(f"JOULES = {bad}\n")
    made.commit("bad")

    done = bisect(made, "HEAD~1", "--json", "../out.json")

    assert done.returncode == code, done.stdout + done.stderr
    assert told in done.stdout
    step = f"the same command with `--change={change}`   # which commit {what}?"
    assert done.stdout.endswith(f"\nnext: {step}\n")
    document = json.loads((tmp_path / "out.json").read_text())
    assert (document["next"], document["asked"]) == (step, 0.05)


def test_a_search_that_was_ended_leaves_nothing_and_goes_on(tmp_path: Path) -> None:
    made = repository(tmp_path, [COSTS + HANGS, "JOULES = 0.0055\n"])
    log = tmp_path / "log"
    with log.open("w") as output:
        running = subprocess.Popen(
            command("HEAD~2"),
            cwd=made.path,
            env=made.variables,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        give_up = time.monotonic() + 240
        while "\nsearch: " not in log.read_text():
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.1)
        running.send_signal(signal.SIGTERM)
        code = running.wait(120)
    finally:
        running.kill()

    assert code == 128 + signal.SIGTERM
    assert made.worktrees() == ["1 listed"]
    (kept,) = (made.path / ".git" / "pytest-energy").iterdir()
    assert len(json.loads(kept.read_text())["findings"]) == 1

    kept.write_text(kept.read_text()[:-40])
    done = bisect(made, "HEAD~2")
    assert done.returncode == 4
    assert "begin anew with `--again`" in done.stderr


def test_a_probe_that_hangs_is_ended(tmp_path: Path) -> None:
    made = repository(tmp_path, [COSTS + HANGS])

    done = bisect(made, "HEAD~1", "--timeout", "5")

    assert done.returncode == 2, done.stdout + done.stderr
    assert "the ends cannot be compared: it took longer than 5 s (`--timeout`)" in done.stdout
    assert made.worktrees() == ["1 listed"]


def test_what_is_installed_from_the_checkout_is_not_measured(tmp_path: Path) -> None:
    """Else both sides would run the same code, and nothing would ever differ."""
    made = repository(tmp_path, ["JOULES = 0.0055\n"])
    hook = f"""
import importlib.util, sys

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "cost":
            return importlib.util.spec_from_file_location(name, {str(made.path / "lib/cost.py")!r})

sys.meta_path.insert(0, Finder)
"""
    (tmp_path / "site" / "sitecustomize.py").write_text(hook)

    done = bisect(made, "HEAD~1")

    assert done.returncode == 2, done.stdout + done.stderr
    assert "runs code of the other side: `cost` comes from " in done.stdout


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository of two commits on main and one on a branch, in which commands run."""
    made = Repository(tmp_path, {"TMPDIR": str(tmp_path)})
    made.write(mine="x = 1\n")
    made.commit("first")
    made.commit("second")
    made.git("branch", "side", "HEAD~1")
    made.git("switch", "--quiet", "side")
    made.commit("aside")
    made.git("switch", "--quiet", "main")
    monkeypatch.chdir(made.path)
    return made


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "`--good` is missing"),
        (["--good", "HEAD"], "are the same commit"),
        (["--good", "nowhere"], "`--good=nowhere` names no commit"),
        (["--good", "main", "--bad", "main~1"], "it is the other way round"),
        (["--good", "side"], "`--good=side` is no ancestor of `--bad=HEAD`"),
        (["--good", "main~1", "--change", "0"], "`--change=0` is out of range"),
        (["--good", "main~1", "--change=nan"], "`--change=nan` is out of range"),
        (["--good", "main~1", "--timeout=0"], "`--timeout=0` gives no time"),
        (["--good", "main~1", "--json", "."], "cannot be written (it is a folder)"),
        (["--good", "main~1", "--from-drift", "past"], "gives both ends"),
        (["--from-drift", "nowhere"], "nowhere"),
        (["--history", "nowhere"], "nowhere"),
    ],
)
def test_bad_input(
    plain: Repository, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main(["bisect", *arguments, "--", "test_mine.py"]) == 4
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (["--no-such-option"], "pytest refuses these arguments in `"),
        (["-k", "nothing_is_called_so", "."], "pytest finds no test in `"),
    ],
)
def test_arguments_that_pytest_refuses(tmp_path: Path, run: list[str], told: str) -> None:
    made = repository(tmp_path, [COSTS + "# as ever\n"])

    done = bisect(made, "HEAD~1", run=["-p", "pytest_energy.plugin", *run])

    assert done.returncode == 4, done.stdout + done.stderr
    assert told in done.stderr


def _history(folder: Path, commits: Sequence[str], at: int) -> None:
    """A history whose level rises by 10 % with the session `at`, of one commit and the next."""
    store = LocalStore(folder)
    for number, record in enumerate(records(changed(days(60), at, 1.1))):
        commit = commits[0] if number < at else commits[1]
        store.create(record.name, record.text.replace(f"{number:040x}", commit).encode())


def test_a_change_that_drift_has_dated(
    plain: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    """The probe itself fails, since the repository has no such test."""
    first, second = plain.git("rev-parse", "main~1"), plain.git("rev-parse", "main")
    _history(plain.path / "past", (first, second), 30)

    assert main(["bisect", "--from-drift", "past", "--", "test_mine.py"]) == 4

    captured = capsys.readouterr()
    assert "sst2/bert: +10." in captured.out
    assert f"1 commit after {first[:10]} first, to {second[:10]} second" in captured.out
    assert f"pytest refuses these arguments in `{second[:9]}`: " in captured.err


def test_a_change_between_sessions_of_one_commit_is_no_commits(
    plain: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    first = plain.git("rev-parse", "main~1")
    _history(plain.path / "past", (first, first), 30)

    assert main(["bisect", "--from-drift", "past"]) == 4
    assert "no commit made it" in capsys.readouterr().err
