"""Files spoilt at random, but the same each time: parts of others, odd figures and odd bytes."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

_FIGURES = """
-1 0 -0.0 1e308 1e-400 5e-324 1e999999999999 -1e15 inf nan sNaN NaN1 1_0 0x10 ٣ 1,5 1e15 1e16
99999999999 253402300799 9999-12-31T23:59:59Z 0001-01-01T00:00 2026-11-24T12:00:00+99:99
2026-11-24T24:61:00 null true false [] {} \\ud800
"""
ODD = [
    *(figure.encode() for figure in _FIGURES.split()),
    *(b"9" * 400, b"[" * 3000, b'{"a":' * 1500, b'"' * 3, b"'", b",", b";", b"\t", b"\r", b"\n"),
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xae", b"\x1b[31m", b"x" * 20_000, b"#"),
]


def spoilt(corpus: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Files of the corpus with some stretches replaced, put in, left out or repeated."""
    place = st.integers(0, max(map(len, corpus)))
    change = st.tuples(place, st.integers(0, 12), st.sampled_from(ODD) | st.binary(max_size=4))
    return st.builds(_changed, st.sampled_from(corpus), st.lists(change, max_size=4))


def _changed(data: bytes, changes: Sequence[tuple[int, int, bytes]]) -> bytes:
    for place, length, new in changes:
        at = place % (len(data) + 1)
        # A long stretch stands for the text itself, so that lines are repeated and cut.
        put_in = new if length < 12 else data[: at // 2]
        data = data[:at] + put_in + data[at + length :]
    return data
