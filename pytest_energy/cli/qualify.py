"""`pytest-energy qualify`: what this machine's GPU meter can do, by experiment."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from pytest_energy.baselines.tables import StoredSensor
from pytest_energy.baselines.writing import with_sensor
from pytest_energy.cli import (
    add_baselines_option,
    describe,
    require_outputs,
    say,
    write_json,
    write_text,
)
from pytest_energy.cli.machine import LOCK_TIMEOUT_SECONDS, hardware_to_change, rewrite
from pytest_energy.errors import EnergyError
from pytest_energy.metering.device_lock import device_lock
from pytest_energy.metering.hardware import Hardware
from pytest_energy.meters.nvml.card import Card
from pytest_energy.meters.nvml.driver import VARIABLE, visible_cards
from pytest_energy.meters.protocol import Device
from pytest_energy.qualify import Load
from pytest_energy.qualify.experiments import SECONDS, qualified
from pytest_energy.qualify.switching import SwitchedCard, recorded
from pytest_energy.qualify.table import document, rows
from pytest_energy.reports.qualification import page
from pytest_energy.reports.tables import aligned
from pytest_energy.workloads.torch_loads import products_for

Loads = Callable[[Device], AbstractContextManager[Load]]


def add_qualify(parser: argparse.ArgumentParser) -> None:
    """Register the arguments of `pytest-energy qualify`."""
    describe(
        parser,
        "Find by experiment what the energy counter and the power sensor of one GPU can do. Found "
        "are their periods, windows, lags and steps, what feeds the counter, and what windows "
        f"follow from it. Takes about {SECONDS} s, and needs a free GPU and PyTorch with CUDA.",
        "pytest-energy qualify",
        "CUDA_VISIBLE_DEVICES=1 pytest-energy qualify --html gpu1.html --keep",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what was found as JSON")
    parser.add_argument("--html", metavar="FILE", type=Path, help="draw it on a page")
    parser.add_argument(
        "--looks", metavar="FILE", type=Path, help="write all that was read (.json.gz)"
    )
    parser.add_argument("--keep", action="store_true", help="store it in the baseline file")
    add_baselines_option(parser)
    parser.set_defaults(run=run_qualify)


def run_qualify(options: argparse.Namespace, loads: Loads = products_for) -> int:
    """Measure, print what was found and what follows, and keep it if asked to.

    `loads` gives the load of a device; that of a simulated one is simulated.
    """
    require_outputs(options, "json", "html", "looks")
    with _only_card() as card:
        device = card.device
        hardware = _to_keep_for(options) if options.keep else None
        uuids = [device.uuid or device.domain]
        with device_lock(uuids, LOCK_TIMEOUT_SECONDS, say), loads(device) as load:
            say(
                f"device: `{device.domain}` {device.name}, driver {device.driver}",
                f"load: {load.text}, for about {SECONDS} s in all",
            )
            live = SwitchedCard(card, load)
            try:
                found = qualified(live, say)
            finally:
                if options.looks is not None:  # whatever follows from them
                    write_text(options.looks, recorded(live))
                    say("", f"{options.looks} written")
    say("", *aligned(rows(found), ("quantity", "value", "what follows")))
    if options.json is not None:
        write_json(options.json, document(found))
        say("", f"{options.json} written")
    if options.html is not None:
        write_text(options.html, page(found))
        say("", f"{options.html} written")
    if hardware is not None:
        kept = StoredSensor.of(found).as_table()
        rewrite(
            options.baselines,
            hardware,
            lambda old, header: with_sensor(old, header, found.uuid, kept),
        )
    else:
        say("", "not kept; `--keep` puts it into the hardware's baseline file")
    return 0


@contextmanager
def _only_card() -> Iterator[Card]:
    """The one visible card; `EnergyError` if there are several, or none."""
    with ExitStack() as opened:
        cards = visible_cards(opened)
        if len(cards) > 1:
            names = ", ".join(f"`{card.domain}` {card.device.name}" for card in cards)
            raise EnergyError(
                f"{len(cards)} GPUs are visible ({names}), and one is qualified at a time; name it "
                f"with `{VARIABLE}`"
            )
        yield cards[0]


def _to_keep_for(options: argparse.Namespace) -> Hardware:
    hardware = hardware_to_change("nvml", options.baselines)
    if not hardware.uuids:
        raise EnergyError("the GPU tells no UUID to keep it by; leave `--keep` out")
    return hardware
