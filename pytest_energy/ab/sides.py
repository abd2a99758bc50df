"""Both sides of one test: each started, brought to its checks, measured and ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from typing import Any

from pytest_energy.ab.protocol import (
    CALLS,
    VERSION,
    Kind,
    MeterServer,
    Ready,
    SideFaultError,
    ending,
    expect,
    facts_of,
    last_error,
)
from pytest_energy.ab.side_place import SidePlace
from pytest_energy.channels import STALL_SECONDS, Channel, ClosedError, Message
from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.metering import Window
from pytest_energy.metering.hardware import Budget
from pytest_energy.metering.profile import Profile
from pytest_energy.meters import Meter
from pytest_energy.processes import (
    FLOODS,
    ChildProcess,
    PrivateFolder,
    stop_all,
    tail_of,
    uninterrupted,
)
from pytest_energy.results import VerdictRecord
from pytest_energy.results.json_codec import as_json, from_json
from pytest_energy.stats.steadiness import is_stationary

BASE, HEAD = 0, 1

PROGRAM = ("-m", "pytest_energy.plugin.ab_side")
GRACE_SECONDS = 2.0
"""How long a side that is not needed any more may take to end by itself before it is made to."""
ENDING_SECONDS = 1.0
"""How long a side may take that is made to end, before it is killed."""
EXIT_SECONDS = 5.0
"""How long a side that has failed may take to print why, and to end."""
POLL_SECONDS = 0.5
TURN_WARM_UP = 4
"""Windows, at most, that warm a run up each time its side's turn begins, in a new process."""


class SideProcess:
    """One side's process; every method raises `SideFaultError` if the side cannot go on.

    `arguments` are its pytest's command line; `timeout_seconds` is how long it may take to load,
    or for one window.
    """

    def __init__(
        self,
        place: SidePlace,
        arguments: list[str],
        budget: Budget,
        timeout_seconds: float,
        meter: Meter,
    ) -> None:
        self.place = place
        self.ready: Ready | None = None
        self._decided = False
        self._timeout = timeout_seconds
        self._folder = PrivateFolder("side")
        ours, theirs = Pipe()
        with theirs:
            try:
                self._child = ChildProcess(
                    [place.python, *PROGRAM, str(theirs.fileno())],
                    self._folder.path,
                    environment=place.variables(meter.method),
                    working_folder=place.root,
                    pass_fds=(theirs.fileno(),),
                )
            except OSError as error:
                ours.close()
                self._folder.remove()
                raise SideFaultError(place, "start", str(error)) from None
        self._channel = Channel(ours, min(timeout_seconds, STALL_SECONDS))
        self._calls = MeterServer(meter, self._channel)
        # What pytest keeps between runs is the user's; a side has a folder of its own.
        kept = f"cache_dir={self._child.folder / 'cache'}"
        cache = [] if "no:cacheprovider" in arguments else ["-o", kept]
        with suppress(ClosedError):  # it is named when an answer is due
            self._channel.send(
                "settings",
                version=VERSION,
                arguments=[*arguments, *cache],
                meter=facts_of(meter),
                tokens=budget.tokens,
                max_tokens_per_batch=budget.max_tokens_per_batch,
                tokens_of_tasks=dict(budget.of_tasks),
                ignored=None if place.ignored is None else str(place.ignored),
            )

    def come_to(self, index: int, earlier: Sequence[VerdictRecord]) -> Ready | None:
        """Go on to the check of that number, counted from 0; None if the test has ended.

        `earlier` are the verdicts on the checks before it, which a new process passes again.
        """
        while self.ready is None or self.ready.check < index:
            if self.ready is not None and not self._decided:
                self.answer(earlier[self.ready.check])
            message = self._next("comes to no check")
            if message["kind"] == "finished":
                return None
            self.ready, self._decided = from_json(Ready, expect(message, "ready")), False
        return self.ready

    def window(self, run: int) -> Window:
        """Measure one window of a run of the check at hand."""
        before = self._calls.ended
        self._send("window", run=run)
        message = expect(self._next("does not end its window"), "window")
        if self._calls.ended == before:
            raise EnergyError(
                f"the {self.place.name}'s run meters itself, so its windows cannot be compared; "
                f"make it with `energy.meter`, as `finetune` does"
            )
        return from_json(Window, message["window"])

    def profile(self, run: int) -> Profile | None:
        """Where the time of a run of the check at hand goes; None if it computes nothing by torch.

        Raises `EnergyError` where the side could not tell.
        """
        self._send("profile", run=run)
        message = expect(self._next("does not end its profile"), "profile")
        if message["error"] is not None:
            raise EnergyError(f"the {self.place.name}: {message['error']}")
        found = message["profile"]
        return None if found is None else from_json(Profile, found)

    def answer(self, record: VerdictRecord) -> None:
        """End the check at hand with its verdict."""
        self._decided = True
        self._send("done", record=as_json(record))

    def dismiss(self) -> None:
        """Let the process know that it may end."""
        self._channel.close()

    def _send(self, kind: str, **fields: Any) -> None:
        try:
            self._channel.send(kind, **fields)
        except ClosedError:
            raise self._ended() from None

    def _next(self, hanging: str) -> Message:
        """The next message that is not for the meter."""
        give_up = real_time.monotonic() + self._timeout
        while real_time.monotonic() < give_up:
            try:
                message = self._channel.receive(POLL_SECONDS)
                if message is not None and message["kind"] in CALLS:
                    self._calls.answer(message)
                    continue
            except ClosedError:
                raise self._ended() from None
            if message is None:
                # Its channel may be held open by a process that it has left behind.
                if self._child.wait() is not None:
                    raise self._ended()
                if self._child.floods:
                    self._child.kill()
                    raise self._fault("died", FLOODS)
            elif message["kind"] == "fault":
                raise self._reported(message)
            else:
                return message
        self._child.kill()
        raise self._fault(
            "hung", f"it {hanging} within {self._timeout:g} s (`--energy-side-timeout`)"
        )

    def _reported(self, message: Message) -> SideFaultError:
        """The fault that the side itself has named, once it has printed all that it will."""
        text = str(message["text"])
        self.dismiss()
        self._child.wait(EXIT_SECONDS)
        if message["fault"] == "start":
            text = last_error(tail_of(self._child.output)) or text
        return self._fault(message["fault"], text)

    def _ended(self) -> SideFaultError:
        exit_code = self._child.wait(EXIT_SECONDS)
        if exit_code is None:
            return self._fault("died", "it closed its pipes")
        kind, text = ending(exit_code)
        said = last_error(tail_of(self._child.output))
        return self._fault(kind, f"{text} ({said})" if said else text)

    def _fault(self, kind: Kind, text: str) -> SideFaultError:
        return SideFaultError(self.place, kind, text, tail_of(self._child.output))


def stop_sides(sides: Sequence[SideProcess], grace_seconds: float = GRACE_SECONDS) -> None:
    """End sides' processes and what they started, all at the same time."""
    for side in sides:
        side.dismiss()
    stop_all([side._child for side in sides], grace_seconds, ENDING_SECONDS)
    for side in sides:
        side._folder.remove()


class SidePair:
    """The two sides, each started when it is first needed; `earlier` are the verdicts so far.

    `start_seconds` is the longest that a side took to come to a check, `window_seconds` that of
    the shortest window.

    `turns` is None while both are resident, else why they take turns. Then one process lives at
    a time, and a side that is up again begins anew and warms up first.
    """

    def __init__(
        self,
        places: Sequence[SidePlace],
        start: Callable[[SidePlace], SideProcess],
        earlier: Sequence[VerdictRecord] = (),
    ) -> None:
        self.turns: str | None = None
        self.start_seconds = self.window_seconds = 0.0
        self.places = tuple(places)
        self.earlier = list(earlier)
        self._start = start
        self._live: dict[int, SideProcess] = {}
        self._begun: dict[int, float] = {}

    def open(self) -> None:
        """Start both, so that they load at the same time."""
        for side in (BASE, HEAD):
            if side not in self._live and self.turns is None:
                self._begin(side)

    def come_to_check(self, side: int) -> Ready | None:
        """The first check without a verdict that a side comes to; None if its test has ended."""
        ready = self._up(side).come_to(len(self.earlier), self.earlier)
        if (begun := self._begun.pop(side, None)) is not None:
            self.start_seconds = max(self.start_seconds, real_time.monotonic() - begun)
        return ready

    def window(self, side: int, run: int) -> Window:
        """One window of a side's run, from whichever process is to work now."""
        anew = side not in self._live
        process = self._up(side)
        ready = process.come_to(len(self.earlier), self.earlier)
        if anew and self.turns is not None and ready is not None:
            for each in range(len(ready.runs)):
                _warm_up(process, each)
        begun = real_time.monotonic()
        window = process.window(run)
        took = real_time.monotonic() - begun
        self.window_seconds = min(self.window_seconds or took, took)
        return window

    def profile(self, side: int, run: int) -> Profile | None:
        """Where the time of a side's run goes; None if it computes nothing by torch.

        Where that fails, whatever it is, its process is ended: a later check begins anew.
        """
        try:
            process = self._up(side)
            process.come_to(len(self.earlier), self.earlier)
            return process.profile(run)
        except Exception:
            if (failed := self._live.pop(side, None)) is not None:
                stop_sides([failed], 0.0)
            raise

    def renew(self) -> None:
        """Start both sides anew; each of their runs is warmed up by a window that is no evidence.

        Both begin alike, so that what a first window has left to do weighs on both.
        """
        self.close()
        self.open()
        for side in (HEAD, BASE):
            ready = self.come_to_check(side)
            if ready is None:
                raise SideFaultError(self.places[side], "absent", "it comes to no such check again")
            for each in range(len(ready.runs)):
                self._live[side].window(each)

    def answer(self, record: VerdictRecord) -> None:
        """End the check at hand on both sides."""
        self.earlier.append(record)
        for process in self._live.values():
            process.answer(record)

    def take_turns(self, fault: SideFaultError) -> str:
        """Let one process live at a time from now on; says why."""
        self.close()
        self.turns = f"the sides took turns, since with both resident {fault}"
        return self.turns

    def close(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """End what still runs."""
        live, self._live = [*self._live.values()], {}
        stop_sides(live, grace_seconds)

    def __enter__(self) -> SidePair:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Who breaks a run off, by Ctrl-C or by a job's end, has seconds.
        self.close(GRACE_SECONDS if kind is None else 0.0)

    def _up(self, side: int) -> SideProcess:
        if side not in self._live:
            if self.turns is not None:
                self.close()
            self._begin(side)
        return self._live[side]

    def _begin(self, side: int) -> None:
        self._begun[side] = real_time.monotonic()
        with uninterrupted():  # a process that nobody has noted would outlive the run
            self._live[side] = self._start(self.places[side])


def _warm_up(process: SideProcess, run: int) -> None:
    values: list[float] = []
    for _ in range(TURN_WARM_UP):
        window = process.window(run)
        if window.valid:
            values.append(window.joules_per_token)
        if is_stationary(values):
            return
