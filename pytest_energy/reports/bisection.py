"""A bisection as text for a terminal, as JSON, and as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pytest_energy.bisect import EXIT_CODES, Conclusion, Culprit, Decision, Estimate, Told
from pytest_energy.bisect.commits import Commit
from pytest_energy.bisect.search import CHANGE
from pytest_energy.reports import charts, wording
from pytest_energy.reports.html import rendered
from pytest_energy.reports.tables import TextTable, profile_tables
from pytest_energy.results.json_codec import as_json
from pytest_energy.text import one_line, safe_line
from pytest_energy.units import percent

BISECT_SCHEMA = 1

SHORT = 10
"""Letters of a commit that are shown."""
_SUBJECT = 60

_COLOURS: Mapping[Decision, str] = {
    "within": "within",
    "between": "warning",
    "regression": "regression",
    "broken": "muted",
}


@dataclass(frozen=True)
class Bisection:
    """A search that has ended: of which figure, between which commits, and what it measured.

    `commits` has all commits between, the newest first, and `good`; `metric` is empty if nothing
    was measured. Between two environments they are packages (`noun`). `asked` is the change that
    was looked for.
    """

    conclusion: Conclusion
    commits: Mapping[str, Commit]
    good: str
    bad: str
    figure: str = ""
    metric: str = ""
    noun: str = "commit"
    asked: float = CHANGE

    @property
    def last_of_ends(self) -> Told | None:
        """The last probe, if the search came no farther than to its ends."""
        probes = self.conclusion.probes
        ends = all(told.finding.probe.purpose == "ends" for told in probes)
        return probes[-1] if probes and ends else None

    @property
    def windows(self) -> int:
        """Windows that all its probes measured, warm-ups not among them."""
        return sum(2 * len(told.finding.pairs) for told in self.conclusion.probes)

    @property
    def unit(self) -> str:
        """What its changes are of."""
        return "J/real token" if self.metric == "joules_per_real_token" else "J/token"

    def subject(self, commit: str) -> str:
        """The first line of a commit's message; empty if it is not known."""
        known = self.commits.get(commit)
        return one_line(known.subject, _SUBJECT) if known else ""


def as_text(found: Bisection) -> str:
    """The probes, the commits that were found and why, and how it ended."""
    lines = [*probe_table(found).lines(), "", *_told(found)]
    return "\n".join(map(safe_line, lines))


def _told(found: Bisection) -> Iterator[str]:
    for culprit in found.conclusion.culprits:
        yield named(found, culprit)
        yield f"  {measured(found, culprit)}"
        if culprit.explanation:
            yield f"  {culprit.explanation}"
    yield headline(found)
    if step := next_step(found):
        yield f"next: {step}"


def named(found: Bisection, culprit: Culprit) -> str:
    """A commit by its name, day and subject, or the commits of which it is one."""
    known = found.commits.get(culprit.commit)
    own = f"{culprit.commit[:SHORT]} {known.day if known else ''} {found.subject(culprit.commit)}"
    if culprit.is_one:
        return own.rstrip()
    first, count = culprit.among[0][:SHORT], len(culprit.among)
    return f"one of the {count} {found.noun}s from {first} to {own.rstrip()}"


def measured(found: Bisection, culprit: Culprit) -> str:
    """By how much a commit differs, and from what."""
    estimate = culprit.estimate
    return (
        f"{percent(estimate.change, signed=True)} {found.unit} (95 % interval "
        f"{interval(estimate)}) against {culprit.against[:SHORT]}, the {found.noun} before"
    )


def interval(estimate: Estimate) -> str:
    """The 95 % interval of a change."""
    return f"{percent(estimate.low, signed=True)} to {percent(estimate.high, signed=True)}"


def headline(found: Bisection) -> str:
    """How a search ended and what it took, on one line."""
    conclusion = found.conclusion
    took = (
        f"{wording.counted(len(conclusion.probes), 'probe')}, "
        f"{wording.counted(found.windows, 'window')}"
    )
    between = f"{found.good[:SHORT]}..{found.bad[:SHORT]}"
    if conclusion.outcome == "found":
        count = sum(culprit.is_one for culprit in conclusion.culprits)
        text = f"found {wording.counted(count, found.noun)} in {between}: {took}"
        return f"{text}; {conclusion.reason}" if conclusion.reason else text
    reason = conclusion.reason
    ends = found.last_of_ends
    if ends and (estimate := ends.estimate):
        pairs = wording.counted(len(ends.finding.pairs), "pair")
        reason += f": the bad end differs by {percent(estimate.change, signed=True)} (95 % "
        reason += f"interval {interval(estimate)}, {pairs}), and "
        reason += f"{percent(found.asked, signed=True)} is looked for (`--change`)"
    return f"{conclusion.outcome} in {between}: {reason} ({took})"


_CLEARLY_LESS = 0.8
"""Of the change that was looked for; what is nearer to it is told from it by no new `--change`."""

_FLAT = {
    "commit": "name an older `--good`; if there is none, look at what no commit changes: "
    "libraries, the driver, the device",
    "package": "look at what no package changes: the code, the driver, the device",
}
_BROKEN = {
    "commit": "mend what keeps the ends from being compared, or name others by `--good` and "
    "`--bad`",
    "package": "mend what keeps the two environments from being compared",
}


def next_step(found: Bisection) -> str:
    """What to do next, a command if one does it; empty if a package was found."""
    if culprits := found.conclusion.culprits:
        first = next((culprit for culprit in culprits if culprit.is_one), culprits[0])
        if found.noun != "commit":
            return ""
        if first.is_one:
            return f"git show {first.commit[:SHORT]}"
        return f"git log --patch {first.against[:SHORT]}..{first.commit[:SHORT]}"
    ends = found.last_of_ends
    if ends is None:
        return "stop other work on the device, then the same command with `--again`"
    return _after_the_ends(found, ends)


def _after_the_ends(found: Bisection, ends: Told) -> str:
    """What to do if the two ends are not as they were thought to be."""
    estimate = ends.estimate
    if estimate is None:
        return _BROKEN[found.noun]
    is_there = not estimate.low <= 0 <= estimate.high
    if is_there and estimate.change / found.asked < _CLEARLY_LESS:
        found_change = 100 * max(-0.9, estimate.change)
        what = "costs more" if estimate.change > 0 else "costs less"
        return f"the same command with `--change={found_change:.3g}`   # which {found.noun} {what}?"
    if found.conclusion.outcome == "can't say":
        return (
            "stop other work on the device, or give each window more work; then the same command "
            "with `--again`"
        )
    return _FLAT[found.noun]


def probe_table(found: Bisection) -> TextTable:
    """A row a probe, in the order in which they were measured."""
    headings = ("probe", "commit", "against", "pairs", "change", "95 % interval", "", "subject")
    rows = [_row(found, told) for told in found.conclusion.probes]
    return TextTable(headings, rows, right=(3, 4, 5), title="Probes")


def _row(found: Bisection, told: Told) -> tuple[str, ...]:
    finding, probe, estimate = told.finding, told.finding.probe, told.estimate
    shown = ("-", "-", "-")
    if estimate is not None:
        change = percent(estimate.change, signed=True)
        shown = (str(len(finding.pairs)), change, interval(estimate))
    text = found.subject(probe.commit)
    if finding.is_broken:
        text = f"{text} ({one_line(finding.reason, _SUBJECT)})".lstrip()
    commits = (probe.commit[:SHORT], probe.against[:SHORT])
    return probe.purpose, *commits, *shown, _answer(found, told), text


def _answer(found: Bisection, told: Told) -> str:
    """What a probe says: the gate's outcome, while the search goes on what it is of the change."""
    if told.finding.probe.purpose != "search" or told.finding.is_broken:
        return told.finding.outcome
    is_better = told.decision == "regression" and found.asked < 0
    return "improvement" if is_better else told.decision


def as_document(found: Bisection) -> dict[str, Any]:
    """The document that `pytest-energy bisect --json` writes, of builtin types alone."""
    conclusion = found.conclusion
    return {
        "schema": BISECT_SCHEMA,
        "outcome": conclusion.outcome,
        "exit_code": EXIT_CODES[conclusion.outcome],
        "reason": safe_line(conclusion.reason),
        "asked": found.asked,
        "next": next_step(found),
        "good": found.good,
        "bad": found.bad,
        "figure": found.figure,
        "metric": found.metric,
        "change": asdict(conclusion.estimate) if conclusion.estimate else None,
        "culprits": [
            {**as_json(culprit), "subject": found.subject(culprit.commit), "one": culprit.is_one}
            for culprit in conclusion.culprits
        ],
        "probes": [
            {
                **asdict(told.finding.probe),
                "subject": found.subject(told.finding.probe.commit),
                "outcome": told.finding.outcome,
                "decision": told.decision,
                "change": asdict(told.estimate) if told.estimate else None,
                "pairs": [list(pair) for pair in told.finding.pairs],
                "reason": safe_line(told.finding.reason),
                "explanation": told.finding.explanation,
            }
            for told in conclusion.probes
        ],
        "windows": found.windows,
    }


def level_chart(found: Bisection) -> charts.Chart:
    """The level of each commit that was held against the good end, oldest first."""
    places = {commit: place for place, commit in enumerate(reversed(list(found.commits)))}
    told = [
        each
        for each in found.conclusion.probes
        if each.estimate and each.finding.probe.against == found.good
    ]
    data = [
        _levels(found, decision, own, places)
        for decision in _COLOURS
        if (own := [each for each in told if each.decision == decision])
    ]
    confirmed = [places.get(culprit.commit, 0) - 0.5 for culprit in found.conclusion.culprits]
    shown = {
        "xaxis": charts.axis("commits after the good one"),
        "yaxis": charts.axis(f"{found.unit} against the good one, %"),
        "shapes": list(map(charts.upright, confirmed)),
    }
    note = "Bars are 95 % intervals; dashed lines are the commits that were confirmed."
    return charts.Chart("levels", "Level of each commit that was probed", tuple(data), shown, note)


def _levels(
    found: Bisection, decision: Decision, told: Sequence[Told], places: Mapping[str, int]
) -> charts.Trace:
    """The levels of probes with the same answer, at the `places` of their commits."""
    commits = [each.finding.probe.commit for each in told]
    estimates = [each.estimate for each in told if each.estimate]
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [100 * (e.high - e.change) for e in estimates],
        "arrayminus": [100 * (e.change - e.low) for e in estimates],
        "color": charts.colour(_COLOURS[decision], 0.5),
        "thickness": 1,
    }
    return charts.marks(
        decision,
        [places.get(commit, 0) for commit in commits],
        [100 * estimate.change for estimate in estimates],
        _COLOURS[decision],
        text=[charts.plain(f"{each[:SHORT]} {found.subject(each)}") for each in commits],
        error_y=bars,
        hovertemplate="%{text}<br>%{y:.1f} %<extra></extra>",
    )


def render_bisection(found: Bisection) -> str:
    """The page; raises `EnergyError` without its libraries.

    Everything that comes from commits, tests and files is escaped, in the text and in the chart.
    """
    chart = level_chart(found)
    culprits = [
        (culprit, charts.profile_charts(culprit.profile, f"c{number}") if culprit.profile else [])
        for number, culprit in enumerate(found.conclusion.culprits)
    ]
    return rendered(
        "bisection.html",
        [chart, *(one for _, drawn in culprits for one in drawn)],
        culprits=culprits,
        found=found,
        headline=wording.sentence_case(headline(found)),
        named=named,
        measured=measured,
        next=next_step(found),
        probes=probe_table(found),
        profile_tables=profile_tables,
        chart=chart,
    )
