"""What is measured: the tasks, their data, the models and the loop that fine-tunes them."""

from __future__ import annotations

import hashlib
import json


def digest_of(fields: object, separators: tuple[str, str] = (",", ":")) -> str:
    """Eight hex digits of some fields, as their JSON with sorted keys; a text is taken as it is.

    `separators` are those of `json.dumps`; other ones give other digits.
    """
    text = fields
    if not isinstance(text, str):
        text = json.dumps(fields, sort_keys=True, separators=separators, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
