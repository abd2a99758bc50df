"""Baseline files, written: sessions added with comments and order kept, in one atomic write.

Only who writes imports it: tomlkit takes time, and an interpreter that is compared may lack it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import chain, count
from typing import Any

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.items import InlineTable, Table

from pytest_energy.baselines import METRICS, SCHEMA, Header, Recording, UpdateMode
from pytest_energy.baselines.tables import Acknowledgement, StoredCalibration
from pytest_energy.errors import BaselineError


def updated(
    text: str | None, header: Header, recordings: Iterable[Recording], mode: UpdateMode
) -> str:
    """The file's new text; entries without a recording, comments and order stay as they are.

    `new` leaves entries that have sessions alone, `append` adds one more session, `replace` starts
    anew. Raises `BaselineError` if a session of another workload would be appended.
    """
    document = tomlkit.parse(text) if text else _new_document(header)
    for recording in recordings:
        _record(document, header, recording, mode)
        if mode == "replace":  # of the new level nothing is acknowledged yet
            _forget(document, recording.metric, recording.id)
    return _spaced(tomlkit.dumps(document))


def calibrated(text: str | None, header: Header, device: str, stored: StoredCalibration) -> str:
    """The file's new text with a device's calibration in it; all else stays as it is."""
    return _with_table(text, header, ("calibration", device), stored.as_table(), anew=False)


def with_sensor(text: str | None, header: Header, device: str, values: Mapping[str, Any]) -> str:
    """The file's new text with what was found of a card's sensor, in place of what was before."""
    return _with_table(text, header, ("sensor", device), values, anew=True)


def with_acknowledgement(text: str, stated: Acknowledgement) -> str:
    """The file's new text with what is acknowledged of a figure, in place of what was before."""
    document = tomlkit.parse(text)
    _forget(document, stated.metric, stated.id)
    if "acknowledged" not in document:
        document["acknowledged"] = tomlkit.aot()
    table, values = tomlkit.table(), stated.as_table()
    days = {name: tomlkit.date(values[name]) for name in stated.DAYS if name in values}
    table.update({**values, **days})
    document["acknowledged"].append(table)
    return _spaced(tomlkit.dumps(document))


def without_acknowledgement(text: str, metric: str, identifier: str) -> str:
    """The file's new text without what is acknowledged of a figure."""
    document = tomlkit.parse(text)
    _forget(document, metric, identifier)
    return tomlkit.dumps(document)


def _with_table(
    text: str | None,
    header: Header,
    place: tuple[str, str],
    values: Mapping[str, Any],
    *,
    anew: bool,
) -> str:
    """The text with a device's table of a group; `values` have a date, which is still text."""
    document = tomlkit.parse(text) if text else _new_document(header)
    group, device = _child(document, place[0]), place[1]
    if device not in group:
        group[device] = tomlkit.table()
    if anew:
        for name in [each for each in group[device] if each not in (*values, "note")]:
            del group[device][name]
    group[device].update({**values, "date": tomlkit.datetime(values["date"])})
    return _spaced(tomlkit.dumps(document))


def pruned(text: str) -> str:
    """The file's text without entries that have no sessions and environments that none names."""
    document = tomlkit.parse(text)
    named = set()
    for metric in METRICS:
        for identifier, entry in list(document.get(metric, {}).items()):
            if entry.get("sessions"):
                named |= {row.get("environment") for row in entry["sessions"]}
            else:
                document[metric].remove(identifier)
    for name in list(document.get("environment", {})):
        if name not in named:
            document["environment"].remove(name)
    return tomlkit.dumps(document)


def dropped(text: str, date: str) -> str:
    """The file's text without the sessions whose date begins like this one."""
    document = tomlkit.parse(text)
    for metric in METRICS:
        for entry in document.get(metric, {}).values():
            rows = entry.get("sessions", [])
            for index in reversed(range(len(rows))):
                if _dated(rows[index].get("date")).startswith(date.removesuffix("Z")):
                    del rows[index]
    return pruned(tomlkit.dumps(document))


def _dated(date: Any) -> str:
    return str(date.isoformat() if isinstance(date, datetime) else date)


def _new_document(header: Header) -> TOMLDocument:
    document = tomlkit.document()
    document["schema"] = SCHEMA
    document["hardware"] = _hardware(header)
    return document


def _hardware(header: Header) -> Table:
    hardware = tomlkit.table()
    values = {**vars(header), "match": list(header.match)}
    hardware.update({name: value for name, value in values.items() if value is not None})
    return hardware


def _record(document: TOMLDocument, header: Header, recording: Recording, mode: UpdateMode) -> None:
    if "hardware" not in document:
        document["hardware"] = _hardware(header)
    if not any(document.get(metric) for metric in METRICS):
        document["hardware"]["tokens_per_window"] = header.tokens_per_window
    group = _child(document, recording.metric)
    if recording.id not in group:
        group[recording.id] = tomlkit.table()
        group[recording.id].update({"tolerance": recording.tolerance, "detect": recording.detect})
    entry = group[recording.id]
    stored = entry.get("workload")
    if mode == "append" and stored is not None and stored != recording.workload:
        raise BaselineError(
            f"`{recording.id}` has sessions of workload `{stored}`, this one is "
            f"`{recording.workload}`; record it anew with `--energy-update=replace`"
        )
    if entry.get("sessions") and mode == "new":
        return
    if recording.workload is not None:
        entry["workload"] = recording.workload
    elif mode == "replace":
        entry.pop("workload", None)
    if mode != "append":
        entry.pop("source", None)
    if mode != "append" or not entry.get("sessions"):
        entry["sessions"] = tomlkit.array().multiline(True)
    entry["sessions"].append(_row(recording, _environment(document, recording)))


def _forget(document: TOMLDocument, metric: str, identifier: str) -> None:
    tables = document.get("acknowledged", [])
    for index, one in reversed(list(enumerate(tables))):
        if (one.get("metric"), one.get("id")) == (metric, identifier):
            del tables[index]
    if "acknowledged" in document and not tables:
        del document["acknowledged"]


def _environment(document: TOMLDocument, recording: Recording) -> str | None:
    """The id of the session's environment, put into the file; numbered if another has it."""
    asked, environment = recording.session.environment, dict(recording.environment)
    if asked is None:
        return None
    stored = _child(document, "environment")
    names = chain([asked], (f"{asked}-{number}" for number in count(2)))
    name = next(name for name in names if stored.get(name, environment) == environment)
    if name not in stored:
        stored[name] = tomlkit.table()
        stored[name].update(environment)
    return name


def _child(document: TOMLDocument, name: str) -> Any:
    if name not in document:
        document[name] = tomlkit.table(is_super_table=True)
    return document[name]


def _row(recording: Recording, environment: str | None) -> InlineTable:
    session = recording.session
    paired = recording.metric == "savings"
    values: dict[str, Any] = {
        "date": tomlkit.datetime(session.date),
        "device": session.device,
        "pairs" if paired else "windows": session.windows,
        "tokens": session.tokens,
        "mean": _figures(session.mean),
        "sd" if paired else "cv": _figures(session.cv),
        "autocorrelation": round(session.autocorrelation, 3),
        "median": _figures(session.median),
        "mad": _figures(session.mad),
        "padding_overhead": _figures(session.padding_overhead),
        "mean_watts": _figures(session.mean_watts, 5),
        "tokens_per_second": _figures(session.tokens_per_second, 5),
        "begin_celsius": _figures(session.begin_celsius, 3),
        "end_celsius": _figures(session.end_celsius, 3),
        "load_seconds": _figures(session.load_seconds, 3),
        "reference_joules": _figures(session.reference_joules),
        "reference_version": session.reference_version,
        "environment": environment,
    }
    row = tomlkit.inline_table()
    row.update({name: value for name, value in values.items() if value is not None})
    return row


def _spaced(text: str) -> str:
    # A table inserted between others follows without a blank line; comments stay with their table.
    return re.sub(r"(?m)^([^#\n][^\n]*)\n(?=\[)", r"\1\n\n", text)


def _figures(value: float | None, digits: int = 6) -> float | None:
    return None if value is None else float(f"{value:.{digits}g}")
