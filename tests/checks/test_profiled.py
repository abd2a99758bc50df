"""A profile is kept beside a recorded baseline, and tells what carries a change against it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ab_support import Repository
from profile_support import gated, profiled_repository

pytest.importorskip("torch")

PROFILES = "baselines/h200.profiles.json"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return profiled_repository(tmp_path)


def against_baseline(repository: Repository, *more: str) -> tuple[dict[str, Any], str]:
    return gated(repository, "--energy-hw=h200", *more)


def test_a_regression_against_a_baseline_names_its_operator(repository: Repository) -> None:
    recorded, printed = against_baseline(repository, "--energy-update=new")
    assert recorded["verdict"] == "recorded", printed
    assert f"next: git add -N baselines/h200.toml {PROFILES} && git diff" in printed
    kept = json.loads((repository.path / PROFILES).read_text())["profiles"]["sst2/mine"]
    assert len(kept["operators"]) <= 20
    repository.change("conftest", "JOULES = 1.0", "JOULES = 1.2")
    repository.change("conftest", "EXTRA = 0", "EXTRA = 3")

    page = repository.path.parent / "page.html"
    verdict, printed = against_baseline(repository, f"--energy-html={page}")

    assert verdict["verdict"] == "regression", printed
    products = next(row for row in verdict["profile"]["operators"] if row["name"] == "aten::mm")
    assert products["head_calls"] - products["base_calls"] == 3
    assert "`aten::mm` " in verdict["explanation"]
    assert "baseline, µs" in printed
    assert '["baseline","now"]' in page.read_text(encoding="utf-8").replace(", ", ",")


def test_what_is_recorded_anew_without_a_profile_has_none_of_before(
    repository: Repository,
) -> None:
    against_baseline(repository, "--energy-update=new")

    against_baseline(repository, "--energy-update=replace", "--energy-profile=never")

    assert not (repository.path / PROFILES).exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"schema": 1, "profiles": {"sst2/mine": {"steps": []}}}', "is damaged: "),
        ('{"schema": 9, "rows": []}', "has schema 9, of a newer pytest-energy: "),
    ],
)
def test_a_file_that_cannot_be_read_ends_nothing(
    repository: Repository, text: str, told: str
) -> None:
    against_baseline(repository, "--energy-update=new", "--energy-profile=never")
    (repository.path / PROFILES).write_text(text)
    repository.change("conftest", "JOULES = 1.0", "JOULES = 1.2")

    verdict, printed = against_baseline(repository)

    assert verdict["verdict"] == "regression"
    assert verdict["profile"] is None
    assert "not profiled: `" in printed
    assert told in printed
