"""Text from tests and files, made harmless in Markdown; pure."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence

_BLANKS = re.compile(r"\s+")
_ACTIVE = re.compile(r"[\\`*_~\[\]|$#!]")


def escaped(text: str) -> str:
    """Text as Markdown that shows it as it is, on one line, in a table's cell as well."""
    # Entities first: what is added afterwards holds no character that HTML knows.
    return _ACTIVE.sub(r"\\\g<0>", html.escape(_BLANKS.sub(" ", text), quote=False))


def sentence(text: str, escape: Callable[[str], str] = escaped) -> str:
    """A sentence whose names stand in backticks, with those names as code; all is escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a name holds a backtick itself: which ones are pairs is not known
        return escape(text)
    return "".join(
        f"<code>{escape(part)}</code>" if number % 2 else escape(part)
        for number, part in enumerate(parts)
    )


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A Markdown table of cells that are escaped already; `right` names columns of numbers."""
    rules = ["---:" if number in right else "---" for number in range(len(headings))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rules, *rows))


def folded(title: str, body: str) -> str:
    """A section that opens on a click; `title` is escaped already."""
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"
