"""Where examples come from: made up by a seed, a folder, or the hub."""

from __future__ import annotations

from pathlib import Path

from pytest_energy.errors import EnergyError
from pytest_energy.workloads.data.examples import DataSource


def open_data(source: str, models: Path | None = None) -> DataSource:
    """The data source that `--energy-data=source` means; `EnergyError` if it is none.

    `models` is the folder of checkpoints (`--energy-models`), whose tokenizers come first.
    """
    if source == "synthetic":
        from pytest_energy.workloads.data.synthetic import SyntheticSource

        return SyntheticSource()
    from pytest_energy.workloads.data.sources import HubSource, LocalSource

    if source == "hub":
        return HubSource(models=models)
    folder = Path(source).expanduser()
    if not folder.is_dir():
        wrong = "is a file" if folder.exists() else "is no folder"
        raise EnergyError(
            f"`--energy-data={source}` {wrong}: give `synthetic`, `hub` or a folder of data sets"
        )
    return LocalSource(folder, models)
