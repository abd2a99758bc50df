"""A profile is kept beside a recorded baseline, and tells what carries a change against it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ab_support import Repository, ledger_repository
from profile_support import STEP, TEST

pytest.importorskip("torch")

PROFILES = "baselines/h200.profiles.json"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = ledger_repository(tmp_path)
    made.write(conftest=STEP, test_mine=TEST)
    return made


def gated(repository: Repository, *more: str) -> tuple[dict[str, Any], str]:
    report = repository.path.parent / "report.json"
    done = repository.pytest(
        "--energy-hw=h200", "--energy-tokens=500", f"--energy-json={report}", *more
    )
    (verdict,) = json.loads(report.read_text())["verdicts"]
    return verdict, done.stdout + done.stderr


def test_a_regression_against_a_baseline_names_its_operator(repository: Repository) -> None:
    recorded, printed = gated(repository, "--energy-update=new")
    assert recorded["verdict"] == "recorded", printed
    kept = json.loads((repository.path / PROFILES).read_text())["profiles"]["sst2/mine"]
    assert len(kept["operators"]) <= 20
    repository.change("conftest", "JOULES = 1.0", "JOULES = 1.2")
    repository.change("conftest", "EXTRA = 0", "EXTRA = 3")

    page = repository.path.parent / "page.html"
    verdict, printed = gated(repository, f"--energy-html={page}")

    assert verdict["verdict"] == "regression", printed
    products = next(row for row in verdict["profile"]["operators"] if row["name"] == "aten::mm")
    assert products["head_calls"] - products["base_calls"] == 3
    assert "`aten::mm` " in verdict["explanation"]
    assert "baseline, µs" in printed
    assert '["baseline","now"]' in page.read_text(encoding="utf-8").replace(", ", ",")


def test_what_is_recorded_anew_without_a_profile_has_none_of_before(
    repository: Repository,
) -> None:
    gated(repository, "--energy-update=new")

    gated(repository, "--energy-update=replace", "--energy-profile=never")

    assert not (repository.path / PROFILES).exists()


def test_a_damaged_file_ends_nothing(repository: Repository) -> None:
    gated(repository, "--energy-update=new", "--energy-profile=never")
    (repository.path / PROFILES).write_text(
        '{"schema": 1, "profiles": {"sst2/mine": {"steps": []}}}'
    )
    repository.change("conftest", "JOULES = 1.0", "JOULES = 1.2")

    verdict, printed = gated(repository)

    assert verdict["verdict"] == "regression"
    assert verdict["profile"] is None
    assert "not profiled: `" in printed
    assert "is damaged: " in printed
