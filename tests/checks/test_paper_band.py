"""A band from the paper: read, listed and held, but never taken for a baseline."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_energy import baselines as baseline
from pytest_energy.baselines.reading import parse, read
from pytest_energy.cli import main
from pytest_energy.errors import BaselineError

FILE = """schema = 1

[hardware]
key = "h200"
match = ["NVIDIA H200*"]
tokens_per_window = 1000

[claims.joules_per_token]
source = "paper"
"mine/*" = { low = 0.004, mean = 0.005, high = 0.006, mean_watts = 500 }
"""

TEST = """
    import os
    from gated import Run

    def test_gated(energy_gate):
        joules_per_token = float(os.environ.get("JOULES", "0.005"))
        energy_gate.check("joules_per_token", Run("mine/model", joules_per_token))
"""


@pytest.fixture
def banded(pytester: pytest.Pytester, spending: Path) -> pytest.Pytester:
    """A project with one gated test and a band for its figure, but no baseline."""
    pytester.mkdir("baselines").joinpath("h200.toml").write_text(FILE)
    pytester.makepyfile(test_mine=TEST)
    return pytester


def _parse(text: str) -> baseline.Baseline:
    return parse(text, Path("baselines/h200.toml"))


def test_a_band_is_read_for_the_figures_that_its_glob_names() -> None:
    stored = _parse(FILE)

    band = stored.band("mine/model")
    assert band == baseline.Band(0.004, 0.006, "paper", 0.005, 500.0)
    assert stored.band("sst2/model") is None
    assert stored.entries == {}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("low = 0.004", "low = 0.0", r"`claims.joules_per_token.mine/\*.low` .* must be above 0"),
        ("low = 0.004", "low = 0.0055", r"in that order"),
        ("high = 0.006", "high = inf", r"high` .* is inf, but must be a finite number above 0"),
        ("high = 0.006", "top = 0.006", r"top` .* may be low, mean, high, mean_watts"),
        ("mean_watts = 500", "mean_watts = -1", r"above 0"),
        ('"mine/*" = {', '"mine/*" = [0.4, 0.6] #', r"mine/\*` .* is a list, not a table"),
        ('source = "paper"', 'source = "hearsay"', r"`claims.joules_per_token.source` .*`paper`"),
        (
            "[claims.joules_per_token]",
            '[joules_per_token."mine/model"]\nsource = "paper"\nsessions = []\n[claims.savings]',
            r"source` .* under `\[claims.joules_per_token\]`",
        ),
    ],
)
def test_what_is_no_band_is_refused_with_its_place(old: str, new: str, message: str) -> None:
    assert old in FILE

    with pytest.raises(BaselineError, match=message):
        _parse(FILE.replace(old, new))


def test_bands_are_listed_and_are_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "h200.toml"
    path.write_text(FILE)

    assert main(["baselines", "--check", str(path)]) == 0
    out = capsys.readouterr().out
    assert "0 entries" in out
    assert "4.000 mJ/token to 6.000 mJ/token  sanity band, no baseline  source: paper" in out
    assert main(["baselines", "--prune", str(path)]) == 0
    assert path.read_text() == FILE


def test_a_band_is_no_baseline(banded: pytest.Pytester) -> None:
    named = banded.runpytest("--energy-hw=h200")
    first = banded.runpytest()

    named.assert_outcomes(failed=1)
    named.stdout.fnmatch_lines(["missing: `mine/model` has no joules_per_token baseline*"])
    assert first.ret == 0
    first.stdout.fnmatch_lines(["mine/model*recorded"])


def test_recording_beside_a_band_keeps_it(banded: pytest.Pytester) -> None:
    result = banded.runpytest("--energy-hw=h200", "--energy-update=new")

    assert result.ret == 0
    stored = read(banded.path / "baselines" / "h200.toml")
    assert len(stored.entries["joules_per_token", "mine/model"].sessions) == 1
    assert stored.band("mine/model") is not None


@pytest.mark.parametrize("joules", ["0.0021", "0.0119"])
def test_outside_the_band_but_not_far_nothing_fails(
    banded: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, joules: str
) -> None:
    monkeypatch.setenv("JOULES", joules)

    banded.runpytest("--energy-update=new").assert_outcomes(passed=1)
    banded.runpytest("--energy-hw=h200").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("joules", "outcome"), [("0.0019", "improvement"), ("0.0122", "regression")]
)
def test_far_outside_the_band_fails_and_is_not_recorded(
    banded: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, joules: str, outcome: str
) -> None:
    monkeypatch.setenv("JOULES", joules)

    result = banded.runpytest("--energy-update=new")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f"{outcome}: * mJ/token is far outside the band of 4.000 mJ/token to 6.000 mJ/token (p*"]
    )
    assert (banded.path / "baselines" / "h200.toml").read_text() == FILE


def test_far_outside_the_band_fails_whatever_the_baseline_says(
    banded: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = banded.path / "baselines" / "h200.toml"
    assert banded.runpytest("--energy-update=new").ret == 0
    path.write_text(path.read_text().replace("low = 0.004, mean = 0.005", "low = 5, mean = 5"))
    path.write_text(path.read_text().replace("high = 0.006", "high = 6"))

    result = banded.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["improvement: * far outside the band of 5.000 J/token to 6.000*"])


def test_the_a100_file_is_filled_in_by_an_a100(
    banded: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = spending / "spending.py"
    meter.write_text(meter.read_text().replace("NVIDIA H200", "NVIDIA A100-SXM4-80GB"))
    path = banded.path / "baselines" / "a100.toml"
    shipped = Path(__file__).parents[2] / "baselines" / "a100.toml"
    path.write_text(shipped.read_text())

    before = banded.runpytest_subprocess("--energy-hw=a100")
    recorded = banded.runpytest_subprocess("--energy-hw=a100", "--energy-update=new")
    after = banded.runpytest_subprocess("--energy-hw=a100")

    before.stdout.fnmatch_lines(["missing: *--energy-hw=a100 --energy-update=new*"])
    recorded.assert_outcomes(passed=1)
    after.stdout.fnmatch_lines(["mine/model*mJ/token*inconclusive"])
    stored = read(path)
    assert len(stored.entries["joules_per_token", "mine/model"].sessions) == 1
    assert path.read_text().startswith("# Nothing has been measured on an A100 yet")
