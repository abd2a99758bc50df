"""Where a model's files are on disk: `--energy-models`, or a folder that is named itself."""

from __future__ import annotations

from pathlib import Path

from pytest_energy.workloads.architectures import known_architecture

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def folder_of(model: str, models: Path | None) -> Path | None:
    """The folder that has `model`'s config.json, if there is one.

    In `models` it is called like the model, with or without the part before the slash of a hub's
    name; else `model` may be a folder itself, unless it is a name that is known.
    """
    if models is not None:
        for name in (model, model.rpartition("/")[2]):
            if name and (models / name / CONFIG).is_file():
                return models / name
    if known_architecture(model) is None and (Path(model).expanduser() / CONFIG).is_file():
        return Path(model).expanduser()
    return None


def brings_weights(model: str, models: Path | None) -> bool:
    """Whether the folder of models has weights of this one."""
    folder = folder_of(model, models)
    return models is not None and folder is not None and has_weights(folder)


def has_weights(folder: Path) -> bool:
    """Whether a model's folder has weights in the safetensors format."""
    return any((folder / name).is_file() for name in WEIGHTS)


def checkpoint_names(models: Path) -> tuple[str, ...]:
    """The models in a folder of them, in alphabetical order: `gpt2` or `facebook/opt-125m`."""
    found = [*models.glob(f"*/{CONFIG}"), *models.glob(f"*/*/{CONFIG}")]
    return tuple(sorted(path.parent.relative_to(models).as_posix() for path in found))
