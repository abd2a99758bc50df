"""Bad input, found before any energy is spent."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_energy.baselines import baseline_path
from pytest_energy.baselines.reading import read
from pytest_energy.checks import TestSettings
from pytest_energy.checks.policy import DEFAULT_LEVELS, levels
from pytest_energy.errors import EnergyError
from pytest_energy.files import require_writable
from pytest_energy.metering.cpu_load import require_quiet_cpu
from pytest_energy.results.footprint import footprint
from pytest_energy.workloads.architectures import checkpoint_names
from pytest_energy.workloads.tasks import get_task

if TYPE_CHECKING:
    from pytest_energy.plugin.session import EnergySession


def check_input(session: EnergySession, asked: Sequence[TestSettings]) -> None:
    """Raise `EnergyError` for what the run cannot do; `asked` is what tests with a gate ask for."""
    _check_baselines(session)
    _check_hardware(session)
    _check_budget(session)
    for each in dict.fromkeys(asked):
        _check_levels(session, each)
    _check_paths(session)
    footprint(0.0, session.settings.region)
    if session.settings.update and session.hardware.key == "cpu":
        require_quiet_cpu()


def _check_hardware(session: EnergySession) -> None:
    asked, found = session.settings.hw, session.hardware
    if asked in ("auto", found.key):
        return
    path = baseline_path(session.settings.baselines, asked)
    names = ", ".join(f"`{name}`" for name in found.names)
    files = sorted(p.stem for p in session.settings.baselines.glob("*.toml"))
    file = f"has no baseline file `{path}` and "
    if path.is_file():
        file = f"(`match` of `{path}`: {', '.join(read(path).match) or 'none'}) "
    known = f"; there are baselines for {', '.join(files)}" if files else ""
    raise EnergyError(
        f"`--energy-hw={asked}` {file}is not this machine, which is `{found.key}` ({names}); "
        f"leave the option out or give a key that fits{known}"
    )


def _check_budget(session: EnergySession) -> None:
    stored, tokens = session.store.baseline, session.settings.tokens
    if stored is None:
        return
    try:
        for task in stored.tokens_of_tasks:
            get_task(task)
    except EnergyError as error:
        where = f"`hardware.tokens_of_tasks` in `{stored.path}`"
        raise EnergyError(f"{where} has no task: {error}") from None
    budgets = {stored.tokens_per_window, *stored.tokens_of_tasks.values()}
    if not stored.entries or tokens is None or budgets == {tokens}:
        return
    recorded = ", ".join(map(str, sorted(filter(None, budgets))))
    raise EnergyError(
        f"`--energy-tokens={tokens}` is not what `{stored.path}` was recorded with "
        f"({recorded}): other batches cannot be compared; leave the option out, or change "
        f"`tokens_per_window` there and record anew with `--energy-update=replace`"
    )


def _check_levels(session: EnergySession, asked: TestSettings) -> None:
    """Refuse levels that fit no figure; those that fit some are looked at when one is checked."""
    stored = session.store.baseline
    entries = stored.entries.values() if stored is not None else ()
    figures = [*((e.metric, e) for e in entries), *((metric, None) for metric in DEFAULT_LEVELS)]
    for metric, entry in figures:
        with suppress(EnergyError):
            levels(metric, asked, session.settings, entry)
            return
    metric, entry = figures[0]
    levels(metric, asked, session.settings, entry)


def _check_baselines(session: EnergySession) -> None:
    settings = session.settings
    asked_for = settings.baselines != settings.root / "baselines"
    if asked_for and not settings.update and not settings.baselines.is_dir():
        raise EnergyError(
            f"`--energy-baselines={settings.baselines}` is no folder, so that nothing would be "
            f"gated against; give the folder of the baseline files, or record some with "
            f"`--energy-update`"
        )


def _check_paths(session: EnergySession) -> None:
    settings = session.settings
    if settings.data not in ("synthetic", "hub") and not Path(settings.data).is_dir():
        raise EnergyError(
            f"`--energy-data={settings.data}` is no folder; give `synthetic`, `hub` or a folder"
        )
    if settings.models is not None:
        _check_models(settings.models)
    wall = settings.wall
    if wall is not None and "://" not in wall and not Path(wall).is_file():
        raise EnergyError(
            f"`--energy-wall={wall}` is no file; give the log of a plug meter, or the "
            "http:// address of a plug"
        )
    for name in ("json", "markdown", "html"):
        path = getattr(settings, name)
        if path is not None:
            require_writable(path, f"--energy-{name}")
    if settings.html is not None:
        from pytest_energy.reports.html import require_page_libraries

        require_page_libraries("--energy-html")
    if settings.history is not None:
        from pytest_energy.history.record import check_destination

        check_destination(settings.history)
    if settings.update:
        path = baseline_path(settings.baselines, session.hardware.key)
        require_writable(path, "--energy-baselines")


def _check_models(folder: Path) -> None:
    if not folder.is_dir():
        raise EnergyError(
            f"`--energy-models={folder}` is no folder; give one that has a folder for each model, "
            "such as `bert-base-uncased`"
        )
    if not checkpoint_names(folder):
        raise EnergyError(
            f"`--energy-models={folder}` has no checkpoint; put config.json, model.safetensors and "
            "the vocabulary of each model into a folder named like it, such as `bert-base-uncased`"
        )
