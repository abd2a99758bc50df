"""What mkdocs does with the pages: those of the top folder come in, links out go to the source."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
TOP = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages of the top folder, by what they are called in the site."""

_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Take the pages of the top folder in."""
    for name, page in TOP.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Links as they are in the site; what is no page is linked to in the repository."""
    folder = ROOT if page.file.src_uri in TOP.values() else ROOT / "docs"

    def linked(found: re.Match[str]) -> str:
        target, anchor = (folder / found[1]).resolve(), found[2] or ""
        name = target.relative_to(ROOT).as_posix()
        if name in TOP:
            return f"]({TOP[name]}{anchor})"
        if name.startswith("docs/"):
            return f"]({name.removeprefix('docs/')}{anchor})"
        return f"]({config.repo_url}/blob/main/{name})"

    return _LINK.sub(linked, markdown)
