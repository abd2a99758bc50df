"""Whether the hub has a model, asked once and quickly: its loaders try again for half a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_energy.errors import EnergyError, did_you_mean
from pytest_energy.text import one_line
from pytest_energy.workloads.architectures import ARCHITECTURES

SECONDS = 5.0
"""How long the hub may take to say whether it has a model."""


def require_on_hub(name: str, place: str, revision: str | None = None) -> None:
    """Raise `EnergyError` if the model `name` is neither at `place` nor known to the hub.

    `place` is its folder or its repository. A folder, and what the hub's cache has, is not asked
    for. What else is wrong with the hub is left to who loads from it.
    """
    if Path(place).is_dir():
        return
    from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache
    from huggingface_hub import utils as untyped
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
    )

    hub: Any = untyped
    try:
        if isinstance(try_to_load_from_cache(place, "config.json", revision=revision), str):
            return
        url = hf_hub_url(place, "config.json", revision=revision)
    except HFValidationError:
        why = "is no folder with a config.json, and no name that the hub could have"
        raise _unknown(name, why) from None
    if constants.HF_HUB_OFFLINE:
        raise _unknown(name, "is not in the hub's cache, and `HF_HUB_OFFLINE` is set")
    try:
        # Not by the hub's own functions for files: some versions of them ask again and again.
        answer = hub.get_session().head(url, headers=hub.build_hf_headers(), timeout=SECONDS)
        hub.hf_raise_for_status(answer)
    except GatedRepoError:
        return
    except RepositoryNotFoundError:
        raise _unknown(name, "is not on the hub, or is private") from None
    except HfHubHTTPError:
        return
    except Exception as error:  # the hub's transport raises what its own transport raises
        why = f"the hub can't be reached ({type(error).__name__})"
        raise _unknown(name, f"is not in the hub's cache, and {why}") from error


def _unknown(name: str, why: str) -> EnergyError:
    meant = did_you_mean(name, ARCHITECTURES)
    return EnergyError(
        f"`{one_line(name)}` cannot be loaded: it {why}; {meant}give a folder with its "
        f"config.json (`--energy-models`), or use one of {', '.join(ARCHITECTURES)}"
    )
