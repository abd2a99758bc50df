"""Hostile texts and secrets in what a run and the commands are given, through all they put out."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from pathlib import Path

import pytest

from hostile import HOSTILE, SECRET, STARTS, faults
from pytest_energy.baselines.reading import read
from pytest_energy.cli import main

GATED = f"""
    import pytest
    from gated import Run

    LEVEL = 0.005

    def test_gate(energy_gate):
        energy_gate.joules_per_token(Run({HOSTILE!r}, LEVEL))

    def test_start(energy_gate):
        energy_gate.joules_per_token(Run("x", LEVEL), id={STARTS!r})

    def test_window(energy):
        with energy.window({HOSTILE!r}):
            pass

    def test_claim(energy_claim):
        energy_claim.figure({HOSTILE!r}, 1.0, at_least=2.0)
        energy_claim.table({HOSTILE!r}, ({HOSTILE!r},), ({HOSTILE!r},))
"""


@pytest.fixture
def hostile(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """Gated tests whose texts are hostile, on a device and in a CI whose texts are, too."""
    module = spending / "spending.py"
    module.write_text(module.read_text().replace('"NVIDIA H200"', ascii(f"NVIDIA H200{HOSTILE}")))
    for name in ("GITHUB_REF_NAME", "GITHUB_HEAD_REF", "RUNNER_NAME"):
        monkeypatch.setenv(name, HOSTILE)
    monkeypatch.setenv("GITHUB_SHA", STARTS)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    pytester.makepyfile(test_hostile=GATED)
    return pytester


REPORTS = (
    *("--energy-json=run.json", "--energy-markdown=run.md", "--energy-history=past"),
    *("--junitxml=run.xml", "-v"),
)


@pytest.mark.attack(
    "text",
    "names of tests, workloads, devices and files hold commands of CI, escape codes and "
    "marks of direction",
    "nothing that a run puts out or stores obeys them",
)
def test_everything_that_a_run_puts_out_is_harmless(
    hostile: pytest.Pytester, capfd: pytest.CaptureFixture[str]
) -> None:
    first = hostile.runpytest("--energy-update=new", *REPORTS)
    (path,) = (hostile.path / "baselines").glob("*.toml")
    stored = read(path)
    hostile.makepyfile(test_hostile=GATED.replace("LEVEL = 0.005", "LEVEL = 0.006"))
    second = hostile.runpytest(*REPORTS)

    second.assert_outcomes(passed=1, failed=3)
    for result in (first, second):
        assert not _ours(result)
    assert {identifier for _, identifier in stored.entries} == {
        HOSTILE.replace("\udcff", "?"),
        STARTS,
    }
    for name in ("run.md", "summary.md"):
        assert not faults((hostile.path / name).read_text(encoding="utf-8"))
    json.dumps(json.loads((hostile.path / "run.json").read_text()), ensure_ascii=False).encode()
    properties = ElementTree.parse(hostile.path / "run.xml").iter("property")
    assert {"energy_method", "energy_id"} <= {one.get("name") for one in properties}

    capfd.readouterr()
    for arguments in (
        ["baselines", str(path)],
        ["baselines", "--check", str(path)],
        ["baselines", "--compare", str(path), str(path)],
        ["history", "list", "past"],
        ["drift", "past"],
        ["export", "run.json", "--format=bencher"],
        ["export", "run.json", "--format=github-action-benchmark"],
        ["drift", HOSTILE],
        ["baselines", HOSTILE],
        ["export", HOSTILE, "--format=bencher"],
        ["drift", "past", f"--branch={HOSTILE}", f"--hw={HOSTILE}"],
        ["estimate", HOSTILE, f"--hw={HOSTILE}"],
        [HOSTILE],
    ):
        with suppress(SystemExit):
            main(arguments)
        said = capfd.readouterr()
        assert not faults(said.out), arguments
        assert not faults(said.err), arguments


def _ours(result: pytest.RunResult) -> list[str]:
    """Faults in the lines of a run, but for those that pytest prints of a test's own code."""
    return faults("\n".join((*result.outlines, *result.errlines)))


@pytest.mark.attack(
    "text",
    "an option's value holds commands and escape codes",
    "refused, and repeated on one printable line",
)
@pytest.mark.parametrize(
    "option",
    [
        *("--energy-hw", "--energy-baselines", "--energy-update", "--energy-tolerance"),
        *("--energy-meter", "--energy-data", "--energy-models", "--energy-region"),
        *("--energy-wall", "--energy-compare", "--energy-settle"),
    ],
)
def test_a_refused_value_is_repeated_harmlessly(option: str, hostile: pytest.Pytester) -> None:
    result = hostile.runpytest(f"{option}={HOSTILE}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not _ours(result)


PASSWORDS = (SECRET, f"{SECRET} 'x\" y", f"@{SECRET}", f"{SECRET}/x", f"x#{SECRET}", f"{SECRET}`z")


@pytest.mark.attack(
    "secrets",
    "somebody reads why an address with a password is refused",
    "it is not in it",
)
@pytest.mark.parametrize(("option", "scheme"), [("wall", "HTTP"), ("history", "nowhere")])
def test_secrets_are_shown_nowhere(
    option: str, scheme: str, pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(test_it="def test_it(energy):\n    with energy.window('x'): pass\n")
    address = f"{scheme}://user:{''.join(PASSWORDS)}@127.0.0.1:1/x?token={SECRET}"

    by_flag = pytester.runpytest(f"--energy-{option}={address}")
    pytester.makeini(f"[pytest]\nenergy_meter = spending\nenergy_{option} = {address}\n")
    by_ini = pytester.runpytest()

    for result in (by_flag, by_ini):
        assert SECRET not in result.stdout.str() + result.stderr.str()


@pytest.mark.attack(
    "secrets",
    "somebody reads all that a run with the password of an address has left",
    "it is in no file: no report, page, history, record or lock",
)
def test_a_secret_is_in_no_file_that_a_run_leaves(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("plotly")
    pytest.importorskip("jinja2")
    monkeypatch.setenv("PYTEST_ENERGY_LOCKS", str(pytester.path / "locks"))
    pytester.makepyfile(
        test_it="from gated import Run\n"
        "def test_it(energy_gate): energy_gate.joules_per_token(Run('sst2'))\n"
        "def test_lock(energy, tmp_path):\n"
        "    import os, shutil\n"
        "    with energy.window('w'): shutil.copytree(os.environ['PYTEST_ENERGY_LOCKS'], 'held')\n"
    )
    reports = [
        *("--energy-json=run.json", "--energy-markdown=run.md", "--energy-html=run.html"),
        *("--junitxml=run.xml", "--energy-history=past", "--energy-update=new"),
    ]

    result = pytester.runpytest_subprocess(
        *reports, f"--energy-wall=http://u:{SECRET}@127.0.0.1:1/x?token={SECRET}"
    )

    assert result.ret == 0
    assert SECRET not in result.stdout.str() + result.stderr.str()
    files = [path for path in pytester.path.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"run.json", "run.md", "run.html", "run.xml", "h200.toml"} <= names
    assert any("past" in path.parts for path in files)
    assert any("held" in path.parts for path in files)
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


@pytest.mark.attack(
    "secrets",
    "somebody reads what the commands print for the password of an address",
    "it is in none of it",
)
@pytest.mark.parametrize("password", PASSWORDS)
def test_secrets_are_shown_by_no_command(
    password: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for scheme in ("HTTP", "nowhere"):
        address = f"{scheme}://user:{password}@127.0.0.1:1/x?token={SECRET}"
        for arguments in (
            ["drift", address],
            ["history", "list", f"--history={address}"],
            ["history", "compact", address],
            ["report", f"--history={address}", "-o", str(tmp_path / "x.html")],
            ["calibrate", f"--wall={address}"],
        ):
            main(arguments)
            said = capsys.readouterr()
            assert SECRET not in said.out + said.err, arguments


@pytest.mark.attack(
    "secrets",
    "somebody reads the command that is offered for pasting for the password of an address",
    "masked",
)
def test_a_secret_of_the_arguments_is_not_in_the_next_command(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        test_it="from gated import Run\n"
        "def test_it(energy_gate): energy_gate.joules_per_token(Run('sst2'))\n"
    )

    result = pytester.runpytest(
        "--energy-hw=h200", f"--energy-wall=http://u:{SECRET}@h/?k={SECRET}"
    )

    result.stdout.fnmatch_lines(["next: pytest *'--energy-wall=http://[*][*][*]@h/?[*][*][*]'*"])
    assert SECRET not in result.stdout.str()
