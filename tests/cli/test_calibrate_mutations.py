"""Whatever a CSV of pairs holds, `calibrate` ends in a fit or in a sentence."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given

from document_mutations import fuzzed
from mutations import spoilt
from pytest_energy.cli import main
from pytest_energy.cli.machine import read_pairs
from pytest_energy.errors import EnergyError

PAIRS = [
    b"device_watts,wall_watts,note\n70,212.4,idle\n200,355.7,\n400,575.3,\n700,905.6,full\n",
    b'\xef\xbb\xbfwall_watts,"device_watts"\r\n212.4,70\r\n355.7,2.0e2\r\n905.6,"700"\r\n',
]


@pytest.mark.attack(
    "commands",
    "somebody changes a document at random: pairs of watts",
    "one of the codes that the command has, no traceback",
)
@fuzzed(200)
@given(data=spoilt(PAIRS))
def test_any_pairs_end_in_a_fit_or_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(data)
    with suppress(EnergyError):
        pairs = read_pairs(path)
        assert all(0 <= watts < math.inf for pair in pairs for watts in pair)
    code = main(["calibrate", f"--pairs={path}"])

    printed = capsys.readouterr()
    assert code in (0, 4)
    assert ("pytest-energy: " in printed.err) == (code == 4)
    assert len(printed.err) < 1000
    assert "nan" not in printed.out
