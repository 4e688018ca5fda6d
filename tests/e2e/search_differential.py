"""Compares a server's searches with the reference on many random cases:

    python tests/e2e/search_differential.py --url http://127.0.0.1:8000 --cases 20000 --seed 1

A failing case is made smaller, printed, and with --keep added to the cases that every run begins with.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from search_cases import SEARCHES, Case, Generator, shrunk
from search_reference import Ambiguous, Collection
from search_server import HttpServer, SearchServer, check, fault_of

Json = Any
KEPT = Path(__file__).with_name("search_kept.jsonl")
# Failing cases after which a run ends.
ENOUGH = 5


@dataclass
class Report:
    """What a run found."""

    cases: int = 0
    rows: int = 0
    failures: list[tuple[Case, str]] = field(default_factory=list)


def kept() -> list[Case]:
    """The cases that once failed."""
    lines = KEPT.read_text().splitlines() if KEPT.exists() else []
    return [Case(**json.loads(line)) for line in lines if line.strip()]


def kind_of(fault: str) -> str:
    """What a fault is about: a smaller case must not be one of another fault."""
    kinds = ["refused", "select is", "ids are", "the score of", "the embedding of", "tie", "comes before"]
    return next((kind for kind in kinds if kind in fault), "a column")


def still_fails(server: SearchServer, case: Case, kind: str) -> bool:
    """Whether a smaller case is still one, and fails in this way. What is no well-formed search is no case."""
    try:
        fault = fault_of(server, case)
        return fault is not None and kind_of(fault) == kind
    except (Ambiguous, AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError, httpx.HTTPError):
        return False


def run_seed(server: SearchServer, seed: int, count: int) -> Report:
    """One collection and its searches; a few of them between the writes, so that every state is searched."""
    generator, report = Generator(seed), Report()
    mirror = Collection(generator.space, dict(generator.sparse))
    handle = server.create(generator.space, generator.sparse)
    done: list[Json] = []

    def compare(searches: int) -> None:
        bodies = list(generator.searches(mirror, searches))
        wrong = check(server, handle, mirror, bodies)
        report.cases += len(bodies)
        report.rows += len(mirror.records)
        for body, fault in wrong[:1]:
            case = Case(generator.space, generator.sparse, list(done), body)
            smaller = shrunk(case, functools.partial(still_fails, server, kind=kind_of(fault)))
            report.failures.append((smaller, fault_of(server, smaller) or f"only once: {fault}"))

    for number, operation in enumerate(generator.writes()):
        server.write(handle, operation)
        mirror.write(operation)
        done.append(operation)
        if number % 4 == 3 and count - report.cases > 4:
            compare(2)
    compare(max(count - report.cases, 1))
    server.drop(handle)
    return report


def run(make: Callable[[], SearchServer], seeds: range, jobs: int = 4, searches: int = SEARCHES) -> Report:
    """Seeds in parallel, `jobs` collections at a time."""
    total = Report()
    servers = [make() for _ in range(jobs)]

    def share(number: int) -> Report:
        own = Report()
        for seed in seeds[number::jobs]:
            if len(total.failures) + len(own.failures) >= ENOUGH:
                break
            found = run_seed(servers[number], seed, searches)
            own.cases, own.rows = own.cases + found.cases, own.rows + found.rows
            own.failures += found.failures
        return own

    with ThreadPoolExecutor(jobs) as pool:
        for found in pool.map(share, range(jobs)):
            total.cases, total.rows = total.cases + found.cases, total.rows + found.rows
            total.failures += found.failures
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--keep", action="store_true", help=f"add failing cases to {KEPT.name}")
    options = parser.parse_args()
    begun = time.monotonic()
    server = HttpServer(options.url)
    failures = [(case, fault) for case in kept() if (fault := fault_of(server, case))]
    print(f"{len(kept())} kept cases, {len(failures)} of them fail")
    seeds = range(options.seed, options.seed + -(-options.cases // SEARCHES))
    report = run(lambda: HttpServer(options.url), seeds, options.jobs)
    for case, fault in failures + report.failures:
        print(f"\n{fault}\n{case.text()}")
    if options.keep and report.failures:
        with KEPT.open("a") as file:
            file.writelines(case.text() + "\n" for case, _ in report.failures)
    seconds = time.monotonic() - begun
    print(f"\n{report.cases} cases from seed {options.seed}, {len(report.failures)} differ, {seconds:.0f} s")
    return 1 if failures or report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
