"""Baseline files: what is read, and what is refused with the file and the place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_energy import baselines as baseline
from pytest_energy.baselines.reading import known_hardware, parse, read
from pytest_energy.errors import BaselineError

GOOD = """
schema = 1

[hardware]
key = "h200"
match = ["NVIDIA H200*"]
tokens_per_window = 250_000

[claims.savings]
source = "paper"
counter = [0.40, 0.60]

[joules_per_token."sst2/bert-base-uncased"]
tolerance = 0.02
detect = 0.05
workload = "3f9a1c20"
sessions = [
  { date = 2026-11-24T10:12:03Z, device = "GPU-5f", windows = 10, mean = 0.00512, cv = 0.0031, \
autocorrelation = 0.2, padding_overhead = 3.011, mean_watts = 512.3, \
tokens_per_second = 100100.0, environment = "a41b" },
]

[savings."sst2"]
sessions = [{ date = 2026-11-24T10:12:03Z, pairs = 6, mean = 0.51, sd = 0.004 }]

[environment.a41b]
torch = "2.11.0"
"""


def _parse(text: str) -> baseline.Baseline:
    return parse(text, Path("baselines/h200.toml"))


def test_a_file_as_the_design_shows_it() -> None:
    stored = _parse(GOOD)

    assert (stored.key, stored.match) == ("h200", ("NVIDIA H200*",))
    assert stored.tokens_per_window == 250_000
    entry = stored.entries["joules_per_token", "sst2/bert-base-uncased"]
    assert (entry.tolerance, entry.detect, entry.workload) == (0.02, 0.05, "3f9a1c20")
    session = entry.sessions[0]
    assert (session.windows, session.mean, session.device) == (10, 0.00512, "GPU-5f")
    assert session.date.startswith("2026-11-24T10:12:03")
    assert stored.environments["a41b"] == {"torch": "2.11.0"}
    assert stored.claims["savings", "counter"] == baseline.Band(0.40, 0.60, "paper")


def test_savings_sessions_count_pairs_and_keep_the_spread_of_log_ratios() -> None:
    session = _parse(GOOD).entries["savings", "sst2"].sessions[0]

    assert (session.windows, session.mean, session.cv) == (6, 0.51, 0.004)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema = 1", "schema = 2", r"`schema` in .*h200.toml` is 2, of a newer .*; upgrade it"),
        ("schema = 1", "", r"`schema` in .* is missing; write `schema = 1`"),
        ('key = "h200"', 'key = "a100"', r"`hardware.key` .* 'a100' but the file is `h200.toml`"),
        (
            "tolerance = 0.02",
            "tolerence = 0.02",
            r"tolerence` .* is not known; did you mean `tolerance`\? it may be tolerance",
        ),
        (
            "tolerance = 0.02",
            "tolerance = 20",
            r"tolerance` .* is 20; write a fraction .* such as 0.2 for",
        ),
        ("tolerance = 0.02", 'tolerance = "2 %"', r"tolerance` .* is '2 %', not a number"),
        ("mean = 0.00512", "mean = -1.0", r"sessions\[0\]` .* needs `mean` above 0"),
        ("mean = 0.00512,", "", r"sessions\[0\]` .* has no `mean`"),
        ("windows = 10", "windows = 0", r"windows` .* is 0, but must be 1 or more"),
        ("[0.40, 0.60]", "[0.60, 0.40]", r"`claims.savings.counter` .* must be a band"),
        ("[environment.a41b]", "[enviroment.a41b]", r"`enviroment` .* mean `environment`\? "),
        ("tokens_per_window = 250_000", "tokens_per_window = true", r"is true, not a whole number"),
        ("tokens_per_window = 250_000", "tokens_per_window = -5", r"is -5, but must be 1 or more"),
        ("tokens_per_window = 250_000", "", r"`hardware` .* has no `tokens_per_window`"),
        (
            "padding_overhead = 3.011",
            "padding_overhead = 0.0",
            r"padding_overhead` .* is 0.0, but must be above 0",
        ),
        (
            "autocorrelation = 0.2",
            "autocorrelation = 2.0",
            r"autocorrelation` .* is 2.0, but must be from -1 to 1",
        ),
        ("cv = 0.0031", "cv = nan", r"`joules_per_token.*cv` .* is nan, but must be from 0"),
        ("mean = 0.51,", "mean = 1.5,", r"needs `mean` below 1"),
        ("[0.40, 0.60]", '["a", "b"]', r"`claims.savings.counter\[0\]` .* is 'a', not a number"),
        (
            'source = "paper"',
            'source = "paper"\nx = 1',
            r"`claims.savings.x` .* is none of counter,",
        ),
        ("counter = [0.40", "Counter = [0.40", r"`claims.savings.Counter` .* is none of counter,"),
        (
            "[claims.savings]",
            "[claims.saving]",
            r"`claims.saving` .* is no claim; write joules_per",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(old: str, new: str, message: str) -> None:
    assert old in GOOD

    with pytest.raises(BaselineError, match=message):
        _parse(GOOD.replace(old, new))


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("tolerance", "2", "is 2; write a fraction above 0 and at most 1, such as 0.02 for 2 %"),
        ("tolerance", "1.5", "at most 1, such as 0.015 for 1.5 %"),
        ("tolerance", "0.0", "is 0; write a fraction above 0 and at most 1"),
        ("detect", "50", "is 50; write a fraction above 0 and at most 10, such as 0.5 for 50 %"),
        ("detect", "1e6", "such as 0.02 for 2 %"),
    ],
)
def test_a_level_in_percent_is_refused_with_the_fraction_that_is_meant(
    name: str, given: str, told: str
) -> None:
    stored = {"tolerance": "0.02", "detect": "0.05"}[name]
    assert f"{name} = {stored}" in GOOD

    with pytest.raises(
        BaselineError, match=f"{name}` in `baselines/h200.toml` .*{re.escape(told)}"
    ):
        _parse(GOOD.replace(f"{name} = {stored}", f"{name} = {given}", 1))


def test_a_stored_level_may_be_larger_than_what_can_be_asked_for() -> None:
    stored = _parse(GOOD.replace("detect = 0.05", "detect = 4.0", 1))

    assert 4.0 in [entry.detect for entry in stored.entries.values()]


def test_broken_toml_names_file_and_line() -> None:
    with pytest.raises(BaselineError, match=r"h200.toml` is not valid TOML: .*line 3"):
        _parse("schema = 1\n\n[hardware\n")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "h200.toml"
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(BaselineError, match=r"h200.toml`, line 1: byte 0xff is not UTF-8"):
        read(path)


def test_hardware_known_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "h200.toml").write_text(GOOD)

    assert known_hardware(tmp_path) == {"h200": ("NVIDIA H200*",)}
    assert known_hardware(tmp_path / "none") == {}


def test_the_files_of_this_project_can_be_read() -> None:
    folder = Path(__file__).parents[2] / "baselines"

    keys = {path.stem: read(path).key for path in folder.glob("*.toml")}

    assert "cpu" in keys
    assert all(stem == key for stem, key in keys.items())
