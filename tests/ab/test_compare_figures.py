"""What an A/B compares besides a plain J/token: savings, real tokens, settings of the work."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ab_support import Repository, ledger_repository
from pytest_energy.baselines import Header, Recording, StoredSession
from pytest_energy.baselines import writing as recording
from pytest_energy.files import write_atomically

TESTS = """
import ledger
import pytest
from project import HEAD, Run


class Padded(Run):
    settings = {"task": "sst2", "model": "tiny", "padding": "fixed" if HEAD else "dynamic"}


class Lighter(Run):
    digest = "head" if HEAD else "base"


def test_worse_padding(energy, energy_gate):
    energy_gate.check(
        "joules_per_token", Padded(energy.meter, padding_overhead=2.2 if HEAD else 2.0)
    )


def test_less(energy, energy_gate):
    energy_gate.check("joules_per_token", Lighter(energy.meter, joules=0.0045 if HEAD else 0.005))


@pytest.mark.energy(max_joules=0.001)
def test_two_checks(energy, energy_gate):
    first = energy_gate.check("joules_per_token", Run(energy.meter, "mine/first"))
    assert first.outcome == "within" and first.comparison is not None
    energy_gate.check(
        "savings",
        Run(energy.meter, "sst2/large"),
        Run(energy.meter, "sst2/small", joules=0.0027 if HEAD else 0.0025),
    )


@pytest.mark.energy(max_joules=5.0)
def test_without_a_gate(energy):
    with energy.window("alone"):
        ledger.spend(1.0)
"""


NEIGHBOUR = """
def pytest_runtest_makereport(item):
    assert item.funcargs.get("benchmark") is None
"""
"""As pytest-benchmark 5.0.0 looks at all items, of which each test is one."""


def verdicts(report: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in json.loads(report.read_text())["verdicts"]}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return ledger_repository(tmp_path)


def test_savings_padding_and_improvements_are_compared(repository: Repository) -> None:
    repository.change("project", "JOULES =", "HEAD = False\nJOULES =")
    repository.write(test_mine=TESTS, neighbour=NEIGHBOUR)
    repository.commit()
    repository.change("project", "HEAD = False", "HEAD = True")
    report = repository.path.parent / "report.json"

    done = repository.pytest("-p", "neighbour", "--energy-compare=HEAD", f"--energy-json={report}")

    assert "2 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    rows = json.loads(report.read_text())["verdicts"]
    padded, less, first, savings = (row for row in rows if row["comparison"])
    for row in (padded, less, first):
        sides = row["comparison"]["base"], row["comparison"]["head"]
        took = [side["joules_per_token"] * side["padding_overhead"] for side in sides]
        assert took[1] / took[0] - 1 == pytest.approx(row["change"])
        assert row["value"] / row["baseline"] - 1 == pytest.approx(row["change"])
        percent = round(100 * row["change"], 1) + 0.0  # -0.0 is written as +0.0
    assert row["explanation"].startswith(f"{percent:+.1f} % J/")
    assert savings["value"] - savings["baseline"] == pytest.approx(savings["change"])
    assert padded["comparison"]["pairs"][0] == pytest.approx([0.010, 0.011], rel=0.01)
    assert (padded["verdict"], padded["metric"]) == ("regression", "joules_per_real_token")
    assert padded["change"] == pytest.approx(0.10, abs=0.005)
    assert "padding dynamic -> fixed" in padded["explanation"]
    # Nothing is stored of a base, so that nothing has to be locked in.
    assert (less["verdict"], less["fails"]) == ("improvement", False)
    assert "workload base -> head" in less["explanation"]
    assert "Nothing to do." in less["reason"]
    assert "--energy-update" not in done.stdout
    assert (first["id"], first["verdict"]) == ("mine/first", "within")
    assert (savings["id"], savings["verdict"]) == ("sst2/large-small", "regression")
    assert savings["change"] == pytest.approx(-0.04, abs=0.003)
    assert savings["baseline"] == pytest.approx(0.5, abs=0.003)
    assert "46.0 % saved against 5" in savings["reason"]
    assert "-4.0 points" in savings["reason"]
    last = savings["trace"][-1]
    assert last["change"] == pytest.approx(savings["change"], abs=0.001)
    assert last["changed"][0] < 0 < last["changed"][1]
    assert padded["changed_environment"] == {"padding": ["dynamic", "fixed"]}


SETTLED = """
from project import Run

def test_mine(energy, energy_gate):
    first = energy_gate.check("joules_per_token", Run(energy.meter, "mine/quiet", joules=0.005))
    assert first.value is not None
    energy_gate.check("joules_per_token", Run(energy.meter, "mine/restless"))
"""

QUIET = (-0.002, 0.001, -0.001, 0.002, 0.0, 0.001, -0.002, 0.001)
RESTLESS = (-0.03, 0.02, -0.01, 0.03, 0.0, 0.02, -0.03, 0.01)


def store_baseline(repository: Repository) -> None:
    header = Header("h200", ("NVIDIA H200*",), 250_000)
    items = [
        Recording(
            "joules_per_token",
            name,
            "0badcafe",
            StoredSession(
                f"2026-11-{day}T08:00:00+00:00",
                windows=10,
                mean=0.005 * (1 + offset),
                cv=0.001,
                padding_overhead=2.0,
            ),
            {},
            0.02,
            0.05,
        )
        for name, offsets in (("mine/quiet", QUIET), ("mine/restless", RESTLESS))
        for day, offset in enumerate(offsets, start=10)
    ]
    path = repository.path / "baselines" / "h200.toml"
    write_atomically(path, recording.updated(None, header, items, "append"))


def test_pairs_settle_what_a_restless_baseline_leaves_open(repository: Repository) -> None:
    repository.write(test_mine=SETTLED)
    store_baseline(repository)
    repository.commit()
    report = repository.path.parent / "report.json"
    repository.change("project", "0.005", "0.0053")

    open_ = repository.pytest("--energy-hw=h200", f"--energy-json={report}")
    left_open = verdicts(report)["mine/restless"]
    worse = repository.pytest("--energy-hw=h200", "--energy-settle=HEAD", f"--energy-json={report}")
    settled = verdicts(report)

    assert open_.returncode == 0
    assert left_open["verdict"] == "inconclusive"
    assert "`--energy-settle=auto`" in left_open["reason"]
    assert worse.returncode == 1, worse.stdout + worse.stderr
    # An earlier check of the test was settled on its own; it is not asked again.
    assert settled["mine/quiet"]["verdict"] == "within"
    assert settled["mine/quiet"]["comparison"]["settles"]
    found = settled["mine/restless"]
    assert (found["verdict"], found["comparison"]["settles"]) == ("regression", True)
    assert found["change"] == pytest.approx(0.06, abs=0.003)
    left = found["comparison"]["left_open"]
    assert left["change"] == pytest.approx(left_open["change"], abs=0.003)
    assert left["value"] / left["baseline"] - 1 == pytest.approx(left["change"])
    assert "It was open against the baseline: 5.3" in found["reason"]
    assert "pairs say nothing of what changed before `HEAD (" in found["reason"]
    assert "against the baseline 5.3" in worse.stdout
    assert "mine/restless settled against HEAD (" in worse.stdout


PADDED = """
from project import Run

def test_mine(energy, energy_gate):
    energy_gate.check("joules_per_token", Run(energy.meter, "mine/restless", padding_overhead=2.06))
"""


def test_what_is_open_on_real_tokens_is_settled_as_well(repository: Repository) -> None:
    repository.write(test_mine=PADDED)
    store_baseline(repository)
    repository.commit()
    report = repository.path.parent / "report.json"

    repository.pytest("--energy-hw=h200", f"--energy-json={report}")
    left_open = verdicts(report)["mine/restless"]
    done = repository.pytest("--energy-hw=h200", "--energy-settle=HEAD", f"--energy-json={report}")

    assert (left_open["verdict"], left_open["metric"]) == ("inconclusive", "joules_per_real_token")
    assert "1 passed" in done.stdout, done.stdout
    found = verdicts(report)["mine/restless"]
    # Both sides pad alike, so that it was not this change that padded more.
    assert (found["verdict"], found["metric"]) == ("within", "joules_per_token")
    assert found["comparison"]["settles"]


def test_nothing_is_settled_by_other_work(repository: Repository) -> None:
    inside = "'inside' if 'ab_side' in sys.argv[0] else '0badcafe'"
    repository.write(test_mine=f"{SETTLED}\nimport sys\n\nRun.digest = {inside}\n")
    store_baseline(repository)
    repository.commit()

    done = repository.pytest("--energy-hw=h200", "--energy-settle=HEAD")

    assert "inconclusive" in done.stdout
    text = "It could not be settled: the head (`working tree`) does other work: `inside`, where"
    assert text in done.stdout, done.stdout


def test_what_cannot_be_settled_stays_open_and_says_why(repository: Repository) -> None:
    repository.commit()
    repository.write(test_mine=SETTLED)
    store_baseline(repository)
    (repository.path / "test_mine.py").rename(repository.path / "test_new.py")

    done = repository.pytest("--energy-hw=h200", "--energy-settle=HEAD")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "mine/restless: inconclusive." in done.stdout
    assert "It could not be settled: the base (`HEAD (" in done.stdout


SEVERAL = """
def test_mine(finetune, energy_gate):
    energy_gate.check("joules_per_token", finetune("sst2", processes=2))
"""


def test_a_run_of_several_processes_is_refused_at_once(repository: Repository) -> None:
    pytest.importorskip("torch")
    repository.write(test_mine=SEVERAL)
    repository.commit()

    done = repository.pytest("--energy-compare=HEAD", "-W", "default")

    assert "1 failed" in done.stdout, done.stdout
    assert "a run of several processes cannot be compared by A/B" in done.stdout


ELSEWHERE = """
def test_mine(finetune, energy_gate):
    energy_gate.check("joules_per_token", finetune("sst2", device="cpu"))
"""


def test_a_side_that_computes_elsewhere_than_on_what_is_metered_is_refused(
    repository: Repository,
) -> None:
    pytest.importorskip("torch")
    repository.write(test_mine=ELSEWHERE)
    repository.commit()

    done = repository.pytest("--energy-compare=HEAD", "-W", "default")

    assert "1 failed" in done.stdout, done.stdout
    assert "computes on the CPU, and what is metered is `gpu:0` (NVIDIA H200)" in done.stdout


CLAIMING = """
from project import Run


def test_mine(energy, energy_gate, energy_claim):
    energy_gate.check("joules_per_token", Run(energy.meter))
    energy_claim.figure("score", 0.5, at_least=0.4, doubt="the model did not learn")
"""


def test_a_claim_is_not_judged_in_a_side(repository: Repository) -> None:
    repository.write(test_mine=CLAIMING)
    repository.commit()
    repository.variables["CI"] = "1"
    report = repository.path / "run.json"

    done = repository.pytest("--energy-compare=HEAD", f"--energy-json={report}")

    assert done.returncode == 0, done.stdout
    rows = json.loads(report.read_text())["verdicts"]
    assert [row["verdict"] for row in rows] == ["within"]


def test_every_report_says_that_auto_is_the_commit_before(repository: Repository) -> None:
    before = repository.git("rev-parse", "HEAD")[:9]
    repository.change("project", "JOULES = 0.005", "JOULES = 0.0055")
    repository.commit("costlier")
    told = repository.path.parent / "report"
    paths = [f"--energy-{kind}={told}.{kind}" for kind in ("json", "markdown", "html")]

    done = repository.pytest("--energy-compare=auto", *paths)

    (row,) = json.loads(Path(f"{told}.json").read_text())["verdicts"]
    assert row["comparison"]["reference"] == f"the commit before ({before})"
    assert f"The base is `the commit before ({before})`." in row["reason"]
    (note, *_) = row["comparison"]["notes"]
    assert "not a merge base" in note
    assert "only a stored baseline sees that" in note
    assert re.search(r"^benchmark +value +base +change +verdict", done.stdout, re.MULTILINE)
    assert note in done.stdout
    text = Path(f"{told}.markdown").read_text()
    assert "| verdict | benchmark | value | base | change |" in text
    assert f"<code>the commit before ({before})</code>" in text
    assert "only a stored baseline sees that." in text
    page = Path(f"{told}.html").read_text()
    assert '<th scope="col" class="number">base</th>' in page
    assert "only a stored baseline sees that." in page
