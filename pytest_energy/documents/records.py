"""Records made of documents by their types, within limits.

Code behind `converted` never meets a wrong type, a number that arithmetic chokes on or a text of
megabytes. By hand, since an interpreter that is compared with this one is lent our package, but
no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import date
from functools import cache
from itertools import repeat
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from pytest_energy.documents import LONGEST_TEXT, MOST_ITEMS, FaultyDocumentError, Range, shown
from pytest_energy.errors import did_you_mean
from pytest_energy.text import encodable

_Kind = TypeVar("_Kind")
_Reader = Callable[[Any], Any]


def converted(kind: type[_Kind], value: Any) -> _Kind:
    """`value`, of builtin types, as a `kind`: a dataclass, a `TypedDict` or a builtin type.

    A field may have another name in documents, as its metadata say (`named`); names that a kind
    does not have are passed over. Raises `FaultyDocumentError` with the place.
    """
    wanted: Any = kind
    found: _Kind = _reader(wanted)(value)
    return found


def checked(value: Any, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a table by name, each of its kind in `kinds`; other names are refused."""

    def reader(name: str) -> _Reader:
        if name not in kinds:
            meant = did_you_mean(name, kinds)
            raise FaultyDocumentError(f"is not known; {meant}it may be {', '.join(kinds)}")
        return _reader(kinds[name])

    return _mapping(reader)(value)


def kinds_of(record: type) -> dict[str, Any]:
    """The kinds of a dataclass's fields by name; null, which TOML does not have, is left out."""
    hints = get_type_hints(record, include_extras=True)
    return {name: _present(hint) for name, hint in hints.items()}


def _present(kind: Any) -> Any:
    if get_origin(kind) not in (Union, UnionType):
        return kind
    return next(inner for inner in get_args(kind) if inner is not NoneType)


def named(name: str) -> dict[str, str]:
    """The metadata of a dataclass's field that documents call `name`; it must be in them."""
    return {_NAME: name}


def name_in_documents(field: Field[Any]) -> str:
    """What a dataclass's field is called in documents."""
    name: str = field.metadata.get(_NAME, field.name)
    return name


_NAME = "name in documents"


def _wrong(value: object, what: str) -> FaultyDocumentError:
    return FaultyDocumentError(f"is {shown(value)}, not {what}")


@cache
def _reader(kind: Any) -> _Reader:
    """What makes a `kind` of a value; made once for each, which spares looking at types again."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return lambda value: value
    if kind in (int, float):
        return _number(kind, Range())
    if origin is Annotated:
        return _number(inner[0], inner[1])
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if origin in (Union, UnionType):
        return _either(inner)
    if origin is Literal:
        return lambda value: _one_of(inner, value)
    if origin in (tuple, list, Sequence):
        return _sequence(origin, inner)
    if origin in (dict, Mapping):
        reader = _reader(inner[1])
        return _mapping(lambda _: reader)
    if is_typeddict(kind):
        return _typed_dict(kind)
    return _record(kind) if is_dataclass(kind) else _nothing  # such as of a function


def _number(kind: Any, limits: Range) -> _Reader:
    low, high = limits.low, limits.high

    def read(value: Any) -> Any:
        # As nearly all are.
        if type(value) is kind and low <= value <= high:
            return value
        return _other_number(kind, limits, value)

    return read


def _other_number(kind: type, limits: Range, value: Any) -> Any:
    whole = kind is int
    if type(value) is not kind:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not fits or (whole and not float(value).is_integer()):
            raise _wrong(value, "a whole number" if whole else "a number")
    if limits.low <= value <= limits.high:
        return kind(value)
    if not limits.finite and isinstance(value, float):
        return value
    raise FaultyDocumentError(f"is {shown(value)}, but must be {limits.for_one_outside(value)}")


def _text(value: Any) -> str:
    if type(value) is str and value.isascii() and len(value) <= LONGEST_TEXT:
        return value
    if isinstance(value, date):  # TOML has dates
        value = value.isoformat()
    if not isinstance(value, str):
        raise _wrong(value, "a text")
    if len(value) > LONGEST_TEXT:
        raise FaultyDocumentError(f"has more than {LONGEST_TEXT:,} characters")
    return encodable(value)


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong(value, "true or false")


def _nothing(value: Any) -> None:
    if value is not None:
        raise _wrong(value, "null")


_SIMPLE: dict[Any, _Reader] = {str: _text, bool: _truth, NoneType: _nothing}


def _either(kinds: Sequence[Any]) -> _Reader:
    """The kind that is the value's own type comes first: 5.0 stays a float beside int."""
    readers = [(_plain(kind), _reader(kind)) for kind in kinds]
    (_, first), *others = [(kind, reader) for kind, reader in readers if kind is not NoneType]
    if not others:
        return lambda value: None if value is None else first(value)

    def read(value: Any) -> Any:
        own = [reader for kind, reader in readers if kind is type(value)]
        fitting = [reader for _, reader in readers if _fits(reader, value)]
        return (own or fitting or [readers[0][1]])[0](value)

    return read


def _fits(reader: _Reader, value: Any) -> bool:
    try:
        reader(value)
    except FaultyDocumentError:
        return False
    return True


def _plain(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _one_of(words: Sequence[Any], value: Any) -> Any:
    if value in words:
        return value
    raise _wrong(value, f"one of {', '.join(map(str, words))}")


def _sequence(origin: Any, inner: Sequence[Any]) -> _Reader:
    build = list if origin is list else tuple
    if len(inner) == 1 or inner[-1] is Ellipsis:
        return lambda value: build(_parts(_list(value), repeat(_reader(inner[0]))))
    readers = [_reader(kind) for kind in inner]

    def read(value: Any) -> Any:
        if len(_list(value)) != len(readers):
            raise FaultyDocumentError(f"has {len(value)} entries, not {len(readers)}")
        return build(_parts(value, readers))

    return read


def _parts(values: Sequence[Any], readers: Iterable[_Reader]) -> Iterator[Any]:
    number = -1
    try:
        for value, reader in zip(values, readers, strict=False):
            number += 1
            yield reader(value)
    except FaultyDocumentError as error:
        error.place = f"[{number}]{error.place}"
        raise


def _list(value: Any) -> Any:
    return _few(value, (list, tuple), "a list")


def _table(value: Any) -> Any:
    return _few(value, (dict, Mapping), "a table")


def _few(value: Any, kinds: Any, what: str) -> Any:
    if not isinstance(value, kinds):
        raise _wrong(value, what)
    if len(value) > MOST_ITEMS:
        raise FaultyDocumentError(f"has more than {MOST_ITEMS:,} entries")
    return value


def _mapping(reader_of: Callable[[str], _Reader]) -> Callable[[Any], dict[str, Any]]:
    """What makes a dict of a table, by the reader of each name's value."""

    def read(value: Any) -> dict[str, Any]:
        found, name, row = {}, "", _table(value)
        try:
            for name, part in row.items():
                found[_text(name)] = reader_of(name)(part)
        except FaultyDocumentError as error:
            error.place = f".{name}{error.place}"
            raise
        return found

    return read


def _typed_dict(kind: Any) -> _Reader:
    hints = get_type_hints(kind, include_extras=True)
    readers = [(name, name, _reader(hint)) for name, hint in hints.items()]
    needed = [name for name in hints if name in kind.__required_keys__]
    return lambda value: _named(value, readers, needed)


def _record(kind: Any) -> _Reader:
    hints = get_type_hints(kind, include_extras=True)
    named = [(name_in_documents(each), each) for each in fields(kind)]
    readers = [(name, each.name, _reader(hints[each.name])) for name, each in named]
    needed = [
        name
        for name, each in named
        if _NAME in each.metadata or (each.default is MISSING and each.default_factory is MISSING)
    ]
    return lambda value: kind(**_named(value, readers, needed))


def _named(
    value: Any, readers: Iterable[tuple[str, str, _Reader]], needed: Iterable[str]
) -> dict[str, Any]:
    """What a table has of the names in documents, by what records call them."""
    row, found = _table(value), {}
    for name in needed:
        if name not in row:
            raise FaultyDocumentError(f"has no `{name}`")
    try:
        for name, own, reader in readers:
            if name in row:
                found[own] = reader(row[name])
    except FaultyDocumentError as error:
        error.place = f".{name}{error.place}"
        raise
    return found
