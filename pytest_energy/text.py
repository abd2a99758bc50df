"""Text from outside: names of programs and devices, lines of files, URLs, made safe to show.

What another program, another user or a file says is data. It is decoded with replacement
characters, shown on one line without control characters, and without the secrets of URLs.
"""

from __future__ import annotations

import re
import unicodedata

SHOWN = 300
"""Characters of a text from outside that are shown."""

MASK = "***"
"""Stands for a secret."""

# User information and query of a URL; a secret may hold any character but a blank or a quote.
_USER = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s'\"`]*@", re.IGNORECASE)
_QUERY = re.compile(r"(?P<url>\b[a-z][a-z0-9+.-]*://[^\s'\"`?#]*)[?#][^\s'\"`]+", re.IGNORECASE)
# Control and format characters (such as marks of direction), surrogates, ends of lines.
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def decoded(data: bytes) -> str:
    """`data` as UTF-8; what is not UTF-8 becomes replacement characters."""
    return data.decode("utf-8", "replace")


def encodable(text: str) -> str:
    """`text` with replacement characters where the system gave bytes that are not UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def one_line(text: object, limit: int = SHOWN) -> str:
    """A text from outside on one printable line of at most `limit` characters.

    Ends of lines, control characters and marks of direction are shown as their escapes, such as
    `\\x1b`; a longer text ends with `…`.
    """
    whole = text if isinstance(text, str) else str(text)
    shown = "".join(_visible(letter) for letter in whole[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def named(error: BaseException) -> str:
    """An exception of somebody else's code, by its kind and on one line."""
    return one_line(f"{type(error).__name__}: {error}".removesuffix(": "))


def masked(text: str) -> str:
    """`text` with the user information, queries and fragments of its URLs as `***`."""
    return _QUERY.sub(rf"\g<url>?{MASK}", _USER.sub(rf"\g<scheme>{MASK}@", text))


def _visible(letter: str) -> str:
    if letter == " " or unicodedata.category(letter) not in _UNPRINTABLE:
        return letter
    return letter.encode("unicode_escape", "replace").decode("ascii")
