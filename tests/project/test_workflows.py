"""The workflows: what they may do, and that every step's commands run, on a simulated card."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sim

pytest.importorskip("yaml", reason="workflows are read with PyYAML, of the extra `dev`")

from doc_pages import blocks
from expressions import evaluate
from planted import days, records
from pytest_energy.history.store import LocalStore
from pytest_energy.plugin.options import OPTIONS
from pytest_energy.results import RunRecord, VerdictRecord
from pytest_energy.results.json_codec import write
from workflows import FOLDER, NAMES, ROOT, Runner, load, steps

SELF_HOSTED = ["energy-drift.yml", "energy-gate.yml", "update-baselines.yml"]
HARDWARE = "simulated"
VALUES = {
    "inputs.hw": HARDWARE,
    "inputs.hw || vars.ENERGY_HW": HARDWARE,
    "vars.ENERGY_HW": HARDWARE,
    "inputs.data": "synthetic",
    "inputs.data || 'synthetic'": "synthetic",
    "inputs.tests": "benchmarks/",
    "inputs.tests || 'benchmarks/'": "benchmarks/",
    "inputs.install || '.[all]'": ".[all]\n\npeft\n",
    "inputs.mode": "new",
    "matrix.pytest": "pinned",
    "github.token": "none",
    "github.repository": "mine/project",
    "github.server_url": "https://example.org",
    "github.run_id": "7",
    "github.run_attempt": "1",
    "github.ref_name": "main",
    "github.sha": "0123456789",
    "join(needs.*.result, ' ')": "success success success",
}

# J/token does not depend on how busy the machine is: tokens are counted by the clock.
BENCHMARK = """
import time
from dataclasses import replace

import pytest_energy


class Run:
    id, digest, padding_overhead = "mine/model", "0badcafe", None

    def __init__(self, meter):
        self.meter = meter

    def window(self):
        with pytest_energy.window(self.meter, self.id) as w:
            time.sleep(0.3)
        tokens = round(100_000 * w.seconds)
        return replace(w.record, tokens=tokens, real_tokens=tokens)


def test_mine(energy, energy_gate):
    energy_gate.check("joules_per_token", Run(energy.meter))
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of a project that has these workflows, with one quick benchmark and one test."""
    folder = tmp_path_factory.mktemp("runner")
    origin, clone = folder / "origin", folder / "work"
    ignore = shutil.ignore_patterns("__pycache__")
    for name in (".github", "pytest_energy"):
        shutil.copytree(ROOT / name, origin / name, ignore=ignore)
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, origin / name)
    for name in ("benchmarks/test_mine.py", "tests/test_mine.py"):
        (origin / name).parent.mkdir()
        (origin / name).write_text(BENCHMARK if name[0] == "b" else "def test_mine(): pass\n")
    (origin / ".gitignore").write_text((ROOT / ".gitignore").read_text() + "/energy/\n")
    _git(origin, "init", "-q", "-b", "main")
    _git(origin, "add", "-A")
    _git(origin, "commit", "-q", "-m", "one")
    _git(folder, "clone", "-q", str(origin), str(clone))
    return clone


@pytest.fixture
def runner(workspace: Path) -> Runner:
    """A runner with one simulated card, on which nothing has been called yet."""
    for left in workspace.parent.glob("work-*"):
        if left.is_file():
            left.unlink()
    return _runner(workspace)


def _runner(workspace: Path) -> Runner:
    card = sim.SimulatedGpu("constant 300", tick_seconds=0.02)
    variables = sim.environment([card], workspace.parent / "gpu")
    values = {**VALUES, "vars.ENERGY_HISTORY": str(workspace.parent / "history")}
    return Runner(workspace, variables, values)


def _git(folder: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments]
    subprocess.run(command, cwd=folder, check=True)


def _triggers(name: str) -> dict[str, Any]:
    found: dict[Any, Any] = load(name)
    return {str(key): value for key, value in found[True].items()}


@pytest.mark.parametrize("name", NAMES)
def test_no_right_is_given_that_a_job_does_not_name(name: str) -> None:
    workflow = load(name)

    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        rights = job["permissions"]
        assert job["timeout-minutes"] <= 240
        if "self-hosted" in job["runs-on"]:
            assert rights == {"contents": "read"}


@pytest.mark.parametrize("name", NAMES)
def test_foreign_code_is_pinned_and_keeps_no_credentials(name: str) -> None:
    pinned = r"\s+(?:- )?uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+"
    for line in (FOLDER / name).read_text().splitlines():
        assert "uses:" not in line or re.fullmatch(pinned, line), line
    for _, step in steps(load(name)):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("name", NAMES)
def test_no_event_runs_foreign_code_with_rights(name: str) -> None:
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & _triggers(name).keys()
    for _, step in steps(load(name)):
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("name", SELF_HOSTED)
def test_one_job_a_gpu_and_none_is_cancelled(name: str) -> None:
    (job,) = [j for j in load(name)["jobs"].values() if "self-hosted" in j["runs-on"]]

    key = job["runs-on"][4]
    assert job["runs-on"] == ["self-hosted", "linux", "x64", "gpu", key, "energy"]
    assert job["concurrency"] == {
        "group": f"energy-{key}",
        "queue": "max",
        "cancel-in-progress": False,
    }


OWN = {"head": {"repo": {"full_name": "mine/project"}}, "labels": [{"name": "energy"}]}
FORK = {"head": {"repo": {"full_name": "else/project"}}, "labels": [{"name": "energy"}]}


@pytest.mark.parametrize(
    ("event", "pull_request", "variables", "runs", "environment"),
    [
        ("merge_group", None, {}, True, "energy"),
        ("workflow_dispatch", None, {}, True, "energy"),
        ("pull_request", OWN, {}, True, "energy"),
        ("pull_request", {**OWN, "labels": []}, {}, False, "energy"),
        ("pull_request", FORK, {}, False, "energy"),
        ("pull_request", FORK, {"ENERGY_FORK_ENVIRONMENT": "reviewed"}, True, "reviewed"),
        ("pull_request", OWN, {"ENERGY_FORK_ENVIRONMENT": "reviewed"}, True, "energy"),
        ("pull_request_target", FORK, {"ENERGY_FORK_ENVIRONMENT": "x"}, False, "energy"),
        ("issue_comment", None, {}, False, "energy"),
        ("workflow_run", None, {}, False, "energy"),
    ],
)
def test_nothing_of_a_fork_runs_without_an_approval(
    event: str,
    pull_request: dict[str, Any] | None,
    variables: dict[str, str],
    runs: bool,
    environment: str,
) -> None:
    measure = load("energy-gate.yml")["jobs"]["measure"]
    contexts = {
        "github": {
            "event_name": event,
            "repository": "mine/project",
            "event": {"pull_request": pull_request},
        },
        "vars": {"ENERGY_HW": "h200", **variables},
        "inputs": {},
    }

    assert bool(evaluate(measure["if"], contexts)) == runs
    named = measure["environment"].removeprefix("${{").removesuffix("}}")
    assert evaluate(named, contexts) == environment


def test_without_a_hardware_nothing_waits_for_a_runner() -> None:
    condition = load("energy-gate.yml")["jobs"]["measure"]["if"]
    contexts = {"github": {"event_name": "merge_group"}, "vars": {}, "inputs": {}}

    assert not evaluate(condition, contexts)
    assert evaluate(condition, {**contexts, "inputs": {"hw": "h200"}})


def test_the_gate_is_reusable_and_runs_before_merges() -> None:
    triggers = _triggers("energy-gate.yml")

    assert {"hw", "data", "ref"} <= triggers["workflow_call"]["inputs"].keys()
    assert triggers.keys() == {"merge_group", "pull_request", "workflow_call"}
    # A required check that an event does not start is waited for without end.
    assert {"opened", "synchronize", "reopened", "labeled"} == set(
        triggers["pull_request"]["types"]
    )


@pytest.mark.parametrize(
    ("result", "event", "labelled", "code"),
    [
        ("success", "merge_group", "false", 0),
        ("skipped", "pull_request", "false", 0),
        ("skipped", "pull_request", "true", 1),
        ("skipped", "merge_group", "false", 1),
        ("failure", "pull_request", "true", 1),
        ("cancelled", "merge_group", "false", 1),
    ],
)
def test_the_required_check_looks_at_the_measurement(
    runner: Runner, result: str, event: str, labelled: str, code: int
) -> None:
    job = load("energy-gate.yml")["jobs"]["gate"]
    runner.values = {
        "needs.measure.result": result,
        "github.event_name": event,
        "contains(github.event.pull_request.labels.*.name, 'energy')": labelled,
    }

    assert (job["if"], job["needs"]) == ("always()", "measure")
    assert runner.run_step(job["steps"][0]).returncode == code


@pytest.mark.parametrize(
    ("results", "code"), [("success success success success", 0), ("success", 1)]
)
def test_the_required_check_of_ci(runner: Runner, results: str, code: int) -> None:
    job = load("ci.yml")["jobs"]["ci"]
    runner.values = {"join(needs.*.result, ' ')": results}

    assert (job["if"], set(job["needs"])) == ("always()", load("ci.yml")["jobs"].keys() - {"ci"})
    assert runner.run_step(job["steps"][0]).returncode == code


def test_supported_pythons_and_both_ends_of_packages_are_tested() -> None:
    matrix = load("ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())

    assert matrix["python"] == classifiers
    ends = [(row["python"], row["packages"]) for row in matrix["include"]]
    assert ends[:2] == [(classifiers[0], "lowest"), (classifiers[-1], "newest")]
    # A Python that the pinned packages do not have yet is tested before it is promised.
    assert {packages for _, packages in ends[2:]} <= {"newest"}


def test_ci_runs(runner: Runner) -> None:
    runner.run_job("ci.yml", "lint")
    for packages in ("pinned", "newest", "lowest"):
        runner.values = {**VALUES, "matrix.packages": packages, "matrix.python": "3.12"}
        runner.run_job("ci.yml", "test")

    calls = runner.calls.splitlines()
    assert calls[0].startswith("make lint")
    assert [call.split()[1] for call in calls[1:4]] == ["test", "floors-newest", "floors-lowest"]


def test_the_package_is_built_and_checked(runner: Runner, workspace: Path) -> None:
    for module in ("build", "hatchling", "hatch_fancy_pypi_readme", "hatch_vcs", "twine"):
        pytest.importorskip(module, reason=f"`{module}` is of the extra `dev`")

    runner.run_job("ci.yml", "package")

    (wheel,) = (workspace / "dist").glob("*.whl")
    (workspace / "pytest_energy" / "left_out.py").write_text("")
    command = [sys.executable, ".github/scripts/check_wheel.py", str(wheel)]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True)
    (workspace / "pytest_energy" / "left_out.py").unlink()
    assert done.returncode == 1
    assert "`pytest_energy/left_out.py` is missing" in done.stdout


@pytest.fixture(scope="module")
def recorded(workspace: Path) -> str:
    """The job summary of a recording on the runner, whose baseline is committed."""
    runner = _runner(workspace)
    runner.run_job("update-baselines.yml", "record")
    _git(workspace, "add", "-A")
    _git(workspace, "commit", "-q", "-m", "two")
    return runner.summary


def test_what_is_recorded_by_hand_is_proposed(runner: Runner, recorded: str) -> None:
    runner.run_job("update-baselines.yml", "propose")

    assert "+++ b/baselines/simulated.toml" in recorded
    assert "refs/heads/energy/baselines-simulated-7-1" in runner.calls
    assert "gh pr create --base main" in runner.calls
    (line,) = [line for line in runner.calls.splitlines() if line.startswith('{"branch"')]
    content = base64.b64decode(json.loads(line)["content"])
    assert content == (runner.workspace / "baselines" / "simulated.toml").read_bytes()


def test_the_gate_runs(runner: Runner, recorded: str) -> None:
    runner.run_job("energy-gate.yml", "measure")

    assert "pip install --quiet .[all] peft --constraint constraints.txt" in runner.calls
    verdict = json.loads((runner.workspace / "energy" / "run.json").read_text())["verdicts"][0]
    assert verdict["verdict"] in ("within", "inconclusive")
    assert "mine/model" in runner.summary


def test_a_night_that_could_not_be_recorded_fails(runner: Runner, recorded: str) -> None:
    unsent = runner.workspace / ".pytest_cache" / "d" / "energy" / "unsent"
    unsent.mkdir(parents=True)
    (unsent / "record.json").write_text("{}")
    steps = load("energy-drift.yml")["jobs"]["measure"]["steps"]
    (step,) = [step for step in steps if step.get("name", "").startswith("Measure")]

    done = runner.run_step(step)
    shutil.rmtree(unsent)

    assert done.returncode == 1
    assert (runner.workspace / "energy" / "unsent" / "record.json").exists()


def test_the_nightly_session_runs(runner: Runner, recorded: str) -> None:
    runner.run_job("energy-drift.yml", "measure")
    runner.outputs["needs.measure.outputs.drift"] = runner.outputs["steps.drift.outputs.code"]
    runner.run_job("energy-drift.yml", "issue")

    assert runner.outputs["steps.drift.outputs.code"] == "2"  # one session says nothing
    assert any((runner.workspace.parent / "history").rglob("*.json"))
    assert "gh issue create" not in runner.calls


def _look_for_drift(runner: Runner) -> tuple[int, str]:
    (step,) = [
        step
        for step in load("energy-drift.yml")["jobs"]["measure"]["steps"]
        if step.get("name") == "Look for drift"
    ]
    (runner.workspace / "energy").mkdir(exist_ok=True)
    done = runner.run_step(step)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def command(runner: Runner) -> Path:
    """Where the nightly job has its command."""
    subprocess.run(
        ["python3", "-m", "venv", ".venv"],
        cwd=runner.workspace,
        env={**os.environ, "PATH": f"{runner.workspace.parent}/work-bin:{os.environ['PATH']}"},
        check=True,
    )
    return runner.workspace / ".venv" / "bin" / "pytest-energy"


@pytest.mark.parametrize("damage", ['"session": []', '"commit": {}', '"hardware": [[]]'])
def test_a_damaged_record_is_told_and_is_no_drift(
    runner: Runner, command: Path, damage: str
) -> None:
    store = LocalStore(runner.workspace.parent / f"history-{damage[1:4]}")
    for record in records(days(30)):
        store.create(record.name, record.text.encode())
    name = damage.partition(":")[0]
    text = re.sub(f'{name}:("[^"]*"|{{.*?}}\\]}})', damage, record.text, count=1)
    store.create("h200/damaged.json", text.encode())
    values = {**VALUES, "vars.ENERGY_HISTORY": store.url, "vars.ENERGY_HW": "h200"}
    runner.values = values

    code, said = _look_for_drift(runner)

    assert code == 0, said
    assert damage in text
    assert "warning: `h200/damaged.json`: damaged: " in said
    assert runner.outputs["steps.drift.outputs.code"] == "0"
    assert "h200/damaged.json" in runner.summary
    ended, calls = _drift_issue(runner, runner.outputs["steps.drift.outputs.code"])
    assert ended == 0
    assert not [call for call in calls if "issue create" in call or "issue edit" in call]


@pytest.mark.parametrize("ended", [1, 3])
def test_a_command_without_an_answer_is_an_error_and_no_drift(
    runner: Runner, command: Path, ended: int
) -> None:
    command.write_text(f"#!/bin/sh\necho Traceback >&2\nexit {ended}\n")

    code, said = _look_for_drift(runner)

    assert code == 4
    assert f"::error::pytest-energy drift gave no answer (code {ended})" in said
    assert "steps.drift.outputs.code" not in runner.outputs
    assert "needs" in load("energy-drift.yml")["jobs"]["issue"]  # it does not run without


@pytest.mark.parametrize(
    "workflow", ["energy-gate.yml", "energy-drift.yml", "update-baselines.yml"]
)
def test_workflows_ask_for_options_that_there_are(workflow: str) -> None:
    text = (FOLDER / workflow).read_text()
    asked = set(re.findall(r" (--energy-[a-z-]+)", text))
    assert asked
    assert asked <= {option.flag for option in OPTIONS}


def _drift_issue(runner: Runner, code: str, key: str = "h200") -> tuple[int, list[str]]:
    report = runner.workspace.parent / "drift.txt"
    report.write_text("J/token +4.1 % since 0123abc\n````````\n@everyone `x`\n")
    command = [".github/scripts/drift-issue.sh", code, key, str(report), "https://example.org/7"]
    done = runner.run_step({"run": " ".join(command)})
    return done.returncode, runner.calls.splitlines()


def test_drift_opens_one_issue(runner: Runner) -> None:
    code, calls = _drift_issue(runner, "1")

    assert code == 0
    assert "gh issue create --title Energy drift on h200 --label energy-drift" in "\n".join(calls)
    assert "J/token +4.1 % since 0123abc" in calls
    opened, closed = (place for place, line in enumerate(calls) if line.startswith("`" * 8))
    assert opened < calls.index("@everyone `x`") < closed


def test_drift_that_lasts_updates_the_issue_and_then_closes_it(runner: Runner) -> None:
    (runner.workspace.parent / "work-issues").write_text("12\n")

    assert _drift_issue(runner, "1")[0] == 0
    code, calls = _drift_issue(runner, "0")

    assert code == 0
    text = "\n".join(calls)
    assert "gh issue edit 12 --body-file" in text
    assert "gh issue comment 12 --body Still there: https://example.org/7" in text
    assert "gh issue close 12 --comment" in text
    assert "gh issue create" not in text


@pytest.mark.parametrize(("answer", "code"), [("0", 0), ("2", 0), ("3", 4)])
def test_no_drift_opens_nothing(runner: Runner, answer: str, code: int) -> None:
    ended, calls = _drift_issue(runner, answer)

    assert ended == code
    assert [call.split()[:3] for call in calls] == [["gh", "issue", "list"]]


def test_a_key_that_is_none_reaches_no_command(runner: Runner) -> None:
    code, calls = _drift_issue(runner, "1", "'h200\"; x'")

    assert (code, calls) == (4, [])


@pytest.mark.parametrize("text", ["schema = 1\n[hardware]\nkey = 'other'\n", "not TOML"])
def test_only_a_baseline_is_proposed(runner: Runner, text: str) -> None:
    folder = runner.workspace.parent / "foreign"
    folder.mkdir(exist_ok=True)
    (folder / "baseline.toml").write_text(text)
    (folder / "baselines.diff").write_text("+\n")
    (step,) = [s for _, s in steps(load("update-baselines.yml")) if "Open a" in s.get("name", "")]

    done = runner.run_step({**step, "run": step["run"].replace("energy", str(folder))})

    assert done.returncode != 0
    assert "gh pr create" not in runner.calls
    assert "--method PUT" not in runner.calls


@pytest.mark.parametrize("page", ["ci.md", "ci-on-a-cpu.md"])
def test_the_examples_of_the_guide_pass_the_linters(page: str, tmp_path: Path) -> None:
    examples = [b.text for b in blocks(ROOT / "docs" / page) if b.language == "yaml"]
    paths = [tmp_path / f"example{number}.yml" for number, _ in enumerate(examples)]
    for path, example in zip(paths, examples, strict=True):
        path.write_text(example)
    names = [str(path) for path in paths]
    commands = [["zizmor", "--offline", *names]] + [
        ["check-jsonschema", "--builtin-schema", schema, *names]
        for schema in ("vendor.github-workflows", "custom.github-workflows-require-timeout")
    ]

    assert names
    for command in commands:
        tool = Path(sys.executable).with_name(command[0])
        if not tool.exists():
            pytest.skip(f"`{command[0]}` is of the extra `dev`")
        done = subprocess.run([tool, *command[1:]], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def commented(runner: Runner) -> Runner:
    """The job that comments, after a run whose record is in its artifact."""
    runner.values = {
        **runner.values,
        "github.token": "t0",
        "github.repository": "me/mine",
        "github.event.pull_request.number": "12",
        "github.server_url": "https://example.org",
        "github.run_id": "7",
    }
    (runner.workspace / "energy").mkdir(exist_ok=True)
    _side(runner, "contents").write_text("")
    return runner


def _side(runner: Runner, name: str) -> Path:
    return runner.workspace.parent / f"{runner.workspace.name}-{name}"


def _comment(runner: Runner, *verdicts: VerdictRecord) -> tuple[int, str]:
    write(runner.workspace / "energy" / "run.json", RunRecord({"key": "h200"}, {}, verdicts), None)
    install, say = load("energy-gate.yml")["jobs"]["comment"]["steps"][-2:]
    assert runner.run_step(install).returncode == 0
    done = runner.run_step(say)
    return done.returncode, runner.calls


REGRESSION = VerdictRecord(
    "a/b @everyone", "joules_per_token", outcome="regression", value=0.005, fails=True
)


def test_a_pull_request_is_told_what_is_not_within(commented: Runner) -> None:
    code, calls = _comment(commented, REGRESSION)

    assert code == 0
    assert "gh api --method POST repos/me/mine/issues/12/comments --input" in calls
    assert "<!-- pytest-energy -->" in calls
    assert "@everyone" not in calls
    assert "https://example.org/me/mine/actions/runs/7" in calls


def test_the_comment_is_found_again_and_kept_up_to_date(commented: Runner) -> None:
    _side(commented, "contents").write_text("345\n")

    _, calls = _comment(commented, REGRESSION)
    assert "gh api --method PATCH repos/me/mine/issues/comments/345 --input" in calls
    _, calls = _comment(commented, replace(REGRESSION, outcome="within", fails=False))

    assert calls.count("--method PATCH") == 2
    assert "Every figure is within what is allowed again." in calls
    assert "--method POST" not in calls


def test_nothing_is_said_where_all_is_within(commented: Runner) -> None:
    code, calls = _comment(commented, replace(REGRESSION, outcome="within", fails=False))

    assert code == 0
    assert "--method" not in calls


def test_a_number_that_is_none_reaches_no_command(commented: Runner) -> None:
    commented.values = {**commented.values, "github.event.pull_request.number": "1; x"}

    assert _comment(commented, REGRESSION)[0] == 4
    assert "gh api" not in commented.calls


def test_what_comments_runs_nothing_of_the_pull_request() -> None:
    job = load("energy-gate.yml")["jobs"]["comment"]

    assert "head.repo.full_name == github.repository" in job["if"]
    checkout = job["steps"][0]["with"]
    assert checkout["repository"] == "${{ job.workflow_repository }}"
    assert "pull_request.head" not in checkout["ref"]
    assert "self-hosted" not in job["runs-on"]
