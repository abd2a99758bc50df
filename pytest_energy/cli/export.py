"""`pytest-energy export`: a run's figures in the format of a tool that keeps them over time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pytest_energy.errors import EnergyError
from pytest_energy.files import write_atomically
from pytest_energy.reports import asv
from pytest_energy.reports import exports as bencher
from pytest_energy.reports import exports as github_action_benchmark
from pytest_energy.reports.exports import ExportedRun, read


def run(record: Path, form: str, output: Path | None, commit: str) -> int:
    """Write the figures of a `--energy-json` document; what has none is named on stderr."""
    exported = read(record)
    if form == "asv":
        _write_asv(exported, output, commit)
    else:
        document: object = (
            bencher.metrics(exported)
            if form == "bencher"
            else github_action_benchmark.entries(exported)
        )
        _write_document(document, output)
    if exported.left_out:
        print(f"left out, without a figure: {', '.join(exported.left_out)}", file=sys.stderr)
    return 0


def _write_document(document: object, output: Path | None) -> None:
    text = json.dumps(document, indent=1) + "\n"
    if output is None:
        print(text, end="")
        return
    _write(output, text)
    print(f"wrote {output}")


def _write_asv(exported: ExportedRun, output: Path | None, commit: str) -> None:
    if output is None:
        raise EnergyError(
            "`--format asv` writes several files; give `-o` the `results_dir` of your asv.conf.json"
        )
    if output.is_file():
        raise EnergyError(f"`-o {output}` is a file; give a folder, asv's `results_dir`")
    documents = asv.files(exported, _commit(commit))
    for name, document in documents.items():
        path = output / name
        # Benchmarks of other runs stay known; of this commit's figures so do those of other runs.
        merged = _merged(path, document) if path.is_file() else document
        _write(path, json.dumps(merged, indent=1) + "\n")
    print("\n".join(f"wrote {output / name}" for name in documents))


def _merged(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        if path.name == asv.BENCHMARKS:
            return {**old, **document}
        if old.get("result_columns") == document.get("result_columns") is not None:
            return {**document, "results": {**old["results"], **document["results"]}}
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise EnergyError(
            f"`{path}` is there and is no file of asv's ({error}); move it away"
        ) from None
    return document


def _commit(revision: str) -> asv.Commit:
    command = ["git", "show", "--no-patch", "--format=%H %ct", f"{revision}^{{commit}}", "--"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except OSError as error:
        raise EnergyError(f"`git` does not run ({error}); asv's results name a commit") from None
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["unknown"])[-1]
        raise EnergyError(
            f"`--commit {revision}` is no commit here ({reason}); asv's results name the commit "
            f"that was measured, so run this in its repository"
        ) from None
    digest, date = done.stdout.split()
    return asv.Commit(digest, int(date))


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as error:
        raise EnergyError(
            f"`-o {path}` cannot be written ({error.strerror}); give a path that can"
        ) from None
