"""The metering process's handle of one side: start it, come to its checks, measure, end it."""

from __future__ import annotations

from collections.abc import Sequence
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
from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.metering import Window
from pytest_energy.metering.hardware import Budget
from pytest_energy.metering.profile import Profile
from pytest_energy.meters import Meter
from pytest_energy.private_folders import PrivateFolder
from pytest_energy.processes import (
    FLOODS,
    STALL_SECONDS,
    Channel,
    ChildProcess,
    ClosedError,
    Message,
    stop_all,
    tail_of,
)
from pytest_energy.results import VerdictRecord
from pytest_energy.results.json_codec import as_json, from_json

PROGRAM = ("-m", "pytest_energy.plugin.ab_side")
GRACE_SECONDS = 2.0
"""How long a side that is not needed any more may take to end by itself before it is made to."""
ENDING_SECONDS = 1.0
"""How long a side may take that is made to end, before it is killed."""
EXIT_SECONDS = 5.0
"""How long a side that has failed may take to print why, and to end."""
POLL_SECONDS = 0.5


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

    def stop(self) -> None:
        """End the process and what it started; a second call does nothing."""
        stop_sides([self])

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
