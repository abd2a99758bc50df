"""What is given: refused where it is wrong, and known again by a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from difflib import get_close_matches

from pytest_energy.errors import EnergyError


def check_choice(what: str, value: object, allowed: Iterable[str]) -> None:
    """Raise `EnergyError` unless `value` is one of `allowed`, naming those and the closest one."""
    known = tuple(allowed)
    if value in known:
        return
    meant = did_you_mean(value, known)
    article = "an" if what[0] in "aeio" else "a"
    raise EnergyError(f"`{value}` is not {article} {what}: {meant}known are {', '.join(known)}")


def did_you_mean(value: object, known: Iterable[str]) -> str:
    """A question after the name of `known` closest to `value`; empty if none is close."""
    close = get_close_matches(str(value).lower(), tuple(known), n=1)
    return f"did you mean `{close[0]}`? " if close else ""


def check_count(what: str, value: object, least: int = 1) -> None:
    """Raise `EnergyError` unless `value` is a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise EnergyError(f"`{what}` is {value!r}: give a whole number of at least {least}")


def digest_of(fields: object, separators: tuple[str, str] = (",", ":")) -> str:
    """Eight hex digits of some fields, as their JSON with sorted keys; a text is taken as it is.

    `separators` are those of `json.dumps`; other ones give other digits.
    """
    text = fields
    if not isinstance(text, str):
        text = json.dumps(fields, sort_keys=True, separators=separators, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
