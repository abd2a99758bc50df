"""Parts of an acceptance that meter windows: each goes on until its time ends.

Run by `perf/accept.py`, each in a process of its own: `python perf/accept_parts.py ab --out ab.json
--ends SECONDS`. What a part has found by then stands in its file, whatever ends it.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import exp, log, sqrt
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, Final

from flops import peak_flops
from loop_speed import Spent, achieved_flops, our_pass, trainer_for
from pytest_energy import FineTuning, Meter, Window, open_data, open_meter, prepare
from pytest_energy.baselines.reading import qualified
from pytest_energy.files import write_atomically
from pytest_energy.gate.gates import PairedGate
from pytest_energy.stats.distributions import student_t
from pytest_energy.workloads.data.examples import Batches

WINDOW_SECONDS: Final = 1.5
FIRST_TOKENS: Final = 16_384
VERDICTS: Final = 20
MOST_ROUNDS: Final = 10_000
SLOWER: Final = 1.2
"""A round may take so many times the longest until then."""
MOST_PAIRS: Final = 12
"""Pairs that a verdict may ask for."""
LARGER: Final = 2.0
"""Training is taken to leave weights so many times as large as those it starts from."""
TAIL: Final = 0.5
"""And by as much more or less from row to row: the SD of the logarithm of a row's size."""
FIRST_WORD, VOCABULARY = 1000, 29_000
SPECIAL: Final = (0, 101, 102)
"""Padding, the first and the last token of a text keep their places."""


@dataclass(frozen=True)
class Place:
    """Where and on what a part measures, and where its findings go."""

    out: Path
    device: str | None
    task: str
    model: str
    window_seconds: float
    most_tokens_per_batch: int | None
    data: str
    models: Path | None
    ends: float

    def rounds(self) -> Iterator[int]:
        """Numbers of rounds, as long as there is time for one more; there is always a first."""
        longest, began = 0.0, time.monotonic()
        for number in range(MOST_ROUNDS):
            yield number
            longest, began = max(longest, time.monotonic() - began), time.monotonic()
            if began + SLOWER * longest > self.ends:
                return

    def write(self, found: dict[str, Any]) -> None:
        """Keep what was found until now."""
        write_atomically(self.out, json.dumps(found, indent=1) + "\n")

    def run(self, meter: Meter, tokens: int, **overrides: Any) -> FineTuning:
        """A fine-tuning on what this machine trains with."""
        return prepare(
            self.task,
            self.model,
            data=open_data(self.data, self.models),
            meter=meter,
            tokens_per_window=tokens,
            max_tokens_per_batch=self.most_tokens_per_batch,
            device=self.device,
            models=self.models,
            **overrides,
        )

    def sized(self, meter: Meter) -> int:
        """Tokens of a window of about `window_seconds`."""
        tokens = min(FIRST_TOKENS, 4 * (self.most_tokens_per_batch or FIRST_TOKENS))
        with closing(self.run(meter, tokens)) as run:
            run.warm_up()
            took = our_pass(run).seconds
            return max(64, round(run.tokens * self.window_seconds / took))


def ab(place: Place, meter: Meter) -> None:
    """Pairs of windows of the same code, and the verdicts that the gate gives on them."""
    tokens = place.sized(meter)
    with closing(place.run(meter, tokens)) as base, closing(place.run(meter, tokens)) as head:
        both = (base, head)
        for run in both:
            run.warm_up()
        pairs: list[list[float]] = []
        invalid: list[str] = []
        for _ in place.rounds():
            order = both if len(pairs) % 2 == 0 else both[::-1]
            windows = {run is head: run.window() for run in order}
            reasons = [w.invalid_reason for w in windows.values() if w.invalid_reason]
            invalid += reasons
            if not reasons:
                pairs.append([windows[side].joules_per_token for side in (False, True)])
            place.write({"tokens": base.tokens, **verdicts(pairs), "pairs": pairs,
                         "invalid": dict(Counter(invalid))})  # fmt: skip


def verdicts(pairs: Sequence[Sequence[float]]) -> dict[str, Any]:
    """So many verdicts on pairs, each begun a few pairs after the last, and what they say.

    Windows are shared where pairs are too few for all to have their own.
    """
    last = max(0, len(pairs) - MOST_PAIRS)
    outcomes: Counter[str] = Counter()
    asked = []
    for number in range(VERDICTS):
        gate, done = PairedGate(max_pairs=MOST_PAIRS), None
        start = 2 * round(last / 2 * number / (VERDICTS - 1))  # where base came first again
        for count, (base, head) in enumerate(pairs[start:], 1):
            done = gate.add(base, head)
            if done is not None:
                asked.append(count)
                break
        outcomes[done.outcome if done is not None else "open"] += 1
    changes = [log(head / base) for base, head in pairs]
    return {
        "outcomes": dict(outcomes),
        "pairs_asked": median(asked) if asked else None,
        "pair_sd": stdev(changes) if len(changes) > 1 else None,
    }


def loop(place: Place, meter: Meter) -> None:
    """This project's loop and the Trainer's in turn, on the same batches."""
    with closing(place.run(meter, place.sized(meter))) as run:
        trainer = trainer_for(run)
        sides: dict[bool, list[Spent]] = {True: [], False: []}
        our_pass(run), trainer.one_pass()  # to warm up
        for number in place.rounds():
            for mine in (True, False) if number % 2 == 0 else (False, True):
                sides[mine].append(our_pass(run) if mine else trainer.one_pass())
            place.write(_speeds(run, sides[True], sides[False]))


def _speeds(run: FineTuning, ours: Sequence[Spent], theirs: Sequence[Spent]) -> dict[str, Any]:
    mine, trainer = (median(run.tokens / each.seconds for each in side) for side in (ours, theirs))
    achieved, weights = achieved_flops(run, mine)
    peak = peak_flops(run.meter.devices[0].name) if run.device.startswith("cuda") else None
    return {
        "rounds": len(ours),
        "our_tokens_per_second": mine,
        "trainer_tokens_per_second": trainer,
        "ratio": median(b.seconds / a.seconds for a, b in zip(ours, theirs, strict=True)),
        "flops_per_second": achieved,
        "peak_flops_per_second": peak,
        "utilisation": achieved / peak if peak else None,
        "multiplying_weights": weights,
        "precision": run.workload.precision,
    }


def overhead(place: Place, meter: Meter) -> None:
    """Metered and unmetered passes in turn."""
    with closing(place.run(meter, place.sized(meter))) as run:
        run.warm_up()
        plain: list[float] = []
        metered: list[float] = []
        for number in place.rounds():
            for with_meter in (False, True) if number % 2 == 0 else (True, False):
                if with_meter:
                    metered.append(run.window().seconds)
                else:
                    plain.append(our_pass(run).seconds)
            ratios = [log(a / b) for a, b in zip(plain, metered, strict=True)]
            place.write({"tokens": run.tokens, **_ratio(ratios)})


def values(place: Place, meter: Meter) -> None:
    """The same work on other values: trained-like weights, and the words of a text."""
    tokens = place.sized(meter)
    runs = {name: place.run(meter, tokens) for name in ("seeded", "trained-like", "text")}
    trained_like(runs["trained-like"].bare)
    runs["text"].take(worded(runs["text"]))
    for run in runs.values():
        run.warm_up()
    found: dict[str, list[Window]] = {name: [] for name in runs}
    invalid: Counter[str] = Counter()
    for number in place.rounds():
        windows = {name: runs[name].window() for name in list(runs)[:: 1 - 2 * (number % 2)]}
        reasons = [w.invalid_reason for w in windows.values() if w.invalid_reason]
        invalid.update(reasons)
        if not reasons:
            for name, window in windows.items():
                found[name].append(window)
        rounds = len(found["seeded"])
        told = {name: _beside(found["seeded"], found[name]) for name in list(runs)[1:]}
        place.write({"tokens": runs["seeded"].tokens, "rounds": rounds, "all": number + 1,
                     "invalid": dict(invalid), **told})  # fmt: skip
    for run in runs.values():
        run.close()


def _beside(seeded: Sequence[Window], others: Sequence[Window]) -> dict[str, Any]:
    """Joules a token, watts and tokens/s of other values beside the seeded ones'."""
    figures: dict[str, Callable[[Window], float]] = {
        "joules_per_token": lambda w: w.joules_per_token,
        "watts": lambda w: w.mean_watts,
        "tokens_per_second": lambda w: w.tokens_per_second,
    }
    pairs = list(zip(seeded, others, strict=True))
    return {name: _ratio([log(of(b) / of(a)) for a, b in pairs]) for name, of in figures.items()}


def _ratio(logs: Sequence[float]) -> dict[str, Any]:
    """The mean ratio of so many pairs, with the half-width that holds it 19 times in 20."""
    if len(logs) < 2:
        return {"pairs": len(logs), "ratio": exp(logs[0]) if logs else None, "half_width": None}
    half = student_t(len(logs) - 1) * stdev(logs) / sqrt(len(logs))
    return {"pairs": len(logs), "ratio": exp(fmean(logs)), "half_width": half}


def trained_like(model: Any, seed: int = 1) -> None:
    """Give a model's matrices the sizes that training leaves: larger, and unequal row by row.

    A stand-in for trained weights where none may be downloaded.
    """
    import torch

    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for matrix in model.parameters():
            if matrix.dim() == 2:
                rows = torch.randn(len(matrix), 1, generator=chance).mul(TAIL).exp()
                matrix.mul_((LARGER * rows).to(matrix.device, matrix.dtype))


def worded(run: FineTuning) -> Batches:
    """The batches of a run with the words of a text, each with a number of its own, in their place.

    Lengths stay, so that nothing but the values differs. The text is that of Python's own manual,
    which every installation has.
    """
    import torch

    words = _words()
    batches = []
    for batch in run.batches:
        rows = {name: values.detach().cpu().clone() for name, values in batch.items()}
        ids = rows["input_ids"]
        kept = torch.isin(ids, torch.tensor(SPECIAL))
        fresh = torch.tensor([next(words) for _ in range(ids.numel())]).view_as(ids)
        rows["input_ids"] = torch.where(kept, ids, fresh)
        batches.append(rows)
    return Batches(tuple(batches))


def _words() -> Iterator[int]:
    from pydoc_data.topics import topics

    text = " ".join(topics[name] for name in sorted(topics)).lower()
    found = re.findall(r"[a-z]+|[0-9]+|[^\sa-z0-9]", text)
    numbers = [FIRST_WORD + zlib.crc32(word.encode()) % VOCABULARY for word in found]
    start = random.Random(1).randrange(len(numbers))
    while True:
        yield from numbers[start:]
        start = 0


PARTS: Final[dict[str, Callable[[Place, Meter], None]]] = {
    "ab": ab,
    "loop": loop,
    "overhead": overhead,
    "values": values,
}


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ends", type=float, required=True, help="on the monotonic clock (s)")
    parser.add_argument("--baselines", type=Path, default=Path("baselines"))
    parser.add_argument("--device")
    parser.add_argument("--task", default="squad_v1")
    parser.add_argument("--model", default="bert-base-uncased")
    parser.add_argument("--window-seconds", type=float, default=WINDOW_SECONDS)
    parser.add_argument("--max-tokens-per-batch", type=int)
    parser.add_argument("--data", default="synthetic")
    parser.add_argument("--models", type=Path)
    options = parser.parse_args()
    place = Place(
        options.out,
        options.device,
        options.task,
        options.model,
        options.window_seconds,
        options.max_tokens_per_batch,
        options.data,
        options.models,
        options.ends,
    )
    with closing(open_meter("auto", qualified=qualified(options.baselines))) as meter:
        PARTS[options.part](place, meter)


if __name__ == "__main__":
    main()
