"""Text from outside made safe to show: lines, addresses, errors."""

from __future__ import annotations

import pytest

from pytest_energy import text
from pytest_energy.errors import EnergyError

NBSP = "\u00a0"


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("left\u202eright\u2066", "left\\u202eright\\u2066"),
        ("a\u2028b\x85c", "a\\u2028b\\x85c"),
        ("caf\udce9", "caf\\udce9"),
        ("::error::no", "\\x3a:error::no"),
        (f" {NBSP}::error::no", f" {NBSP}\\x3a:error::no"),
        ("x ##[error]no", "x \\x23#[error]no"),
        ("##vso[task.complete]", "\\x23#vso[task.complete]"),
        ("test_x.py::test_y[## 3]", "test_x.py::test_y[## 3]"),
        ("[red]5 mJ ± 2 %[/] `ä` 漢", "[red]5 mJ ± 2 %[/] `ä` 漢"),
        ("a\tb", "a   b"),
        ("see http://u:p@h/?q=1", "see http://***@h/?***"),
    ],
)
def test_a_line_is_printable_and_no_command(given: str, safe: str) -> None:
    assert text.safe_line(given) == safe
    assert text.safe_line(safe) == safe


def test_a_long_text_is_cut_only_where_asked() -> None:
    assert text.one_line("x" * 400) == "x" * 299 + "…"
    assert text.safe_line("x" * 4000) == "x" * 4000


def test_an_error_of_several_lines_keeps_them_apart_from_what_follows() -> None:
    error = EnergyError("`a` failed:\nTraceback\n    raise\n::error::no")

    assert str(error).split("\n") == [
        "`a` failed:", "  Traceback", "    raise", "  \\x3a:error::no",
    ]  # fmt: skip
    assert str(EnergyError(str(error))) == str(error)


@pytest.mark.parametrize("scheme", ["http", "HTTP", "s3", "simplecache::s3", "git+ssh"])
@pytest.mark.parametrize("secret", ["p", "p'q", 'p"q', "p@q", "p/q", "p#q", "p?q", "p:q", "p%20q"])
def test_secrets_of_addresses_are_masked_in_a_sentence(scheme: str, secret: str) -> None:
    query = secret.replace("@", "")
    masked = text.masked(f"`{scheme}://user:{secret}@host/x?key={query}#f` is none, a@b said")

    assert masked == f"`{scheme}://***@host/x?***` is none, a@b said"


@pytest.mark.parametrize("secret", ["p q", "p`q", "p\nq", 'p\'q "r" s@t'])
def test_secrets_of_an_argument_are_masked_whatever_they_are(secret: str) -> None:
    query = secret.replace("@", "")
    masked = text.masked_argument(f"--energy-wall=HTTP://user:{secret}@host/x?key={query}")

    assert masked == "--energy-wall=HTTP://***@host/x?***"


def test_an_address_is_taken_so_that_a_sentence_can_hold_it() -> None:
    address = text.url("http://user:p q'`@host")

    assert address == "http://user:p%20q%27%60@host"
    assert text.masked(f"`{address}` is gone") == "`http://***@host` is gone"
    assert text.url("logs/my plug.csv") == "logs/my plug.csv"
    assert text.url("HTTP://u:p/q#r@h:80/x") == "http://u:p%2Fq%23r@h:80/x"
    assert text.url("http://h:80/x?mail=a@b") == "http://h:80/x?mail=a@b"
    assert text.url("http://u:p@h/x?mail=a@b") == "http://u:p@h/x?mail=a@b"


def test_bytes_that_are_no_text_become_replacements() -> None:
    assert text.decoded(b"caf\xe9") == "caf\ufffd"
    assert text.encodable("caf\udce9") == "caf?"


def test_sentences_are_told_apart_but_for_what_is_in_backticks() -> None:
    told = "Up by 4.5 %. The base is `main. Not it`. +3 % J/token: 1 -> 2. Nothing else."

    assert text.sentences(told) == [
        "Up by 4.5 %.", "The base is `main. Not it`.", "+3 % J/token: 1 -> 2.", "Nothing else.",
    ]  # fmt: skip
