"""Text from outside: names of programs and devices, lines of files, URLs, made safe to show.

What another program, another user or a file says is data. It is decoded with replacement
characters, shown on one line without control characters and commands of a CI, and without the
secrets of URLs. `safe_line` does all of that for one line of output.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

SHOWN = 300
"""Characters of a text from outside that are shown."""

MASK = "***"
"""Stands for a secret."""

# With one slash as well: so many are left of an address that was taken for a path.
_SCHEME = r"(?P<scheme>\b[a-z][a-z0-9+.-]*:/+)"
# User information of a URL: up to the last `@` before a blank or the end of a name in backticks.
_USER = re.compile(rf"{_SCHEME}[^\s`]*@", re.IGNORECASE)
# The same if the text is nothing but an argument: a password may hold blanks and backticks.
_USER_OF_ARGUMENT = re.compile(rf"{_SCHEME}.*@", re.IGNORECASE | re.DOTALL)
_QUERY = re.compile(rf"(?P<url>{_SCHEME}[^\s`?#]*)[?#][^\s`]*[^\s`'\").,;]", re.IGNORECASE)
_QUERY_OF_ARGUMENT = re.compile(rf"(?P<url>{_SCHEME}[^?#]*)[?#].+", re.IGNORECASE | re.DOTALL)
# What would end a URL in a sentence, and is as good if it is encoded.
_ENDS_URL = re.compile(r"[\s'\"`\x00-\x1f\x7f]")
_ENDS_PLACE = re.compile("[/?#]")
# Control and format characters (such as marks of direction), surrogates, ends of lines.
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
# What a CI obeys in a log: GitHub's `::error::` at the start of a line, `##[group]` anywhere.
_COMMAND = re.compile(r"^(?P<blanks>\s*):(?=:)|#(?=#\w*\[)")
_ENDS_SENTENCE = re.compile(r"(?<=\.) (?=[A-Z+-])")


def decoded(data: bytes) -> str:
    """`data` as UTF-8; what is not UTF-8 becomes replacement characters."""
    return data.decode("utf-8", "replace")


def encodable(text: str) -> str:
    """`text` with replacement characters if the system gave bytes that are not UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def one_line(text: object, limit: int | None = SHOWN) -> str:
    """A text from outside on one printable line of at most `limit` characters.

    Ends of lines, control characters and marks of direction are shown as their escapes, such as
    `\\x1b`; a longer text ends with `…`. None sets no limit.
    """
    whole = str(text)
    part = whole if limit is None else whole[: limit + 1]
    line = part if part.isprintable() else "".join(map(_visible, part))
    return line if limit is None or len(line) <= limit else f"{line[: limit - 1]}…"


def named(error: BaseException) -> str:
    """An exception of somebody else's code, by its kind and on one line."""
    return one_line(f"{type(error).__name__}: {error}".removesuffix(": "))


def masked(text: str) -> str:
    """`text` with the user information, queries and fragments of its URLs as `***`."""
    return _QUERY.sub(rf"\g<url>?{MASK}", _USER.sub(rf"\g<scheme>{MASK}@", text))


def masked_argument(text: str) -> str:
    """The same of an argument, which holds one URL at most: what follows belongs to it."""
    user = _USER_OF_ARGUMENT.sub(rf"\g<scheme>{MASK}@", text)
    return _QUERY_OF_ARGUMENT.sub(rf"\g<url>?{MASK}", user)


def url(text: str) -> str:
    """An address as a person gave it, with what would end it in a sentence percent-encoded.

    So a password with blanks or quotes is masked wherever the address is repeated, and one with
    `/`, `?` or `#` is not taken for the end of the place. The scheme gets small letters.
    """
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        return text
    user, at, place = rest.rpartition("@")
    first, colon, port = _ENDS_PLACE.split(rest, maxsplit=1)[0].partition(":")
    if at and colon and "@" not in first + port and not port.isdigit():
        rest = f"{quote(user, safe=':%')}@{place}"
    text = f"{scheme.lower()}{slashes}{rest}"
    return _ENDS_URL.sub(lambda found: quote(found[0]), text)


def safe_line(text: object) -> str:
    """One whole line of output: printable, secrets masked, and nothing that a CI would obey."""
    line = one_line(masked(str(text)).expandtabs(4), limit=None)
    return _COMMAND.sub(lambda found: f"{found['blanks'] or ''}\\x{ord(found[0][-1]):02x}", line)


def safe_lines(text: str) -> str:
    """What a person is told, perhaps in several lines: each a `safe_line`, all but one indented."""
    first, *more = map(safe_line, text.split("\n"))
    return "\n".join([first, *(line if line[:2].isspace() else f"  {line}" for line in more)])


def sentences(text: str) -> list[str]:
    """The sentences of a line; what stands in backticks is never taken apart."""
    found: list[str] = []
    for part in _ENDS_SENTENCE.split(text):
        if found and found[-1].count("`") % 2:
            found[-1] += f" {part}"
        else:
            found.append(part)
    return found


def _visible(letter: str) -> str:
    if letter == " " or unicodedata.category(letter) not in _UNPRINTABLE:
        return letter
    return letter.encode("unicode_escape", "replace").decode("ascii")
