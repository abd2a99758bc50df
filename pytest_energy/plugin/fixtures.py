"""What tests hold, such as `energy_gate` and `finetune`. PYTEST_DONT_REWRITE."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_energy.errors import EnergyError, SkippedInHeadError, raised_elsewhere
from pytest_energy.plugin.marker import RUN, asked_by
from pytest_energy.text import safe_line

if TYPE_CHECKING:
    from pytest_energy.checks.measuring import Run
    from pytest_energy.metering import OpenWindow
    from pytest_energy.metering.cpu_load import CpuUse
    from pytest_energy.meters import Meter
    from pytest_energy.plugin.session import EnergySession
    from pytest_energy.results import VerdictRecord
    from pytest_energy.results.claims import EnergyClaim
    from pytest_energy.workloads.engine import Step

__tracebackhide__ = raised_elsewhere

SESSION = pytest.StashKey["EnergySession"]()
"""Of a run's configuration: its session, once a test needs one."""

PLUGIN = "energy-run"
"""Under which the hooks of a run that meters are registered."""

CLAIM: pytest.StashKey[tuple[EnergyClaim, CpuUse | None]] = pytest.StashKey()
"""Of a test: the claim that it makes, and who had used the CPU before, if that is metered."""

FAILED: pytest.StashKey[bool] = pytest.StashKey()
"""Of a test: whether it, or one of its subtests, has failed so far."""


class Energy:
    """Meters stretches of a test; `meter` is the run's own."""

    def __init__(self, session: EnergySession, nodeid: str) -> None:
        self._session, self._nodeid = session, nodeid

    @property
    def meter(self) -> Meter:
        """The meter that the run has open."""
        return self._session.meter

    @contextmanager
    def window(self, name: str = "window") -> Iterator[OpenWindow]:
        """Meter the block; figures are there after it, and a row in the run's table."""
        from pytest_energy.results import measured

        with self._session.window(name) as opened:
            yield opened
        self._session.keep(measured(self._nodeid, opened.record))
        self._session.look_at(opened.record)


class EnergyGate:
    """Checks a run's figures against their baselines; a test fails as its verdict says.

    Each check measures windows until its verdict is sure, fails the test on a regression, and
    returns the record of the verdict otherwise. `id` is the figure's name, by default made from
    the ids of its runs.
    """

    def __init__(self, session: EnergySession, item: pytest.Item) -> None:
        self._session, self._item = session, item

    def joules_per_token(self, run: Run, *, id: str | None = None) -> VerdictRecord:  # noqa: A002
        """Gate the J/token of a run, and its J/real token if padding has changed."""
        return self._check("joules_per_token", [run], id)

    def savings(
        self,
        *,
        baseline: Run,
        candidate: Run,
        id: str | None = None,  # noqa: A002
    ) -> VerdictRecord:
        """Gate what `candidate` saves of `baseline`'s J/token."""
        return self._check("savings", [baseline, candidate], id)

    def trainer(
        self,
        trainer: Any,
        *given: Any,
        tokens_per_window: int | None = None,
        id: str | None = None,  # noqa: A002
    ) -> VerdictRecord:
        """Gate the J/token of a transformers or Lightning Trainer.

        `given` is what Lightning's `fit` takes, the module first. A window is the optimizer steps
        that `tokens_per_window` tokens take, by default as `finetune` does; each begins with the
        first batch. `id` names the figure, by default after the model's class.
        """
        from pytest_energy.workloads.trainers import TrainerRun

        session = self._session
        with user_errors():
            tokens = tokens_per_window or session.tokens_per_window(asked_by(self._item).tokens)
            run = TrainerRun(trainer, *given, meter=session.meter, tokens_per_window=tokens, id=id)
        return self._check("joules_per_token", [run], id)

    def loop(
        self,
        train: Callable[[], object],
        *,
        tokens_per_window: int,
        id: str,  # noqa: A002
    ) -> VerdictRecord:
        """Gate the J/token of a function of yours, which does the same work at each call.

        Each call is a window, in which `tokens_per_window` tokens are processed; on a GPU it takes
        two seconds or more. `id` names the figure.
        """
        from pytest_energy.checks.loop import LoopRun

        with user_errors():
            meter = self._session.meter
            run = LoopRun(train, meter=meter, tokens_per_window=tokens_per_window, id=id)
        return self._check("joules_per_token", [run], id)

    def check(
        self,
        metric: str,
        run: Run,
        other: Run | None = None,
        *,
        id: str | None = None,  # noqa: A002
    ) -> VerdictRecord:
        """The short form: `check("joules_per_token", run)` or `check("savings", baseline, run)`."""
        return self._check(metric, [run] if other is None else [run, other], id)

    def _check(self, metric: str, runs: Sequence[Run], name: str | None) -> VerdictRecord:
        from pytest_energy.checks.figures import require_metric

        session, item = self._session, self._item
        with user_errors():
            require_metric(metric, runs)
            record = session.runner.check(session.context(item, asked_by(item)), metric, runs, name)
        session.report(session, item, record)
        return record


@pytest.fixture(scope="session", name=RUN)
def run_session(request: pytest.FixtureRequest) -> EnergySession:
    """The session that the fixtures of pytest-energy share; use those."""
    with user_errors():
        return session_of(request.config)


@pytest.fixture
def energy_session(pytest_energy_run: EnergySession) -> Iterator[EnergySession]:
    """The run's session, with the devices held for this test."""
    with _held(pytest_energy_run):
        yield pytest_energy_run


@pytest.fixture
def energy(pytest_energy_run: EnergySession, request: pytest.FixtureRequest) -> Iterator[Energy]:
    """Meter parts of a test: `with energy.window("train") as w`."""
    with _held(pytest_energy_run):
        yield Energy(pytest_energy_run, request.node.nodeid)


@pytest.fixture(scope="module")
def module_energy(
    pytest_energy_run: EnergySession, request: pytest.FixtureRequest
) -> Iterator[Energy]:
    """The same for fixtures of a module's scope; the devices are held until the module is done."""
    with _held(pytest_energy_run):
        yield Energy(pytest_energy_run, request.node.nodeid)


@pytest.fixture
def energy_gate(
    pytest_energy_run: EnergySession, request: pytest.FixtureRequest
) -> Iterator[EnergyGate]:
    """Gate a run: `energy_gate.joules_per_token(run)`."""
    with _held(pytest_energy_run):
        yield EnergyGate(pytest_energy_run, request.node)


@pytest.fixture
def energy_claim(
    pytest_energy_run: EnergySession, request: pytest.FixtureRequest
) -> Iterator[EnergyClaim]:
    """Test a claim: `energy_claim.figure("r_squared", 0.997, at_least=0.99)`.

    The claim is the first line of the module's docstring, after `Claim: ` if that is there.
    """
    from pytest_energy.metering.cpu_load import cpu_use
    from pytest_energy.results.claims import EnergyClaim

    lines = (request.module.__doc__ or "").strip().splitlines() or [request.node.name]
    with _held(pytest_energy_run) as session:
        claim = EnergyClaim(
            lines[0].removeprefix("Claim: "), request.node.nodeid, session.meter.method
        )
        session.claim = claim
        used = cpu_use() if session.hardware.key == "cpu" else None
        request.node.stash[CLAIM] = claim, used
        yield claim


@pytest.fixture(scope="session")
def energy_workload() -> Step | None:
    """To be overridden with a training step of one's own, which `finetune` then drives."""
    return None


@pytest.fixture
def finetune(
    pytest_energy_run: EnergySession, energy_workload: Step | None, request: pytest.FixtureRequest
) -> Iterator[Any]:
    """Make a fine-tuning run: `finetune("sst2", model="bert-base-uncased")`.

    Skips a task that the data source has nothing for. Keyword arguments of
    `pytest_energy.prepare` change the workload, and with it its digest; those of
    `workloads.engine.drive` if `energy_workload` is overridden. `processes=4` shares it among as
    many GPUs by torchrun, with what `workloads.distributed.RankGroups.prepare` takes. With
    `shared=True` another test of this session may have trained it before, and may go on with it
    afterwards. It is built once and stays warm: leave its model and batches as they are.
    """
    with _held(pytest_energy_run) as session, _runs_of(session, energy_workload, request) as make:
        yield make


@pytest.fixture(scope="module")
def module_finetune(
    pytest_energy_run: EnergySession, energy_workload: Step | None, request: pytest.FixtureRequest
) -> Iterator[Any]:
    """The same for fixtures of a module's scope, whose runs live until the module is done.

    An `energy_workload` of one's own then needs that scope, or a wider one.
    """
    with _held(pytest_energy_run) as session, _runs_of(session, energy_workload, request) as make:
        yield make


@contextmanager
def _held(session: EnergySession) -> Iterator[EnergySession]:
    """Hold the devices for the block."""
    with user_errors(), session.metered():
        yield session


@contextmanager
def _runs_of(
    session: EnergySession, step: Step | None, request: pytest.FixtureRequest
) -> Iterator[Callable[..., object]]:
    """What makes the runs of a test or a module, which are closed after the block."""
    from pytest_energy.workloads.device import default_device, require_metered
    from pytest_energy.workloads.distributed import RankGroups
    from pytest_energy.workloads.engine import drive
    from pytest_energy.workloads.finetune import prepare
    from pytest_energy.workloads.tasks import get_task

    with user_errors():
        data = session.data
        marked = asked_by(request.node)

    with ExitStack() as endings:
        groups = RankGroups()
        endings.callback(groups.close)

        def make(
            task: str, model: str = "bert-base-uncased", *, shared: bool = False, **changes: Any
        ) -> object:
            with user_errors():
                missing = data.missing(get_task(task))
                if missing is not None:
                    pytest.skip(safe_line(missing))
                settings: dict[str, Any] = {
                    "data": data,
                    "meter": session.meter,
                    "tokens_per_window": session.tokens_per_window(marked.tokens, task),
                    "max_tokens_per_batch": session.budget.max_tokens_per_batch,
                    **changes,
                }
                several = step is None and not changes.keys().isdisjoint(("processes", "nodes"))
                if several:
                    session.require_own_meter()
                else:
                    device = changes.get("device") or default_device()
                    # A step of one's own may take its batches from the CPU to anywhere.
                    if step is None or device != "cpu":
                        require_metered(f"{task}/{model}", device, session.meter.devices)
                start: Callable[[], Any]
                if step is not None:
                    start = partial(drive, step, task, model, **settings)
                else:
                    own = groups.prepare if several else prepare
                    settings = {"models": session.settings.models, **settings}
                    start = partial(own, task, model, **settings)
                if not shared or several:
                    session.shared_runs.close()  # the memory is this test's
                    run = start()
                    endings.callback(run.close)
                    return run
                tokens = settings["tokens_per_window"]
                asked = repr((step, task, model, tokens, sorted(changes.items())))
                run = session.shared_runs.take(asked, start)
                endings.callback(_leave, session, asked, run, request.node)
            return run

        yield make


def _leave(session: EnergySession, asked: str, run: Any, node: pytest.Item) -> None:
    """Leave a shared run for other tests, unless it may be what its own has failed by."""
    if node.stash.get(FAILED, False):
        run.close()
    else:
        session.shared_runs.give_back(asked, run)


def session_of(config: pytest.Config) -> EnergySession:
    """The run's session; begun here if collection did not see that a test needs one."""
    if SESSION not in config.stash:
        plugin: Any = config.pluginmanager.get_plugin(PLUGIN)
        try:
            plugin.begin([])
        except pytest.UsageError as error:
            raise EnergyError(str(error)) from None
    return config.stash[SESSION]


@contextmanager
def user_errors() -> Iterator[None]:
    """Show an error that the user can mend as one sentence, without a traceback."""
    try:
        yield
        return
    except SkippedInHeadError as skipped:
        pytest.skip(str(skipped))
    except EnergyError as error:
        text = str(error)
    # Without what it was raised from, which says the same.
    raise pytest.fail.Exception(text, pytrace=False) from None
