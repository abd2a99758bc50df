"""Run the steps of a GitHub workflow here, with stand-ins for what a runner has."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
NAMES = sorted(path.name for path in FOLDER.glob("*.yml"))

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)

# Makes no environment and installs nothing: the tests' own interpreter plays every one of them.
_PYTHON = """#!/bin/sh
case "$1 $2" in
  "-m venv")
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" || exit
    printf '#!/bin/sh\\nexec {python} -c "%s" "$@"\\n' \\
      'import sys; from pytest_energy.cli import main; sys.exit(main())' > "$3/bin/pytest-energy"
    exec chmod +x "$3/bin/pytest-energy" ;;
  "-m pip") shift 2; echo "pip $*" >> "$CALLS"; exit ;;
esac
exec {python} "$@"
"""

# Names what it would run, and leaves the environment that its targets stand on.
_MAKE = """#!/bin/sh
echo "make $*" >> "$CALLS"
{make} --dry-run "$@" && python -m venv .venv
"""

# Writes down what it was asked; `issue list` and `api` answer with files of the test's.
_GH = """#!/bin/sh
echo "gh $*" >> "$CALLS"
for argument in "$@"; do
  case "$before" in --body-file|--input) cat "$argument" >> "$CALLS" ;; esac
  before="$argument"
done
case "$1 $2" in
  "issue list") if [ -f "$GH_ISSUES" ]; then cat "$GH_ISSUES"; fi ;;
  "api repos/"*|"api --paginate") cat "$GH_CONTENTS" ;;
esac
"""


def load(name: str) -> dict[str, Any]:
    """A workflow; its key `on` comes back as True, as YAML 1.1 has it."""
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return loaded


def steps(workflow: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step, with the name of its job."""
    for name, job in workflow["jobs"].items():
        for step in job.get("steps", ()):
            yield name, step


@dataclass
class Runner:
    """A machine that runs jobs in `workspace`; `values` are those of the expressions they use."""

    workspace: Path
    variables: Mapping[str, str]
    values: Mapping[str, str]
    outputs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        make = shutil.which("make")
        tools = {"python": _PYTHON, "python3": _PYTHON, "make": _MAKE, "gh": _GH}
        for name, text in tools.items():
            path = self._side("bin") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.format(python=sys.executable, make=make))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    @property
    def calls(self) -> str:
        """What pip, make and gh were asked, a line each."""
        path = self._side("calls")
        return path.read_text() if path.exists() else ""

    @property
    def summary(self) -> str:
        """What the steps wrote into the job summary."""
        return self._side("summary").read_text()

    def run_job(self, workflow: str, job: str) -> None:
        """Run a job's steps one by one; fails where one fails."""
        for step in load(workflow)["jobs"][job]["steps"]:
            if "uses" in step:
                self._use(step)
            else:
                done = self.run_step(step)
                assert done.returncode == 0, f"{step['name']}\n{done.stdout}\n{done.stderr}"

    def run_step(self, step: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
        """Run one step's commands as the runner does, with its environment."""
        assert "${{" not in step["run"], "an expression in a script is an injection"
        given = {name: self.resolve(str(text)) for name, text in step.get("env", {}).items()}
        output = self._side("output")
        output.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.workspace,
            env={**self._environment(), **given, "GITHUB_OUTPUT": str(output)},
            capture_output=True,
            text=True,
        )
        for line in output.read_text().splitlines():
            name, _, value = line.partition("=")
            self.outputs[f"steps.{step['id']}.outputs.{name}"] = value
        return done

    def resolve(self, text: str) -> str:
        """Replace each expression by its value; one without a value fails the test."""
        known = {**self.values, **self.outputs}
        return _EXPRESSION.sub(lambda match: known[" ".join(match[1].split())], text)

    def _use(self, step: Mapping[str, Any]) -> None:
        action = step["uses"].partition("@")[0]
        artifact = self._side("artifact")
        if action == "actions/upload-artifact":
            source = self.workspace / step["with"]["path"]
            assert any(source.iterdir()), f"nothing to upload in `{source.name}`"
            shutil.copytree(source, artifact, dirs_exist_ok=True)
        elif action == "actions/download-artifact":
            shutil.copytree(artifact, self.workspace / step["with"]["path"], dirs_exist_ok=True)
        else:
            assert action in ("actions/checkout", "actions/setup-python")

    def _environment(self) -> dict[str, str]:
        return {
            **self.variables,
            "PATH": f"{self._side('bin')}{os.pathsep}{os.environ['PATH']}",
            "CI": "true",
            "CALLS": str(self._side("calls")),
            "GH_ISSUES": str(self._side("issues")),
            "GH_CONTENTS": str(self._side("contents")),
            "GITHUB_STEP_SUMMARY": str(self._side("summary")),
        }

    def _side(self, name: str) -> Path:
        return self.workspace.parent / f"{self.workspace.name}-{name}"
