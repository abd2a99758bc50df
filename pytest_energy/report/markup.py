"""Text from tests and files, made harmless in Markdown; pure."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence

_ACTIVE = re.compile(r"[\\`*_~\[\]|$#!]")


def escaped(text: str) -> str:
    """Text as Markdown that shows it as it is, on one line, in a table's cell as well."""
    # Entities first: what is added afterwards holds no character that HTML knows.
    return _ACTIVE.sub(r"\\\g<0>", html.escape(" ".join(text.split()), quote=False))


def sentence(text: str, escape: Callable[[str], str] = escaped) -> str:
    """A sentence whose names stand in backticks, with those names as code; all is escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a name holds a backtick itself: which ones are pairs is not known
        return escape(text)
    return "".join(
        f"<code>{escape(part)}</code>" if number % 2 else _spaced(part, escape)
        for number, part in enumerate(parts)
    )


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A Markdown table of cells that are escaped already; `right` names columns of numbers."""
    rules = ["---:" if number in right else "---" for number in range(len(headings))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rules, *rows))


def folded(title: str, body: str) -> str:
    """A section that opens on a click; `title` is escaped already."""
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def _spaced(part: str, escape: Callable[[str], str]) -> str:
    # Escaping strips the ends, where a name in code begins or ended.
    left = " " if part[:1].isspace() else ""
    right = " " if part[-1:].isspace() and part.strip() else ""
    return f"{left}{escape(part)}{right}"
