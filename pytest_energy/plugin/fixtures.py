"""What tests hold: `energy`, `finetune`, `energy_gate`, `energy_workload`. PYTEST_DONT_REWRITE."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_energy.errors import EnergyError, raised_elsewhere
from pytest_energy.plugin.marker import EnergyMarker

if TYPE_CHECKING:
    from pytest_energy.checks.measuring import Run
    from pytest_energy.metering import OpenWindow
    from pytest_energy.meters import Meter
    from pytest_energy.plugin.state import EnergySession
    from pytest_energy.results import VerdictRecord
    from pytest_energy.results.claims import Claim
    from pytest_energy.workloads.step import Step

__tracebackhide__ = raised_elsewhere


SESSION = pytest.StashKey["EnergySession"]()
CLAIM = pytest.StashKey["Claim"]()


class Energy:
    """Meters stretches of a test; `meter` is the run's own."""

    def __init__(self, session: EnergySession, nodeid: str) -> None:
        self._session = session
        self._nodeid = nodeid

    @property
    def meter(self) -> Meter:
        """The meter that the run has open."""
        return self._session.meter

    @contextmanager
    def window(self, name: str = "window") -> Iterator[OpenWindow]:
        """Meter the block; figures are there after it, and a row in the run's table."""
        from pytest_energy.metering import window
        from pytest_energy.results import measured

        with window(self._session.meter, name) as opened:
            yield opened
        self._session.verdicts.append(measured(self._nodeid, opened.record))


class EnergyGate:
    """Checks a run's figures against their baselines; a test fails as its verdict says."""

    def __init__(self, session: EnergySession, item: pytest.Item) -> None:
        self._session = session
        self._item = item
        self._records: list[VerdictRecord] = []

    def check(self, metric: str, run: Run, other: Run | None = None) -> VerdictRecord:
        """Pull windows until the verdict on a metric is sure.

        `joules_per_token` takes one run, `savings` two: what `other` saves of `run`'s J/token.
        Fails the test on a regression; returns the record of the verdict otherwise.
        """
        from pytest_energy.checks.runner import checked
        from pytest_energy.plugin.outcome import report

        session, item = self._session, self._item
        with user_errors():
            record = checked(session, item, self._records, metric, run, other)
        if session.server is None:
            report(session, item, record)
            self._records.append(record)
        return record


@pytest.fixture
def energy_session(request: pytest.FixtureRequest) -> Iterator[EnergySession]:
    """The run's session, with the devices held for this test."""
    with user_errors():
        session = session_of(request.node)
    with user_errors(), session.metered():
        yield session


@pytest.fixture
def energy(energy_session: EnergySession, request: pytest.FixtureRequest) -> Energy:
    """Meter parts of a test: `with energy.window("train") as w`."""
    return Energy(energy_session, request.node.nodeid)


@pytest.fixture
def energy_gate(energy_session: EnergySession, request: pytest.FixtureRequest) -> EnergyGate:
    """Gate a run: `energy_gate.check("joules_per_token", run)`."""
    return EnergyGate(energy_session, request.node)


@pytest.fixture
def energy_claim(energy_session: EnergySession, request: pytest.FixtureRequest) -> Claim:
    """Test a claim: `energy_claim.figure("r_squared", 0.997, at_least=0.99)`.

    The claim is the first line of the module's docstring, after `Claim: ` if that is there.
    """
    from pytest_energy.results.claims import Claim

    lines = (request.module.__doc__ or "").strip().splitlines() or [request.node.name]
    claim = Claim(
        lines[0].removeprefix("Claim: "), request.node.nodeid, energy_session.meter.method
    )
    request.node.stash[CLAIM] = claim
    return claim


@pytest.fixture
def energy_workload() -> Step | None:
    """To be overridden with a training step of one's own, which `finetune` then drives."""
    return None


@pytest.fixture
def finetune(
    energy_session: EnergySession, energy_workload: Step | None, request: pytest.FixtureRequest
) -> Iterator[Any]:
    """Make a fine-tuning run: `finetune("sst2", model="bert-base-uncased")`.

    Skips where the data source has nothing for the task. Keyword arguments of
    `pytest_energy.workloads.finetune.prepare` change the workload, and with it its digest; those
    of `stepping.drive` where `energy_workload` is overridden. `processes=4` shares it among as
    many GPUs by torchrun, with what `distributed.RankGroups.prepare` takes.
    """
    from pytest_energy.workloads.distributed import RankGroups
    from pytest_energy.workloads.finetune import prepare
    from pytest_energy.workloads.step import drive
    from pytest_energy.workloads.tasks import get_task

    session = energy_session
    with user_errors():
        data = session.data
        marker = EnergyMarker.from_item(request.node)
    groups = RankGroups()
    endings: list[Callable[[], None]] = [groups.close]

    def make(task: str, model: str = "bert-base-uncased", **changes: Any) -> object:
        with user_errors():
            missing = data.missing(get_task(task))
            if missing is not None:
                pytest.skip(missing)
            settings: dict[str, Any] = {
                "data": data,
                "meter": session.meter,
                "tokens_per_window": session.tokens_per_window(marker.tokens),
                "max_tokens_per_batch": session.budget.max_tokens_per_batch,
                **changes,
            }
            run: Any
            if energy_workload is not None:
                run = drive(energy_workload, task, model, **settings)
            else:
                several = "processes" in changes or "nodes" in changes
                if several and session.server is not None:
                    raise EnergyError(
                        "a run of several processes cannot be compared by A/B: its ranks meter "
                        "themselves; leave the test out, or gate it by a baseline"
                    )
                start = groups.prepare if several else prepare
                run = start(task, model, **{"models": session.config.models, **settings})
        endings.append(run.close)
        return run

    yield make
    for end in endings:
        end()


def session_of(item: pytest.Item) -> EnergySession:
    """The run's session; begun here where collection did not see that the test needs one."""
    if SESSION not in item.config.stash:
        from pytest_energy.plugin.lifecycle import begin

        try:
            begin(item.config, [item])
        except pytest.UsageError as error:
            raise EnergyError(str(error)) from None
    return item.config.stash[SESSION]


@contextmanager
def user_errors() -> Iterator[None]:
    """Show an error that the user can mend as one sentence, without a traceback."""
    try:
        yield
        return
    except EnergyError as error:
        text = str(error)
    # Without what it was raised from, which says the same.
    raise pytest.fail.Exception(text, pytrace=False) from None
