"""Evaluate the conditions of workflows: GitHub's expressions, as far as they are used here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


def evaluate(expression: str, contexts: Mapping[str, Any]) -> Any:
    """The value of an expression; a property of nothing is None, as GitHub has it."""
    tokens = re.findall(r"'[^']*'|&&|\|\||==|!=|[(),]|[\w.*-]+", expression)
    functions = {"contains": _contains, "fromJSON": json.loads, "always": lambda: True}
    names: dict[str, Any] = dict(functions)
    words = []
    for token in tokens:
        if token in ("&&", "||"):
            words.append({"&&": "and", "||": "or"}[token])
        elif token[0] == "'" or token in "(),==!=" or token in functions:
            words.append(token)
        else:
            name = f"value_{len(names)}"
            names[name] = _property(token.split("."), contexts)
            words.append(name)
    return eval(" ".join(words), {"__builtins__": {}}, names)  # its words are built above


def _property(path: list[str], value: Any) -> Any:
    for place, name in enumerate(path):
        if name == "*":
            return [_property(path[place + 1 :], item) for item in value or ()]
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _contains(found: Any, item: Any) -> bool:
    return found is not None and item in found
