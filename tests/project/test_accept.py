"""`make accept`: parts that end well, take too long, fail or have no time; and a rehearsal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from accept import ROOT, Acceptance, Part
from accept_parts import verdicts, worded
from accept_report import rows, table

WRITES = """
import json, sys, time
json.dump({"tokens": 4, "pairs": 3, "ratio": 0.9, "half_width": 0.01}, open(sys.argv[1], "w"))
time.sleep(float(sys.argv[2]))
sys.exit(int(sys.argv[3]))
"""


def part(folder: Path, name: str, *, sleeps: float = 0, code: int = 0, **changes: Any) -> Part:
    """A part that writes what the metering part does, sleeps and ends with a code."""
    file = f"{name}.json"
    command = [sys.executable, "-c", WRITES, str(folder / file), str(sleeps), str(code)]
    given = {"seconds": 100.0, "least_seconds": 1.0, **changes}
    return Part(name, name.capitalize(), command=command, findings=file, **given)


def accepted(folder: Path, seconds: float, *chosen: Part) -> dict[str, dict[str, Any]]:
    """What became of parts, by name."""
    acceptance = Acceptance(folder, chosen, seconds)
    acceptance.run(dict(os.environ))
    document = json.loads((folder / "results.json").read_text())
    return {each["name"]: each for each in document["parts"]}


def test_a_part_that_fails_is_named_and_the_others_run(tmp_path: Path) -> None:
    bad, good = part(tmp_path, "bad", code=3), part(tmp_path, "overhead")
    found = accepted(tmp_path, 120.0, bad, good)

    assert (found["bad"]["state"], found["overhead"]["state"]) == ("failed", "done")
    assert found["bad"]["why"].startswith("exit code 3")
    text = (tmp_path / "table.md").read_text()
    assert "| Bad | failed | exit code 3 |" in text
    assert "| Overhead | metered / unmetered speed | 0.9000 ± 0.0100 over 3 pairs |" in text


def test_a_part_that_takes_too_long_is_ended_and_what_it_found_stays(tmp_path: Path) -> None:
    slow = part(tmp_path, "overhead", sleeps=600)
    found = accepted(tmp_path, 12.0, slow)["overhead"]

    assert found["state"] == "cut"
    assert found["found"]["ratio"] == 0.9
    assert [name for name, _ in rows(found)] == ["cut", "metered / unmetered speed"]


def test_a_part_without_time_is_left_out_and_said(tmp_path: Path) -> None:
    large = part(tmp_path, "large", seconds=200.0, least_seconds=150.0)
    small = part(tmp_path, "overhead", seconds=10.0)
    found = accepted(tmp_path, 100.0, large, small)

    assert found["large"]["state"] == "left out"
    assert "it needs 150 s, and " in found["large"]["why"]
    assert not (tmp_path / "large.json").exists()
    assert found["overhead"]["state"] == "done"


def test_a_file_of_another_form_costs_no_other_part(tmp_path: Path) -> None:
    told = rows({"name": "ab", "title": "A/B", "state": "done", "why": "", "found": {"x": 1}})
    assert told == [("not read", "its file has another form (KeyError)")]
    assert table([]).count("\n") == 2


def test_verdicts_share_pairs_and_begin_where_the_base_came_first() -> None:
    steady = verdicts([[1.0, 1.0 + 0.001 * (i % 3)] for i in range(30)])
    assert steady["outcomes"] == {"within": 20}
    worse = verdicts([[1.0, 1.1 + 0.001 * (i % 3)] for i in range(30)])
    assert worse["outcomes"] == {"regression": 20}
    assert verdicts([[1.0, 1.0]])["outcomes"] == {"open": 20}


def test_words_of_a_text_keep_lengths() -> None:
    torch = pytest.importorskip("torch")
    ids = torch.tensor([[101, 2000, 2001, 102], [101, 2002, 102, 0]])
    batch = {"input_ids": ids, "attention_mask": (ids != 0).long()}

    class Run:
        batches = (batch,)

    [changed] = worded(Run()).batches  # type: ignore[arg-type]
    assert (changed["input_ids"] == ids).tolist() == [[True, False, False, True],
                                                      [True, False, True, True]]  # fmt: skip
    assert torch.equal(changed["attention_mask"], batch["attention_mask"])
    assert torch.equal(batch["input_ids"], ids)


@pytest.mark.realtime
def test_it_can_be_rehearsed_on_a_simulated_card(tmp_path: Path) -> None:
    """Three of its parts; all of them take two minutes."""
    pytest.importorskip("transformers")
    pytest.importorskip("plotly")
    pytest.importorskip("jinja2")
    command = [sys.executable, str(ROOT / "perf" / "accept.py"), "--simulated"]
    chosen = ["--parts", "doctor", "qualify", "overhead", "--seconds", "50"]

    done = subprocess.run(
        [*command, "--out", str(tmp_path), *chosen],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "results.json").read_text())
    assert [each["state"] for each in document["parts"]] == ["done"] * 3
    assert [path.name for path in (tmp_path / "baselines").iterdir()] == ["h100simulated.toml"]
    text = (tmp_path / "table.md").read_text()
    assert "| Qualification | counter is fed by | true power; misses nothing: True |" in text
    assert "| Metering on and off | metered / unmetered speed | " in text
    assert "3 of 3 parts ended well" in (tmp_path / "page.html").read_text()
