"""Writing baselines: what is added, what stays, and that a reader never sees half a file."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_energy import baselines as baseline
from pytest_energy.baselines import Header, Recording, StoredSession, UpdateMode
from pytest_energy.baselines import writing as recording
from pytest_energy.baselines.reading import parse
from pytest_energy.errors import BaselineError
from pytest_energy.files import unified_diff, write_atomically
from pytest_energy.metering.hardware import Budget, Hardware
from pytest_energy.meters.protocol import Device

HEADER = Header("h200", ("NVIDIA H200*",), 250_000)
SESSION = StoredSession(
    "2026-11-24T10:12:03+00:00", 10, 0.0051234567, 0.0031, 0.2, "GPU-5f", 3.011, 512.3, 1e5, "a41b"
)
SST2 = Recording(
    "joules_per_token", "sst2/bert", "3f9a1c20", SESSION, {"torch": "2.11.0"}, 0.02, 0.05
)


def _parsed(text: str) -> baseline.Baseline:
    return parse(text, Path("h200.toml"))


def _sessions(text: str, identifier: str = "sst2/bert") -> tuple[StoredSession, ...]:
    return _parsed(text).entries["joules_per_token", identifier].sessions


def test_a_new_file_reads_back_as_it_was_recorded() -> None:
    stored = _parsed(recording.updated(None, HEADER, [SST2], "new"))

    assert (stored.key, stored.match, stored.tokens_per_window) == ("h200", HEADER.match, 250_000)
    entry = stored.entries["joules_per_token", "sst2/bert"]
    assert (entry.tolerance, entry.detect, entry.workload) == (0.02, 0.05, "3f9a1c20")
    assert entry.sessions == (replace(SESSION, mean=0.00512346),)
    assert stored.environments == {"a41b": {"torch": "2.11.0"}}


WHOLE = """\
schema = 1

[hardware]
key = "h200"
match = ["NVIDIA H200*"]
tokens_per_window = 250000
max_tokens_per_batch = 4096

[joules_per_token."sst2/bert"]
tolerance = 0.02
detect = 0.05
workload = "3f9a1c20"
sessions = [
    {date = 2026-11-24T10:12:03Z, device = "GPU-5f", windows = 10, tokens = 250880, \
mean = 0.00512346, cv = 0.0031, autocorrelation = 0.123, padding_overhead = 3.01123, \
mean_watts = 512.35, tokens_per_second = 100120.0, environment = "a41b"},
]

[environment.a41b]
torch = "2.11.0"

[savings.sst2]
tolerance = 0.02
detect = 0.05
workload = "3f9a1c20"
sessions = [
    {date = 2026-11-24T10:12:03Z, pairs = 10, mean = 0.51, sd = 0.00412346, \
autocorrelation = -1.0},
]
"""


def test_a_file_is_written_as_a_person_would_and_in_the_digits_that_count() -> None:
    header = replace(HEADER, max_tokens_per_batch=4096)
    session = replace(
        SESSION,
        autocorrelation=0.12345,
        padding_overhead=3.01123456,
        mean_watts=512.3456,
        tokens_per_second=100123.456,
        tokens=250_880,
    )
    pairs = StoredSession("2026-11-24T10:12:03+00:00", 10, 0.51, 0.0041234567, -1.0)
    recordings = [
        replace(SST2, session=session),
        replace(SST2, metric="savings", id="sst2", session=pairs),
    ]

    assert recording.updated(None, header, recordings, "new") == WHOLE
    assert recording.updated("", header, recordings, "new") == WHOLE


def test_the_hardware_of_a_new_file_is_named_exactly() -> None:
    cards = [Device(f"gpu:{n}", name, "") for n, name in enumerate(("H[2]00", "H*", "H[2]00"))]
    hardware = Hardware("h", tuple(cards), {})

    assert Header.of(hardware, Budget(1000, 64)) == Header("h", ("H[[]2]00*", "H[*]*"), 1000, 64)


def test_a_file_without_any_session_takes_the_window_of_the_first_one() -> None:
    """Its budget may have been changed meanwhile; with sessions it is theirs, and stays."""
    larger = replace(HEADER, tokens_per_window=500_000)
    empty = recording.updated(None, HEADER, [], "new")
    first = recording.updated(None, HEADER, [SST2], "new")
    saved = recording.updated(None, HEADER, [replace(SST2, metric="savings")], "new")

    assert _parsed(recording.updated(empty, larger, [SST2], "new")).tokens_per_window == 500_000
    for stored in (first, saved):
        kept = recording.updated(stored, larger, [replace(SST2, id="other")], "append")
        assert _parsed(kept).tokens_per_window == 250_000


def test_an_entry_without_sessions_is_filled_in_every_mode() -> None:
    text = WHOLE[: WHOLE.index("workload")] + "# agreed\n"
    modes: tuple[UpdateMode, ...] = ("new", "append", "replace")
    for mode in modes:
        filled = recording.updated(text, HEADER, [replace(SST2, tolerance=0.5)], mode)
        assert _sessions(filled) == (replace(SESSION, mean=0.00512346),)
        assert _parsed(filled).entries["joules_per_token", "sst2/bert"].tolerance == 0.02


def test_where_an_entry_came_from_is_forgotten_with_its_sessions() -> None:
    text = WHOLE.replace("detect = 0.05\n", 'detect = 0.05\nsource = "measured"\n', 1)
    modes: dict[UpdateMode, bool] = {"append": True, "replace": False, "new": True}
    for mode, kept in modes.items():
        assert ("source" in recording.updated(text, HEADER, [SST2], mode)) == kept
    empty = text[: text.index("workload")]
    assert "source" not in recording.updated(empty, HEADER, [SST2], "new")


def test_a_run_without_a_digest_leaves_what_is_stored_unless_it_replaces() -> None:
    first = recording.updated(None, HEADER, [SST2], "new")
    with pytest.raises(BaselineError, match="this one is `None`"):
        recording.updated(first, HEADER, [replace(SST2, workload=None)], "append")
    bare = recording.updated(None, HEADER, [replace(SST2, workload=None)], "new")
    assert "workload" not in bare
    assert 'workload = "3f9a1c20"' in recording.updated(bare, HEADER, [SST2], "append")
    again = recording.updated(bare, HEADER, [replace(SST2, workload=None)], "replace")
    assert "workload" not in again
    emptied = first[: first.index("sessions")]
    kept = recording.updated(emptied, HEADER, [replace(SST2, workload=None)], "new")
    assert 'workload = "3f9a1c20"' in kept


def test_a_session_of_an_unknown_environment_names_none() -> None:
    session = replace(SESSION, environment=None)
    text = recording.updated(None, HEADER, [replace(SST2, session=session)], "new")
    assert "environment" not in text


def test_a_third_environment_of_one_id_gets_the_next_number() -> None:
    others = [replace(SST2, environment={"torch": f"2.1{minor}.0"}) for minor in (1, 2, 3)]
    text = recording.updated(None, HEADER, others, "append")
    assert list(_parsed(text).environments) == ["a41b", "a41b-2", "a41b-3"]


def test_pruning_leaves_what_has_sessions_and_what_they_name() -> None:
    extra = (
        WHOLE.replace(
            "[environment.a41b]",
            "[joules_per_token.empty]\ntolerance = 0.02\n\n"
            '[environment.unused]\ntorch = "1"\n\n[environment.a41b]',
        )
        + "\n[savings.none]\nsessions = []\n"
    )

    text = recording.pruned(extra)

    assert list(_parsed(text).entries) == [("joules_per_token", "sst2/bert"), ("savings", "sst2")]
    assert list(_parsed(text).environments) == ["a41b"]
    assert recording.pruned(text) == text
    assert recording.pruned(WHOLE) == WHOLE
    assert recording.pruned("schema = 1\n") == "schema = 1\n"


def test_comments_stay_with_the_table_that_follows() -> None:
    text = 'schema = 1\n# the card\n[hardware]\nkey = "h200"\n[claims.savings]\na = 1\n'
    spaced = recording.updated(text, HEADER, [], "new")
    assert spaced == (
        'schema = 1\n# the card\n[hardware]\nkey = "h200"\n\n[claims.savings]\na = 1\n'
    )


def test_savings_are_kept_as_pairs() -> None:
    text = recording.updated(None, HEADER, [replace(SST2, metric="savings", id="sst2")], "new")

    assert "pairs = 10" in text
    assert "sd = 0.0031" in text
    assert _parsed(text).entries["savings", "sst2"].sessions[0].cv == 0.0031


def test_new_leaves_what_has_sessions_alone() -> None:
    first = recording.updated(None, HEADER, [SST2], "new")
    other = replace(SST2, session=replace(SESSION, mean=9.0))

    assert recording.updated(first, HEADER, [other], "new") == first


def test_append_adds_one_session_and_the_environment_once() -> None:
    first = recording.updated(None, HEADER, [SST2], "new")
    text = recording.updated(first, HEADER, [SST2, SST2], "append")

    assert len(_sessions(text)) == 3
    assert text.count("[environment.a41b]") == 1


def test_append_refuses_another_workload() -> None:
    first = recording.updated(None, HEADER, [SST2], "new")

    with pytest.raises(BaselineError, match=r"`sst2/bert`.*`3f9a1c20`.*--energy-update=replace"):
        recording.updated(first, HEADER, [replace(SST2, workload="ffffffff")], "append")


def test_replace_starts_anew_and_keeps_levels_comments_and_order() -> None:
    first = recording.updated(None, HEADER, [SST2, replace(SST2, id="rte/bert")], "new")
    edited = first.replace(
        '[joules_per_token."sst2/bert"]\ntolerance = 0.02',
        '# quiet card\n[joules_per_token."sst2/bert"]\ntolerance = 0.03   # agreed in review',
    )
    changed = replace(SST2, workload="ffffffff", session=replace(SESSION, mean=0.006))
    text = recording.updated(edited, HEADER, [changed], "replace")

    assert "# quiet card" in text
    assert "tolerance = 0.03   # agreed in review" in text
    assert [row.mean for row in _sessions(text)] == [0.006]
    assert _parsed(text).entries["joules_per_token", "sst2/bert"].workload == "ffffffff"
    assert _sessions(text, "rte/bert") == _sessions(first, "rte/bert")
    assert text.index("sst2/bert") < text.index("rte/bert")


def test_tables_stay_apart_by_a_blank_line() -> None:
    first = recording.updated(None, HEADER, [SST2], "new")
    text = recording.updated(first, HEADER, [replace(SST2, id="mnli/bert")], "append")

    lines = text.splitlines()
    headers = [number for number, line in enumerate(lines) if line.startswith("[")]
    assert all(lines[number - 1] == "" for number in headers)


def test_the_difference_is_what_a_reviewer_reads() -> None:
    first = recording.updated(None, HEADER, [SST2], "new")
    second = recording.updated(first, HEADER, [SST2], "append")

    diff = unified_diff(first, second, "h200.toml")

    assert "+++ b/h200.toml" in diff
    added = [line for line in diff.splitlines() if line.startswith("+ ")]
    assert len(added) == 1
    assert unified_diff(first, first, "h200.toml") == ""


def test_writing_replaces_in_one_step_and_keeps_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "h200.toml"
    write_atomically(path, "one")
    os.chmod(path, 0o640)
    before = path.stat().st_ino

    write_atomically(path, "two")

    assert path.read_text() == "two"
    assert path.stat().st_ino != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [p.name for p in path.parent.iterdir()] == ["h200.toml"]


def test_replace_forgets_a_digest_that_a_run_has_no_more() -> None:
    text = recording.updated(None, HEADER, [SST2], "new")
    assert _parsed(text).entries["joules_per_token", "sst2/bert"].workload is not None

    again = recording.updated(text, HEADER, [replace(SST2, workload=None)], "replace")

    assert _parsed(again).entries["joules_per_token", "sst2/bert"].workload is None


def test_a_file_without_hardware_is_given_its_own() -> None:
    text = "schema = 1\n\n[claims.savings]\ncounter = [0.4, 0.6]\n"

    stored = _parsed(recording.updated(text, HEADER, [SST2], "new"))

    assert stored.key == HEADER.key
    assert stored.claims["savings", "counter"].low == 0.4
    assert len(stored.entries) == 1


def test_an_environments_id_that_is_taken_by_another_gets_a_number() -> None:
    first = recording.updated(None, HEADER, [SST2], "new")
    other = replace(SST2, environment={"torch": "2.12.0"})

    text = recording.updated(first, HEADER, [other, SST2, other], "append")

    assert _parsed(text).environments == {
        "a41b": {"torch": "2.11.0"},
        "a41b-2": {"torch": "2.12.0"},
    }
    named = [session.environment for session in _sessions(text)]
    assert named == ["a41b", "a41b-2", "a41b", "a41b-2"]
