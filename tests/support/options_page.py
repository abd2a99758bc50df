"""The page docs/options.md, from the table of options. Run this file to print it."""

from __future__ import annotations

from pytest_energy.plugin.options import OPTIONS


def page() -> str:
    """The page docs/options.md: every option with its ini twin, default and meaning."""
    rows = []
    for option in OPTIONS:
        flag = f"{option.flag}={option.metavar}" if option.metavar else option.flag
        default = "" if option.default in (None, False) else f"`{option.default}`"
        rows.append(f"| `{flag}` | `{option.ini}` | {default} | {option.help} |")
    return "\n".join(
        [
            "# Options",
            "",
            "Each option can also be set in pytest's ini file, by the name in the second column.",
            "The command line wins.",
            "If the ini file turns a switch on, `--no-energy-…` turns it off.",
            "If an option has no default of its own, an empty value turns it off "
            "(`--energy-history=`); if there is nothing to turn off, the run's header says so.",
            "Paths on the command line start from the current folder, those of the ini file from "
            "pytest's root.",
            "What counts, in this order: the marker, the command line, the ini file, the baseline "
            "file (levels and window size), the default.",
            "",
            "| option | ini | default | what it does |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    print(page(), end="")
