"""The command `pytest-energy`: what it prints and how it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_energy.baselines import Header, Recording, StoredSession
from pytest_energy.baselines import writing as recording
from pytest_energy.cli import COMMANDS, main
from pytest_energy.cli.machine import _next_step
from pytest_energy.files import write_atomically

SESSION = StoredSession("2026-11-24T10:12:03+00:00", 10, 0.005, 0.003, 0.2, "GPU-5f", 3.0)
RECORDING = Recording(
    "joules_per_token",
    "sst2/bert",
    "3f9a1c20",
    replace(SESSION, environment="a41b"),
    {"torch": "2.11.0"},
    0.02,
    0.05,
)


ROOT = Path(__file__).parents[2]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A baseline file of eight sessions, each of a day, that differ by about 0.3 %."""
    header = Header("h200", ("NVIDIA H200*",), 250_000)
    means = [0.005 * (1 + 0.001 * offset) for offset in (-4, 3, -2, 0, 2, -1, 4, -2)]
    items = [
        replace(
            RECORDING,
            session=replace(RECORDING.session, mean=mean, date=f"2026-11-{day}T10:00:00Z"),
        )
        for day, mean in enumerate(means, start=11)
    ]
    path = tmp_path / "h200.toml"
    write_atomically(path, recording.updated(None, header, items, "append"))
    return path


def test_listing_says_what_one_session_can_tell(
    stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["baselines", str(stored)]) == 0

    line = capsys.readouterr().out.splitlines()[1]
    assert "sst2/bert" in line
    assert "8 sessions of 8 days" in line
    assert "one session tells" in line


def test_in_a_folder_below_the_files_above_are_meant(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = stored.parent / "project"
    below = project / "tests" / "unit"
    for folder in (project / "baselines", below):
        folder.mkdir(parents=True)
    stored.rename(project / "baselines" / stored.name)
    monkeypatch.chdir(below)

    assert main(["baselines"]) == 0

    path = Path("..", "..", "baselines", stored.name)
    assert capsys.readouterr().out.startswith(f"{path}  ")
    Path("baselines").mkdir()  # one that is here is meant, though it is empty
    assert main(["baselines"]) == 4


def test_a_gap_that_cannot_be_told_is_warned_about(
    stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.write_text(stored.read_text().replace("detect = 0.05", "detect = 0.021"))

    assert main(["baselines", str(stored)]) == 0
    assert "raise `detect`" in capsys.readouterr().out


def test_a_folder_without_baselines_is_not_checked_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["baselines", "--check", str(tmp_path)]) == 4
    assert f"`{tmp_path}` has no baseline file; record one" in capsys.readouterr().err


def test_checking_finds_faults(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["baselines", "--check", str(stored)]) == 0
    text = stored.read_text()
    stored.write_text(text + '\n[environment.ffff]\ntorch = "1"\n\n[savings.rte]\nsessions = []\n')

    assert main(["baselines", "--check", str(stored.parent)]) == 1
    out = capsys.readouterr().out
    assert "`environment.ffff` is named by no session" in out
    assert '`savings."rte"` has no sessions' in out


def test_a_tolerance_alone_takes_detect_along_as_in_the_gate(
    stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = stored.read_text().replace("detect = 0.05\n", "")
    assert "detect" not in text
    stored.write_text(text.replace("tolerance = 0.02", "tolerance = 0.06"))

    assert main(["baselines", "--check", str(stored)]) == 0
    assert "detect" not in capsys.readouterr().out


def test_pruning_removes_what_the_check_named(
    stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = stored.read_text()
    stored.write_text(text + '\n[environment.ffff]\ntorch = "1"\n')

    assert main(["baselines", "--prune", str(stored)]) == 0
    assert "-[environment.ffff]" in capsys.readouterr().out
    assert main(["baselines", "--check", str(stored)]) == 0
    assert "[environment.a41b]" in stored.read_text()


def test_a_byte_order_mark_is_no_trouble(stored: Path) -> None:
    text = stored.read_text()
    stored.write_text(f"\ufeff{text}\n[environment.ffff]\ntorch = '1'\n", encoding="utf-8")

    assert main(["baselines", "--prune", str(stored)]) == 0
    assert "ffff" not in stored.read_text()


def test_a_dumb_terminal_cuts_no_table(
    stored: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # as if standard output were one
    name = "sst2/" + "long" * 20
    stored.write_text(stored.read_text().replace("sst2/bert", name))

    assert main(["baselines", str(stored)]) == 0
    assert name in capsys.readouterr().out


def test_comparing_two_files(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = tmp_path / "new" / "h200.toml"
    text = stored.read_text().replace("mean = 0.005", "mean = 0.0055")
    write_atomically(newer, text.replace("3f9a1c20", "ffffffff"))

    assert main(["baselines", "--compare", str(stored), str(newer)]) == 0
    line = capsys.readouterr().out
    assert "sst2/bert" in line
    assert "another workload" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["baselines", "nowhere"], "`nowhere` does not exist"),
        (
            ["baselines", "--compare", "one.toml"],
            "`--compare` takes an old baseline file or a git revision",
        ),
    ],
)
def test_bad_input_is_exit_code_4(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 4
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_its_arguments(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])

    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: pytest-energy {command} [-h] ")
    assert f"  pytest-energy {command}" in shown.partition("\nexample")[2]


def test_only_the_command_that_is_called_costs_its_imports() -> None:
    code = (
        "import sys\n"
        "from pytest_energy.cli import COMMANDS, main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n"
        "    heavy = {'pytest', 'rich', 'tomlkit', 'fsspec', 'jinja2', 'pytest_energy.meters'}\n"
        "    print(sorted(heavy & set(sys.modules)))\n"
    )

    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)

    lines = done.stdout.splitlines()
    assert lines[-1] == "[]"
    assert all(any(line.split()[:1] == [command] for line in lines) for command in COMMANDS)


def test_an_unknown_subcommand_is_exit_code_4(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["weigh"])

    assert ended.value.code == 4
    assert "invalid choice: 'weigh'" in capsys.readouterr().err


def test_a_broken_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "h200.toml"
    path.write_text("schema = 1\n[hardware\n")

    assert main(["baselines", str(path)]) == 4
    assert "h200.toml` is not valid TOML" in capsys.readouterr().err


def test_doctor_names_each_meter_and_the_hardware(tmp_path: Path) -> None:
    pytest.importorskip("codecarbon")
    command = Path(sys.executable).with_name("pytest-energy")

    result = subprocess.run([command, "doctor"], text=True, capture_output=True, check=False)

    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    meters = [line.split()[0] for line in lines if line.startswith("  ")][:3]
    assert meters == ["nvml", "rapl", "codecarbon"]
    assert any(line.startswith("hardware key: ") for line in lines)
    assert any(line.startswith("  device locks: ") for line in lines)
    if "  meter used by `auto`: codecarbon, modelled" in lines:
        assert "  modelled, not measured: `cpu` is CPU seconds of " in result.stdout
        assert lines[-1].startswith("next: pytest   # the first run records for this machine")
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("stored", "modelled", "step"),
    [
        (True, False, "pytest --energy-hw=h200   #"),
        (True, True, "pytest --energy-hw=h200   #"),
        (False, True, "pytest   #"),
        (False, False, "pytest --energy-hw=h200 --energy-update=new   #"),
    ],
)
def test_doctor_says_what_to_do_next(stored: bool, modelled: bool, step: str) -> None:
    assert _next_step("h200", stored=stored, modelled=modelled).startswith(step)


def test_a_copy_under_any_name_and_a_git_revision_are_compared_alike(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(stored.parent)
    for arguments in (
        ["init", "-q"], ["add", "."],
        ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x"],
    ):  # fmt: skip
        subprocess.run(["git", *arguments], check=True)
    shutil.copy(stored, "old.toml")

    assert main(["baselines", "--compare", "old.toml", stored.name]) == 0
    by_copy = capsys.readouterr().out
    assert main(["baselines", "--compare", "HEAD", stored.name]) == 0
    by_revision = capsys.readouterr().out

    assert "sst2/bert" in by_copy
    assert by_revision == f"{stored.name}  since HEAD\n{by_copy}"
    assert main(["baselines", "--compare", "--", "nowhere", stored.name]) == 4
    assert "`nowhere` is no file, and no revision of" in capsys.readouterr().err


@pytest.mark.fault(
    "neighbours",
    "a command prints to a terminal of another encoding",
    "replacement characters, the exit code stays",
)
@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-8:strict", "latin-1"])
def test_what_a_terminal_cannot_show_does_not_end_a_command(tmp_path: Path, encoding: str) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("device_watts,wall_watts\n70,212.4\n200,355.7\n400,575.3\n")
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "name").write_bytes(b"package-\xc3\xa9\xff")
    (zone / "energy_uj").write_text("1")
    (zone / "max_energy_range_uj").write_text("262143328850")
    folder = os.fsdecode(b"caf\xe9-\xe2\x82\xac")
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "cpu.toml").write_text('schema = 1\n[hardware]\nkey = "cpu"\n')
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTEST_ENERGY_POWERCAP"] = str(tmp_path)
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pytest_energy.cli import main"
    script = (
        f"{code}; print([main(c) for c in (['calibrate', '--pairs=pairs.csv'], "
        "['doctor', f'--baselines={sys.argv[1]}'], ['baselines', sys.argv[1]])])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, folder],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
    )

    assert done.stderr == b""
    assert done.stdout.splitlines()[-1] == b"[0, 0, 0]"
    assert b"over 3 pairs" in done.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["baselines", "--chek"], "`--chek` is not known; did you mean `--check`? `--help`"),
        (["doctor", "--banana=1"], "`--banana=1` is not known; `--help` lists what is"),
        (["history", "compact", "h.jsonl", "more"], "`more` is not known; `--help`"),
    ],
)
def test_an_unknown_argument_is_refused_by_its_command(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given)

    assert ended.value.code == 4
    printed = capsys.readouterr().err
    assert printed.startswith(f"usage: pytest-energy {given[0]}")
    assert f"pytest-energy {given[0]}: {said}" in printed
