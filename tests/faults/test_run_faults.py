"""What tests do to the process, the files and the streams of the run that they are part of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = """
    import os, pathlib, shutil, signal, subprocess, sys, threading
    import pytest
    import spending

    def metered(energy, name, joules=5.0):
        with energy.window(name):
            spending.spend(joules)

    def test_first(energy):
        metered(energy, "one")

    def test_faulty(energy, request):
        {body}

    def test_last(energy):
        metered(energy, "last")
"""


def project(pytester: pytest.Pytester, body: str) -> None:
    lines = body.strip("\n").splitlines()
    text = "\n".join([lines[0], *(" " * 8 + line for line in lines[1:])])
    pytester.makepyfile(test_it=TESTS.replace("{body}", text))


def names(path: Path) -> list[str]:
    document: Any = json.loads(path.read_text())
    return [verdict["id"].rpartition("/")[2] for verdict in document["verdicts"]]


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("--energy-json=run.json", *arguments)


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        pytest.param(
            "os.chdir('/')",
            ["one", "last"],
            id="folder",
            marks=pytest.mark.fault(
                "files",
                "a test changes the current folder",
                "reports go where they were asked for",
            ),
        ),
        pytest.param(
            "os.environ.clear()",
            ["one", "last"],
            id="environment",
            marks=pytest.mark.fault(
                "processes and signals",
                "a test removes all environment variables",
                "the run ends as it would, with all figures",
            ),
        ),
        pytest.param(
            "thread = threading.Thread(target=metered, args=(energy, 'thread'))\n"
            "thread.start(); thread.join()",
            ["one", "thread", "last"],
            id="thread",
            marks=pytest.mark.fault(
                "processes and signals",
                "a window is metered in another thread",
                "its figure is one of the test's",
            ),
        ),
        pytest.param(
            "energy.window('open').__enter__()",
            ["one", "last"],
            id="open window",
            marks=pytest.mark.fault(
                "processes and signals",
                "a window is opened and never ended",
                "it has no figure, those of other tests stay",
            ),
        ),
        pytest.param(
            "signal.raise_signal(signal.SIGWINCH)",
            ["one", "last"],
            id="resized",
            marks=pytest.mark.fault(
                "processes and signals",
                "the terminal is resized while a test runs",
                "the run ends as it would, with all figures",
            ),
        ),
        pytest.param(
            "for name in ('replace', 'rename', 'fsync', 'link'):\n"
            "    request.getfixturevalue('monkeypatch').setattr(os, name, None)",
            ["one", "last"],
            id="patched",
            marks=pytest.mark.fault(
                "neighbours",
                "a test patches `os.replace`, `os.link` and `os.fsync` while it runs",
                "reports are written, with all figures",
            ),
        ),
        pytest.param(
            "import json\nrequest.getfixturevalue('monkeypatch').setattr(json, 'dumps', None)",
            ["one", "last"],
            id="patched json",
            marks=pytest.mark.fault(
                "neighbours",
                "a test patches `json.dumps` while it runs",
                "reports are written, with all figures",
            ),
        ),
        pytest.param(
            "import warnings\nwarnings.simplefilter('error')\n"
            "import gc, logging\ngc.disable(); logging.disable()",
            ["one", "last"],
            id="warnings",
            marks=pytest.mark.fault(
                "neighbours",
                "a test makes warnings errors, and switches logging and the collector off",
                "the run ends as it would, with all figures",
            ),
        ),
        pytest.param(
            "child = os.fork()\n"
            "if not child:\n"
            "    metered(energy, 'child'); os._exit(0)\n"
            "assert os.waitpid(child, 0)[1] == 0",
            ["one", "last"],
            id="fork",
            marks=pytest.mark.fault(
                "processes and signals",
                "a forked process meters a window of its own and ends",
                "it takes nothing from its parent's figures, and adds nothing",
            ),
        ),
        pytest.param(
            "with energy.window('child'):\n"
            "    child = os.fork()\n"
            "    if not child:\n"
            "        sys.exit(3)\n"
            "    assert os.waitpid(child, 0)[1] != 1",
            ["one", "child", "last"],
            id="fork that goes on",
            marks=pytest.mark.fault(
                "processes and signals",
                "a process is forked within a window and ends by `sys.exit` there",
                "reports hold the parent's figures once",
            ),
        ),
    ],
)
def test_whatever_a_test_does_to_its_process(
    pytester: pytest.Pytester, spending: Path, body: str, kept: list[str]
) -> None:
    project(pytester, body)

    result = run(pytester, "-p", "no:cacheprovider")

    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    assert names(pytester.path / "run.json") == kept


@pytest.mark.fault(
    "files",
    "a disk fills between two reports",
    "the one that does not fit is named, the other one is whole",
)
def test_a_disk_that_fills_between_reports(pytester: pytest.Pytester, spending: Path) -> None:
    for name in ("jinja2", "plotly"):
        pytest.importorskip(name)
    project(
        pytester,
        "import resource\n_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))",
    )

    result = run(pytester, "--energy-html=run.html", "-p", "no:cacheprovider")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert names(pytester.path / "run.json") == ["one", "last"]
    result.stdout.fnmatch_lines(["ERROR: `--energy-html`: `*run.html` cannot be written: *"])
    assert list(pytester.path.glob(".run.html*")) == []


@pytest.mark.fault(
    "files",
    "the folder of a report is removed while tests run",
    "the report is written all the same, into a new folder",
)
def test_a_folder_that_is_removed_meanwhile(pytester: pytest.Pytester, spending: Path) -> None:
    out = pytester.mkdir("out")
    project(pytester, f"shutil.rmtree({str(out)!r})")

    result = pytester.runpytest_subprocess("--energy-json=out/run.json", "-p", "no:cacheprovider")

    assert result.ret == 0
    assert names(out / "run.json") == ["one", "last"]


@pytest.mark.fault(
    "files",
    "a folder takes the place of a report while tests run",
    "the report is named as one that cannot be written, and the run fails",
)
def test_a_folder_in_the_place_of_a_report(pytester: pytest.Pytester, spending: Path) -> None:
    path = pytester.path / "run.md"
    project(pytester, f"os.mkdir({str(path)!r})")

    result = run(pytester, "--energy-markdown=run.md", "-p", "no:cacheprovider")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert names(pytester.path / "run.json") == ["one", "last"]
    result.stdout.fnmatch_lines(["ERROR: `--energy-markdown`: `*run.md` cannot be written: *"])


@pytest.mark.fault(
    "files",
    "pytest's cache folder is a file",
    "the run ends as it would, with all figures and its history",
)
def test_a_cache_that_is_a_file(pytester: pytest.Pytester, spending: Path) -> None:
    project(pytester, "pass")
    (pytester.path / ".pytest_cache").write_text("")

    result = run(pytester, "--energy-history=past", "-W", "ignore")

    assert result.ret == 0, result.stdout.str()
    assert names(pytester.path / "run.json") == ["one", "last"]
    assert len(list((pytester.path / "past").rglob("*.json"))) == 1


@pytest.mark.fault(
    "files",
    "a test lowers the limit of open files, so that none can be opened any more",
    "reports that cannot be written are named, and the run ends without a traceback",
)
def test_no_file_can_be_opened(pytester: pytest.Pytester, spending: Path) -> None:
    project(
        pytester,
        "import resource\n_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))",
    )

    result = run(pytester, "--energy-markdown=run.md", "-p", "no:cacheprovider", "-W", "ignore")

    assert result.ret == pytest.ExitCode.TESTS_FAILED, result.stdout.str() + result.stderr.str()
    assert "Too many open files" in result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str()


GATED = """
    from pathlib import Path
    from gated import Run

    def test_gated(energy_gate):
        energy_gate.check("joules_per_token", Run("mine/model"))
        {body}
"""
RECORDED = """
schema = 1
[hardware]
key = "h200"
match = ["NVIDIA H200*"]
tokens_per_window = 1000
[joules_per_token."mine/other"]
workload = "3f9a1c20"
sessions = [{ date = 2026-01-01, windows = 10, mean = 0.005, cv = 0.003 }]
"""


def recording(pytester: pytest.Pytester, body: str) -> pytest.RunResult:
    pytester.makepyfile(test_it=GATED.replace("{body}", body))
    return run(pytester, "--energy-update=new", "--energy-tokens=1000", "--energy-history=past")


@pytest.mark.fault(
    "files",
    "another run records into the same baseline file while this one measures",
    "both recordings are in it",
)
def test_a_baseline_that_another_run_writes_meanwhile(
    pytester: pytest.Pytester, spending: Path
) -> None:
    path = pytester.mkdir("baselines") / "h200.toml"

    result = recording(pytester, f"Path({str(path)!r}).write_text({RECORDED!r})")

    assert result.ret == 0, result.stdout.str()
    text = path.read_text()
    assert '[joules_per_token."mine/other"]' in text
    assert '[joules_per_token."mine/model"]' in text


@pytest.mark.fault(
    "files",
    "a baseline file is damaged while a recording for it is measured",
    "it is left as it is and named, the run fails, its figures are in its history",
)
def test_a_baseline_that_breaks_meanwhile(pytester: pytest.Pytester, spending: Path) -> None:
    path = pytester.mkdir("baselines") / "h200.toml"

    result = recording(pytester, f"Path({str(path)!r}).write_text('schema = [')")

    assert result.ret == pytest.ExitCode.TESTS_FAILED, result.stdout.str()
    assert path.read_text() == "schema = ["
    result.stdout.fnmatch_lines(["ERROR: *h200.toml`*"])
    assert len(list((pytester.path / "past").rglob("*.json"))) == 1


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        pytest.param(
            ["-p", "no:terminal"],
            {},
            id="no terminal",
            marks=pytest.mark.fault(
                "neighbours", "pytest runs without its terminal reporter", "all figures are written"
            ),
        ),
        pytest.param(
            [],
            {"PYTHONOPTIMIZE": "2"},
            id="optimised",
            marks=pytest.mark.fault(
                "neighbours", "Python runs without docstrings (`-OO`)", "all figures are written"
            ),
        ),
        pytest.param(
            [],
            {"COLUMNS": "1", "LINES": "0", "TERM": "dumb"},
            id="narrow",
            marks=pytest.mark.fault(
                "neighbours", "the terminal is one column wide", "all figures are written"
            ),
        ),
        pytest.param(
            ["-s"],
            {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
            id="ascii",
            marks=pytest.mark.fault(
                "neighbours", "the terminal takes ASCII alone", "all figures are written"
            ),
        ),
        pytest.param(
            ["-p", "no:capture", "-p", "no:logging", "-p", "no:junitxml", "-p", "no:cacheprovider"],
            {},
            id="few plugins",
            marks=pytest.mark.fault(
                "neighbours",
                "pytest's own plugins for capture, logging and the cache are off",
                "all figures are written",
            ),
        ),
        pytest.param(
            [],
            {"HOME": "/nowhere", "TMPDIR": "/nowhere", "XDG_CACHE_HOME": "/dev/null"},
            id="homeless",
            marks=pytest.mark.fault("files", "there is no home folder", "all figures are written"),
        ),
        pytest.param(
            [],
            {"TZ": "nowhere/land"},
            id="zone",
            marks=pytest.mark.fault(
                "clocks", "the time zone is one that nobody knows", "all figures are written"
            ),
        ),
        pytest.param(
            ["--basetemp=base", "--import-mode=importlib", "--strict-markers"],
            {"PYTHONDEVMODE": "1"},
            id="development",
            marks=pytest.mark.fault(
                "neighbours", "Python runs in its development mode", "all figures are written"
            ),
        ),
    ],
)
def test_whatever_a_run_is_started_with(
    pytester: pytest.Pytester,
    spending: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: dict[str, str],
) -> None:
    project(pytester, "pass")
    variables = {**os.environ, **environment}
    command = [sys.executable, "-m", "pytest", "--energy-json=run.json", *arguments]

    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr
    assert names(pytester.path / "run.json") == ["one", "last"]
    assert "Traceback" not in done.stderr


@pytest.mark.fault(
    "processes and signals",
    "a run is started with its input stream closed",
    "all figures are written",
)
def test_an_input_that_is_closed(pytester: pytest.Pytester, spending: Path) -> None:
    project(pytester, "pass")
    command = f"{sys.executable} -m pytest --energy-json=run.json <&-"

    subprocess.run(["sh", "-c", command], capture_output=True, timeout=60)

    assert names(pytester.path / "run.json") == ["one", "last"]


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "RuntimeError('broken')", "SystemExit(3)"])
@pytest.mark.fault(
    "neighbours",
    "another plugin's hook raises when the session ends, before reports are written",
    "all figures are in the JSON",
)
def test_a_hook_that_raises_at_the_end(
    pytester: pytest.Pytester, spending: Path, raised: str
) -> None:
    project(pytester, "pass")
    pytester.makeconftest(
        f"""
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionfinish():
            raise {raised}
        """
    )

    result = run(pytester, "-p", "no:cacheprovider")

    assert result.ret != 0
    assert names(pytester.path / "run.json") == ["one", "last"]


@pytest.mark.fault(
    "neighbours",
    "a test's own report says what is no JSON: NaN, bytes and circles as properties",
    "all figures are written",
)
def test_properties_that_are_no_json(pytester: pytest.Pytester, spending: Path) -> None:
    project(
        pytester,
        "circle = []\ncircle.append(circle)\n"
        "for value in (float('nan'), b'\\xff', circle, object(), '\\ud800'):\n"
        "    request.node.user_properties.append(('odd', value))",
    )

    run(pytester, "-p", "no:cacheprovider", "-p", "no:junitxml")

    assert names(pytester.path / "run.json") == ["one", "last"]


@pytest.mark.parametrize("name", ["'x' * 5000", "'a\\0b'", "'\\ud800'", "''", "'../../etc'", "7"])
@pytest.mark.fault(
    "data",
    "a window's name is endless, empty, no text, or a path",
    "the run goes on, and the figures of other tests are written",
)
def test_odd_names_of_windows(pytester: pytest.Pytester, spending: Path, name: str) -> None:
    project(pytester, f"metered(energy, {name})")

    result = run(
        pytester, "-p", "no:cacheprovider", "--energy-history=past", "--energy-markdown=run.md"
    )

    assert "INTERNALERROR" not in result.stdout.str()
    found = names(pytester.path / "run.json")
    assert (found[0], found[-1]) == ("one", "last")
    assert "last" in (pytester.path / "run.md").read_text()
    assert len(list((pytester.path / "past").rglob("*.json"))) == 1
