"""The command `pytest-energy`: tools beside the plugin."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pytest_energy.cli.history import add_drift, add_history
from pytest_energy.cli.report import add_report
from pytest_energy.errors import EnergyError

USAGE_ERROR = 4
"""Exit code for bad input, as pytest's own."""

_FOLDER = Path("baselines")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    parser = _Parser(prog="pytest-energy", description="Energy as a tested property.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    _add_doctor(commands)
    _add_baselines(commands)
    _add_estimate(commands)
    _add_calibrate(commands)
    _add_export(commands)
    add_drift(commands)
    add_history(commands)
    add_report(commands)
    options = parser.parse_args(arguments)
    try:
        code: int = options.run(options)
    except EnergyError as error:
        print(f"pytest-energy: {error}", file=sys.stderr)
        return USAGE_ERROR
    return code


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\n")


def _add_doctor(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser("doctor", help="which meters work here, and what machine this is")
    parser.add_argument(
        "--baselines", type=Path, default=_FOLDER, help="folder of the baseline files"
    )
    parser.set_defaults(run=_doctor)


def _add_baselines(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser("baselines", help="list, check, compare and tidy baselines")
    parser.add_argument(
        "paths", nargs="*", type=Path, default=[_FOLDER], help="files or folders (baselines/)"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="exit 1 if a file has faults, for CI")
    what.add_argument("--compare", action="store_true", help="two files, figure by figure")
    what.add_argument("--prune", action="store_true", help="remove what no session needs")
    parser.set_defaults(run=_baselines)


def _add_estimate(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser("estimate", help="kWh, gCO2e, money and hours of a full run")
    parser.add_argument("task", metavar="TASK", help="a task such as `sst2`, or `all`")
    parser.add_argument("--hw", metavar="KEY", required=True, help="hardware with a baseline")
    parser.add_argument("--model", default="bert-base-uncased", help="(bert-base-uncased)")
    parser.add_argument("--epochs", metavar="N", type=int, help="(the task's standard)")
    parser.add_argument("--examples", metavar="N", type=int, help="(the task's training set)")
    parser.add_argument("--batch-size", metavar="N", type=int, default=32, help="(32)")
    parser.add_argument("--region", metavar="ISO3", help="country of the grid (world's mean)")
    parser.add_argument("--price", metavar="PER_KWH", type=float, help="what a kWh costs")
    parser.add_argument(
        "--baselines", type=Path, default=_FOLDER, help="folder of the baseline files"
    )
    parser.set_defaults(run=_estimate)


def _add_calibrate(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser("calibrate", help="fit joules at the wall to the device's joules")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--wall", metavar="SOURCE", help="log file, or http:// address of a plug")
    what.add_argument("--pairs", metavar="FILE", type=Path, help="CSV: device_watts,wall_watts")
    parser.add_argument("--meter", metavar="NAME", default="auto", help="the device's meter (auto)")
    parser.add_argument("--windows", metavar="N", type=int, default=12, help="pairs to buy (12)")
    parser.add_argument("--seconds", metavar="S", type=float, default=20.0, help="of each (20)")
    parser.add_argument(
        "--baselines", type=Path, default=_FOLDER, help="folder of the baseline files"
    )
    parser.add_argument("--write", action="store_true", help="store it in the baseline file")
    parser.set_defaults(run=_calibrate)


def _add_export(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser("export", help="a run's figures for tools that keep them")
    parser.add_argument("record", metavar="RECORD.json", type=Path, help="what --energy-json wrote")
    parser.add_argument(
        "--format",
        required=True,
        choices=("github-action-benchmark", "bencher", "asv"),
        help="whose format",
    )
    parser.add_argument(
        "-o", "--output", metavar="PATH", type=Path, help="(stdout; for asv its results folder)"
    )
    parser.add_argument(
        "--commit", metavar="REV", default="HEAD", help="what was measured, for asv (HEAD)"
    )
    parser.set_defaults(run=_export)


def _doctor(options: argparse.Namespace) -> int:
    from pytest_energy.cli import doctor

    return doctor.run(options.baselines)


def _baselines(options: argparse.Namespace) -> int:
    from pytest_energy.cli import baselines

    if options.compare:
        if len(options.paths) != 2:
            raise EnergyError("`--compare` takes two baseline files: the old one and the new one")
        return baselines.compare(*options.paths)
    if options.prune:
        return baselines.prune(options.paths)
    return baselines.show(options.paths, check=options.check)


def _estimate(options: argparse.Namespace) -> int:
    from pytest_energy.cli import estimate

    return estimate.run(
        estimate.Question(
            task=options.task,
            hardware=options.hw,
            model=options.model,
            epochs=options.epochs,
            examples=options.examples,
            batch_size=options.batch_size,
            region=options.region,
            price_per_kwh=options.price,
            baselines=options.baselines,
        )
    )


def _calibrate(options: argparse.Namespace) -> int:
    from pytest_energy.cli import calibrate

    return calibrate.run(
        calibrate.Request(
            wall=options.wall,
            pairs=options.pairs,
            meter=options.meter,
            windows=options.windows,
            seconds=options.seconds,
            baselines=options.baselines,
            write=options.write,
        )
    )


def _export(options: argparse.Namespace) -> int:
    from pytest_energy.cli import export

    return export.run(options.record, options.format, options.output, options.commit)
