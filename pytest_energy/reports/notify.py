"""One JSON message about a run to where a team reads messages; Slack's webhooks take it."""

from __future__ import annotations

import http.client
import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pytest_energy.errors import EnergyError
from pytest_energy.outcomes import EXPLAINED
from pytest_energy.reports import wording
from pytest_energy.results import RunRecord

SECONDS = 10.0
"""How long the other side may take; a run does not wait for a message."""

MOST_LINES = 10
"""Verdicts that the text names."""


def notify(url: str, record: RunRecord, environ: Mapping[str, str] = os.environ) -> None:
    """Post `message` once; raises `EnergyError` that shows no more of the address than its host.

    A redirect is not followed, and nothing is tried again.
    """
    body = json.dumps(message(record, environ)).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "pytest-energy"}
    failed: list[str] = []
    sent = threading.Event()

    def post() -> None:
        try:
            asked = urllib.request.Request(url, data=body, headers=headers, method="POST")
            with _opener.open(asked, timeout=SECONDS):
                pass
        except urllib.error.HTTPError as error:
            failed.append(f"answers HTTP {error.code}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            failed.append(f"does not answer ({type(reason).__name__})")
        sent.set()

    # On a thread, since each single wait has a limit and all of them together have none.
    threading.Thread(target=post, name="notify", daemon=True).start()
    if not sent.wait(SECONDS):
        failed.append(f"does not answer within {SECONDS:g} s")
    if failed:
        raise EnergyError(f"`{urlsplit(url).hostname}` {failed[0]}")


def message(record: RunRecord, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The message: a `text` for people, and `energy` with the same for programs."""
    verdicts = [
        verdict for verdict in wording.worst_first(record.verdicts) if verdict.outcome in EXPLAINED
    ]
    place = _place(environ)
    hardware = record.hardware.get("key")
    lines = [f"Energy{f' on {hardware}' if hardware else ''}: {wording.headline(record)}"]
    lines += [f"{wording.name(one)}: {wording.verdict_line(one)}" for one in verdicts[:MOST_LINES]]
    if len(verdicts) > MOST_LINES:
        lines.append(f"and {len(verdicts) - MOST_LINES} more")
    lines += [f"claim {one.outcome}: {one.claim}" for one in record.claims if one.fails]
    lines += [place] if place else []
    fails = [*(one.fails for one in record.verdicts), *(one.fails for one in record.claims)]
    told = [
        {"id": one.id, "metric": one.metric, "verdict": one.outcome, "fails": one.fails,
         "value": one.value, "unit": one.unit, "baseline": one.baseline, "change": one.change,
         "reason": one.text}
        for one in verdicts
    ]  # fmt: skip
    return {
        "text": "\n".join(map(_escaped, lines)),
        "energy": {
            "hardware": hardware,
            "failed": any(fails),
            "run": place,
            "verdicts": told,
        },
    }


def _place(environ: Mapping[str, str]) -> str | None:
    """Where the run can be looked at, if GitHub runs it."""
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    server, repository, run = (environ.get(name) for name in names)
    return f"{server}/{repository}/actions/runs/{run}" if server and repository and run else None


def _escaped(line: str) -> str:
    """A line in which Slack sees no link and no mention."""
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: what is told is for the address that was given."""


_opener = urllib.request.build_opener(_NoRedirect)
