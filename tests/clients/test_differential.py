"""Thousands of seeded requests, valid and not, to Chroma's own server and to Drumlin: they have to agree, but for what
differential/differences.py names. CLIENTS_SEED repeats a run.

With CLIENTS_TARGET=chroma the other one is Chroma's server too: then nothing may differ at all."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from chroma_server import UNCACHED, ChromaServer
from differential.runner import play, stories
from differential.wire import Wire
from server_process import ServerProcess

SEED = int(os.environ.get("CLIENTS_SEED", str(random.randrange(1 << 32))))
REQUESTS = 2_000


@pytest.fixture
def chroma(tmp_path: Path) -> Iterator[ChromaServer]:
    server = ChromaServer(tmp_path / "theirs", UNCACHED)
    server.start()
    yield server
    server.close()


def test_drumlin_answers_as_chroma_does(chroma: ChromaServer, server: ServerProcess) -> None:
    print(f"CLIENTS_SEED={SEED}")
    told, wires = stories(SEED), (Wire(chroma.url), Wire(server.url))
    report = play(told, *wires)
    print(report)
    assert report.requests >= REQUESTS
    # Chroma's graphs are built by several threads and searched approximately: what a search overlooks differs from run
    # to run. A difference counts if it is there again.
    again = play({story: told[story] for story in {finding.story for finding in report.findings}}, *wires)
    if report.findings:
        print(again)
    assert not again.findings, f"{len(again.findings)} answers differ, with CLIENTS_SEED={SEED}"
    if not isinstance(server, ChromaServer):
        assert report.never_shown() == [], "named in differences.py, and not seen to differ"
