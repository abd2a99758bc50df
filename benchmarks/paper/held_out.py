"""What training does not see: the split of a data set on which models are scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from pytest_energy import DataError, DataSource, get_task
from pytest_energy.workloads.data.examples import Record, Skipped
from pytest_energy.workloads.data.layouts import LAYOUTS, find
from pytest_energy.workloads.data.sources import READERS, HubSource, LocalSource

_GLUE = ("dev.tsv", "validation.tsv", "*dev*.tsv", "*dev*.csv", "*valid*.csv", "*val*.jsonl")

FILES: dict[str, tuple[tuple[str, ...], ...]] = {
    "rte": (_GLUE,),
    "mnli": (
        ("dev_matched.tsv", "validation_matched.tsv", "*dev_matched.jsonl", *_GLUE),
        ("*dev_matched.jsonl", "*dev_matched.txt"),
    ),
    "sst2": (_GLUE,),
    "squad_v1": (
        ("dev-v1.1.json", "dev.json", "validation-v1.1.json", "validation.json"),
        ("dev*.json",),
    ),
    "squad_v2": (
        ("dev-v2.0.json", "dev.json", "validation-v2.0.json", "validation.json"),
        ("dev-v2.0.json", "validation-v2.0.json"),
        ("dev*.json",),
    ),
    "imdb": (("test",), ("*test*.csv", "*valid*.csv", "*dev*.csv", "*test*.jsonl"), ()),
    "conll2003": (
        ("eng.testa", "*valid*.conll", "*dev*.conll", "valid.txt", "dev.txt"),
        (),
        ("eng.testa",),
    ),
    "conll2012": (("development", "dev"),),
    "mlm": (("*valid*", "*dev*"),),
}
"""For each of a task's `LAYOUTS` the files or folders of its held-out split."""

SPLITS = {"mnli": "validation_matched", "imdb": "test"}
"""The hub's names of held-out splits, where they are not `validation`."""


def held_out(data: DataSource, name: str) -> Sequence[Record]:
    """The records of a task to score on; `DataError` where there are none beside training's."""
    task = get_task(name)
    if isinstance(data, HubSource):
        return list(data.records(task, Random(0), SPLITS.get(name, "validation")))
    if not isinstance(data, LocalSource):
        raise DataError(
            f"`{name}`: synthetic examples have no score that means anything; use "
            "`--energy-data=hub` or a folder of data sets"
        )
    pairs = zip(LAYOUTS[name], FILES[name], strict=True)
    found = find(data.root, [replace(layout, files=files) for layout, files in pairs])
    if found is None or found == data.found(task):
        looked_for = ", ".join(dict.fromkeys(file for files in FILES[name] for file in files))
        raise DataError(
            f"`{data.root}` has nothing to score `{name}` on: looked for {looked_for} beside what "
            "it trains on"
        )
    return READERS[found.form](found.files, task, Skipped())
