"""What tests hold, such as `energy_gate` and `finetune`, and what they ask for by markers.

PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from pytest_energy.checks import TestSettings
from pytest_energy.errors import (
    EnergyError,
    SkippedInHeadError,
    did_you_mean,
    raised_elsewhere,
)
from pytest_energy.plugin.options import RANGES, check_levels, usage_error
from pytest_energy.text import safe_line

if TYPE_CHECKING:
    from pytest_energy.checks.measuring import Run
    from pytest_energy.metering import OpenWindow
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

CLAIM: pytest.StashKey[EnergyClaim] = pytest.StashKey()
"""Of a test: the claim that it makes."""

FIXTURES = frozenset({"energy", "energy_claim", "energy_gate", "energy_session", "finetune"})


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
        self._session.results.verdicts.append(measured(self._nodeid, opened.record))


class EnergyGate:
    """Checks a run's figures against their baselines; a test fails as its verdict says.

    Each check measures windows until its verdict is sure, fails the test on a regression, and
    returns the record of the verdict otherwise. `id` is the figure's name, by default made from
    the ids of its runs.
    """

    def __init__(self, session: EnergySession, item: pytest.Item) -> None:
        self._session = session
        self._item = item

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
    """Gate a run: `energy_gate.joules_per_token(run)`."""
    return EnergyGate(energy_session, request.node)


@pytest.fixture
def energy_claim(energy_session: EnergySession, request: pytest.FixtureRequest) -> EnergyClaim:
    """Test a claim: `energy_claim.figure("r_squared", 0.997, at_least=0.99)`.

    The claim is the first line of the module's docstring, after `Claim: ` if that is there.
    """
    from pytest_energy.results.claims import EnergyClaim

    lines = (request.module.__doc__ or "").strip().splitlines() or [request.node.name]
    claim = EnergyClaim(
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

    Skips a task that the data source has nothing for. Keyword arguments of
    `pytest_energy.prepare` change the workload, and with it its digest; those of
    `workloads.engine.drive` if `energy_workload` is overridden. `processes=4` shares it among as
    many GPUs by torchrun, with what `workloads.distributed.RankGroups.prepare` takes.
    """
    from pytest_energy.workloads.distributed import RankGroups
    from pytest_energy.workloads.engine import drive
    from pytest_energy.workloads.finetune import prepare
    from pytest_energy.workloads.tasks import get_task

    session = energy_session
    with user_errors():
        data = session.data
        asked = asked_by(request.node)
    groups = RankGroups()
    endings: list[Callable[[], None]] = [groups.close]

    def make(task: str, model: str = "bert-base-uncased", **changes: Any) -> object:
        with user_errors():
            missing = data.missing(get_task(task))
            if missing is not None:
                pytest.skip(safe_line(missing))
            settings: dict[str, Any] = {
                "data": data,
                "meter": session.meter,
                "tokens_per_window": session.tokens_per_window(asked.tokens),
                "max_tokens_per_batch": session.budget.max_tokens_per_batch,
                **changes,
            }
            run: Any
            if energy_workload is not None:
                run = drive(energy_workload, task, model, **settings)
            else:
                several = "processes" in changes or "nodes" in changes
                if several:
                    session.require_own_meter()
                start = groups.prepare if several else prepare
                run = start(task, model, **{"models": session.settings.models, **settings})
        endings.append(run.close)
        return run

    yield make
    for end in endings:
        end()


def session_of(item: pytest.Item) -> EnergySession:
    """The run's session; begun here if collection did not see that the test needs one."""
    if SESSION not in item.config.stash:
        plugin: Any = item.config.pluginmanager.get_plugin(PLUGIN)
        try:
            plugin.begin([item])
        except pytest.UsageError as error:
            raise EnergyError(str(error)) from None
    return item.config.stash[SESSION]


def is_metered(item: pytest.Item) -> bool:
    """Whether a test needs the meter."""
    return is_marked(item) or not FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def is_marked(item: pytest.Item) -> bool:
    """Whether a test has the marker `energy`."""
    return item.get_closest_marker("energy") is not None


def asked_by(item: pytest.Item) -> TestSettings:
    """What a test asks for: the nearest marker's arguments over the outer ones'.

    Raises `pytest.UsageError` for unknown names and values that are none.
    """
    arguments: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers("energy"))):
        if marker.args:
            raise usage_error(
                f"`@pytest.mark.energy` on `{item.nodeid}` takes arguments by name only; "
                f"write `max_joules={marker.args[0]!r}`"
            )
        arguments.update(marker.kwargs)
    return from_arguments(arguments, item.nodeid)


def from_arguments(arguments: Mapping[str, Any], test: str) -> TestSettings:
    """Levels come in percent; raises `pytest.UsageError` naming the argument and the test."""
    known = [field.name for field in fields(TestSettings)]
    for name, value in arguments.items():
        if name not in known:
            raise usage_error(
                f"`{name}` on `{test}` is no argument of `@pytest.mark.energy`; "
                f"{did_you_mean(name, known)}it knows {', '.join(f'`{k}`' for k in known)}"
            )
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        whole = name in ("tokens", "max_windows")
        low, high = RANGES.get(name, (0.0, float("inf")))
        fits = number and low <= value <= high and value not in (0, float("inf"))
        if not fits or (whole and value != int(value)):
            what = "a whole number" if whole else "joules" if name == "max_joules" else "percent"
            most = f" and at most {high:g}" if high < float("inf") else ""
            raise usage_error(
                f"`{name}={value!r}` on `{test}` is out of range; give {what} "
                f"{f'from {low:g}' if low else 'above 0'}{most}"
            )
    percent = {k: arguments[k] / 100 for k in ("tolerance", "detect") if k in arguments}
    counts = {k: int(arguments[k]) for k in ("tokens", "max_windows") if k in arguments}
    asked = TestSettings(**{**arguments, **percent, **counts})
    check_levels(("tolerance", asked.tolerance), ("detect", asked.detect), f" on `{test}`")
    return asked


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
