"""Print what the changelog says of a tag's version; refuse a tag that is not what was built."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def notes(tag: str, built: list[str], changelog: str) -> str:
    """The section of the version; `ValueError` says what is wrong with tag, files or changelog."""
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag):
        raise ValueError(f"the tag `{tag}` is no version; name it like v1.2.3")
    version = tag[1:]
    expected = [f"pytest_energy-{version}-py3-none-any.whl", f"pytest_energy-{version}.tar.gz"]
    if sorted(built) != expected:
        raise ValueError(f"built were {', '.join(sorted(built))}; expected {', '.join(expected)}")
    parts = re.split(r"^## (.+)$", changelog, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    if sections.get("Unreleased", "").strip():
        raise ValueError(f"CHANGELOG.md has lines under `Unreleased`; move them to `{version}`")
    dated = [text for head, text in sections.items() if re.fullmatch(rf"{version} - [\d-]+", head)]
    if len(dated) != 1 or not dated[0].strip():
        raise ValueError(f"CHANGELOG.md has no section `## {version} - YYYY-MM-DD` with lines")
    return dated[0].strip()


if __name__ == "__main__":
    tag, folder, changelog = sys.argv[1:]
    try:
        print(
            notes(tag, [path.name for path in Path(folder).iterdir()], Path(changelog).read_text())
        )
    except ValueError as error:
        sys.exit(str(error))
