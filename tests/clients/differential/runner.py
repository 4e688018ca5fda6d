"""Plays stories to two servers and tells what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from . import edges_of_collections, edges_of_filters, edges_of_namespaces, edges_of_records
from .comparison import difference
from .differences import DIFFERENCES
from .random_stories import random_stories
from .routes import API, post
from .wire import Answer, Request, Wire

EDGES = (edges_of_namespaces, edges_of_collections, edges_of_records, edges_of_filters)
RANDOM_STORIES = 12
RANDOM_LENGTH = 80
# Findings of one story that are shown after its servers have parted.
CONSEQUENCES = 3


@dataclass(frozen=True)
class Finding:
    """An answer that differs and is not meant to."""

    story: str
    request: Request
    what: str
    theirs: Answer
    ours: Answer
    curl: str
    # Whether an earlier write of the story had another outcome here than there.
    parted: bool

    def __str__(self) -> str:
        label = f" [{self.request.edge}]" if self.request.edge else ""
        later = " (perhaps a consequence of the above)" if self.parted else ""
        answers = "".join(
            f"\n  {name:6} {answer.status} {answer.text[:600]}"
            for name, answer in (("theirs", self.theirs), ("ours", self.ours))
        )
        return f"{self.story}{label}{later}: {self.what}\n  {self.curl}{answers}"


@dataclass
class Report:
    requests: int = 0
    findings: list[Finding] = field(default_factory=list)
    intended: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)

    def shown(self) -> Iterator[Finding]:
        """The findings, but of those that follow from earlier ones only a few of each story."""
        consequences: Counter[str] = Counter()
        for finding in self.findings:
            consequences[finding.story] += finding.parted
            if consequences[finding.story] <= CONSEQUENCES:
                yield finding

    def never_shown(self) -> list[str]:
        return [edge for edge in DIFFERENCES if edge not in self.intended]

    def __str__(self) -> str:
        statuses = ", ".join(f"{count} × {status or 'dropped'}" for status, count in sorted(self.statuses.items()))
        lines = [f"{self.requests} requests; theirs answered {statuses}"]
        lines += [f"intended, {count} ×: {edge}: {DIFFERENCES[edge].reason}" for edge, count in self.intended.items()]
        lines += [f"DIFFERS {finding}" for finding in self.shown()]
        lines += [f"{len(self.findings)} answers differ that should not"]
        return "\n".join(lines)


def stories(seed: int) -> dict[str, list[Request]]:
    """All stories by name, in an order that the seed chooses."""
    random = Random(seed)
    told = {story.__name__: story() for edges in EDGES for story in edges.STORIES}
    told |= random_stories(random, RANDOM_STORIES, RANDOM_LENGTH)
    names = list(told)
    random.shuffle(names)
    return {name: told[name] for name in names}


def play(told: dict[str, list[Request]], theirs: Wire, ours: Wire) -> Report:
    report = Report()
    for name, requests in told.items():
        parted = False
        for wire in (theirs, ours):
            wire.ids.clear()
            answer = wire.send(post(f"{API}/reset"))
            assert answer.status == 200, f"{wire.url} cannot be reset: {answer}"
        for request in requests:
            answers = (theirs.send(request), ours.send(request))
            report.requests += 1
            report.statuses[answers[0].status] += 1
            what = difference(request, (answers[0], theirs), (answers[1], ours))
            if what is None:
                continue
            meant = DIFFERENCES.get(request.edge)
            if meant is not None and meant.covers(*answers):
                report.intended[request.edge] += 1
                continue
            report.findings.append(Finding(name, request, what, *answers, ours.curl(request), parted))
            parted |= request.mutates() and what.startswith("status")
    return report
