"""Ask a GPU host everything once: what its meter can do, and what this project does on it.

Run by `make accept`, or as `python perf/accept.py --out accept --seconds 600`. Each part runs in a
process of its own, and has its time; what one does not use is the next one's. A part that has no
time left is left out, one that takes too long is ended, one that fails is named: the others run all
the same. In the folder stand then `results.json`, `table.md`, `page.html`, `baselines/`, and for
each part its own findings and what it said. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "perf")]

from accept_report import page, table  # noqa: E402
from pytest_energy.files import write_atomically  # noqa: E402

PARTS_PY: Final = str(ROOT / "perf" / "accept_parts.py")
REPORT_SECONDS: Final = 8.0
OWN_SHARE: Final = 0.8
"""Of its time a part begins no more rounds after this."""
GRACE_SECONDS: Final = 5.0
"""What is ended may take so long to write what it has."""
TASK: Final = "squad_v1"
"""Its batches keep a card at work; with short sentences a large one waits for its host."""
OFFLINE: Final = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


@dataclass(frozen=True)
class Part:
    """A part: how many seconds of 600 it has, and how many it needs to find anything."""

    name: str
    title: str
    seconds: float
    least_seconds: float
    command: Sequence[str]
    findings: str | None
    """The file of JSON that it writes."""


@dataclass
class Result:
    """What became of a part: `done`, `cut` (its time ended), `failed` or `left out`, and why."""

    name: str
    title: str
    state: str
    seconds: float = 0.0
    why: str = ""
    found: dict[str, Any] = field(default_factory=dict)


def parts(out: Path, options: argparse.Namespace) -> list[Part]:
    """All parts, in order."""
    python, energy = sys.executable, [sys.executable, "-m", "pytest_energy"]
    stored = ["--baselines", str(out / "baselines")]
    qualify = [*energy, "qualify"]
    suite = [str(ROOT / "benchmarks" / "test_joules_per_token.py")]
    work, tokens = ["--task", options.task], options.tokens
    if options.model:
        work += ["--model", options.model]
    if options.data != "synthetic":
        work += ["--data", options.data]
    if options.models:
        work += ["--models", str(options.models)]
    if options.simulated:
        from accept_rehearsal import QUALIFY, TOKENS, WORK, write_suite

        qualify, suite = [python, QUALIFY], [str(write_suite(out, options.task))]
        work, tokens = [*work, *WORK], tokens or TOKENS
    pytest = [python, "-m", "pytest", *suite, "-p", "no:cacheprovider", "-p", "no:randomly"]
    pytest += ["-k", options.task, "--rootdir", str(Path(suite[0]).parent), "-q"]
    pytest += ["--energy-baselines", str(out / "baselines"), f"--energy-data={options.data}"]
    if tokens:
        pytest += [f"--energy-tokens={tokens}"]
    if options.models:
        pytest += ["--energy-models", str(options.models)]
    drawn = ["--json", str(out / "qualify.json"), "--html", str(out / "qualify.html")]
    drawn += ["--looks", str(out / "looks.json.gz")]
    recorded = ["--energy-update=new", "--energy-allow-ci-update"]

    def reports(name: str) -> list[str]:
        return [f"--energy-json={out / name}.json", f"--energy-html={out / name}.html"]

    def metered(name: str) -> list[str]:
        return [python, PARTS_PY, name, "--out", str(out / f"{name}.json"), *stored, *work]

    return [
        Part("doctor", "Meters and machine", 15, 3, [*energy, "doctor", *stored], None),
        Part("qualify", "Qualification", 120, 5 if options.simulated else 115,
             [*qualify, "--keep", *stored, *drawn], "qualify.json"),
        Part("suite-1", "Suite, recorded", 130, 10, [*pytest, *recorded, *reports("suite-1")],
             "suite-1.json"),
        Part("suite-2", "Suite, gated", 60, 10, [*pytest, *reports("suite-2")], "suite-2.json"),
        Part("ab", "Unchanged A/B", 100, 10, metered("ab"), "ab.json"),
        Part("loop", "Loop against Trainer", 55, 10, metered("loop"), "loop.json"),
        Part("overhead", "Metering on and off", 50, 8, metered("overhead"), "overhead.json"),
        Part("values", "Weights and text", 70, 12, metered("values"), "values.json"),
    ]  # fmt: skip


class Acceptance:
    """The parts one after another, and what is known of them at any moment."""

    def __init__(self, out: Path, chosen: Sequence[Part], seconds: float) -> None:
        self._out, self._parts = out, chosen
        self._ends = time.monotonic() + seconds - REPORT_SECONDS
        self._scale = (seconds - REPORT_SECONDS) / sum(part.seconds for part in chosen)
        self.date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.results: list[Result] = []

    def run(self, environment: dict[str, str]) -> None:
        """Run all parts; what they found is kept after each."""
        for number, part in enumerate(self._parts):
            later = sum(each.seconds for each in self._parts[number + 1 :])
            left = self._ends - time.monotonic() - self._scale * later
            if left < part.least_seconds:
                why = f"it needs {part.least_seconds:g} s, and {max(0.0, left):.0f} s were left"
                result = Result(part.name, part.title, "left out", why=why)
            else:
                say(f"{part.title}: {left:.0f} s at most")
                result = self._ran(part, left, environment)
            why = f" ({result.why})" if result.why else ""
            say(f"  {result.state} after {result.seconds:.0f} s{why}")
            self.results.append(result)
            self.write()

    def write(self) -> None:
        """Keep the results as they are now."""
        found = [asdict(each) for each in self.results]
        document = {"schema": 1, "date": self.date, "parts": found}
        write_atomically(self._out / "results.json", json.dumps(document, indent=1) + "\n")
        write_atomically(self._out / "table.md", table(found))

    def draw(self) -> None:
        """Draw the page; without what it is drawn with, say so."""
        from pytest_energy.errors import EnergyError

        try:
            text = page(self.date, [asdict(each) for each in self.results])
        except EnergyError as error:
            say(f"no page: {error}")
            return
        write_atomically(self._out / "page.html", text)

    def _ran(self, part: Part, seconds: float, environment: dict[str, str]) -> Result:
        command = list(part.command)
        if PARTS_PY in command:  # it ends by itself before it would be ended
            command += ["--ends", f"{time.monotonic() + OWN_SHARE * seconds:.1f}"]
        began = time.monotonic()
        with (self._out / f"{part.name}.log").open("w", encoding="utf-8") as log:
            code = _ended(command, seconds, environment, log)
        result = Result(part.name, part.title, "done", time.monotonic() - began)
        if code is None:
            result.state, result.why = "cut", f"it took longer than {seconds:.0f} s"
        elif code:
            result.state = "failed"
            result.why = ": ".join(filter(None, [f"exit code {code}", self._last_line(part)]))
        result.found = self._found(part)
        return result

    def _found(self, part: Part) -> dict[str, Any]:
        if part.findings is None:
            lines = self._log(part)
            return {"text": "\n".join(lines)}
        try:
            found: dict[str, Any] = json.loads((self._out / part.findings).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found

    def _last_line(self, part: Part) -> str:
        return next((line.strip() for line in reversed(self._log(part)) if line.strip()), "")[:200]

    def _log(self, part: Part) -> list[str]:
        text = (self._out / f"{part.name}.log").read_text("utf-8", errors="replace")
        return text.splitlines()


def _ended(
    command: Sequence[str], seconds: float, environment: dict[str, str], log: Any
) -> int | None:
    """Run a command and give its exit code; None if it had to be ended, with all that it began."""
    process = subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                os.killpg(process.pid, number)
                try:
                    process.wait(GRACE_SECONDS)
                except subprocess.TimeoutExpired:
                    continue


def say(text: str) -> None:
    """Tell a person where it stands."""
    print(text, flush=True)


def main() -> int:
    """Run the parts that were asked for; 1 if one of them did not end well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("accept"), help="folder of the results")
    parser.add_argument("--seconds", type=float, default=600.0, help="for all of it (600)")
    parser.add_argument("--parts", nargs="+", metavar="PART", help="only these, by name")
    parser.add_argument("--task", default=TASK, help=f"what is trained on ({TASK})")
    parser.add_argument("--tokens", type=int, help="of a window of the suite, as `--energy-tokens`")
    parser.add_argument("--model", help="of the other parts (bert-base-uncased)")
    parser.add_argument("--data", default="synthetic", help="as `--energy-data`")
    parser.add_argument("--models", type=Path, help="as `--energy-models`")
    parser.add_argument("--simulated", action="store_true", help="rehearse it on a simulated card")
    options = parser.parse_args()
    out = options.out.resolve()
    (out / "baselines").mkdir(parents=True, exist_ok=True)
    chosen = parts(out, options)
    known = [part.name for part in chosen]
    if unknown := sorted(set(options.parts or ()) - set(known)):
        parser.error(f"no part is called {unknown[0]!r}: there are {', '.join(known)}")
    chosen = [part for part in chosen if not options.parts or part.name in options.parts]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, **OFFLINE, "PYTHONPATH": os.pathsep.join(paths)}
    if options.simulated:
        from accept_rehearsal import simulated

        environment = simulated(environment, out)
    acceptance = Acceptance(out, chosen, options.seconds)
    try:
        acceptance.run(environment)
    finally:
        acceptance.write()
        acceptance.draw()
    say(f"results: {out}")
    return int(any(each.state != "done" for each in acceptance.results))


if __name__ == "__main__":
    sys.exit(main())
