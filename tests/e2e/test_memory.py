"""A server with little memory: it refuses what it cannot hold, lives, and has everything after a kill -9."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import folder_place
from drumlin import Drumlin

MIB = 1 << 20
LIMIT_MIB = 160
# What the limit is to protect from: the kernel would kill a process in a container of this size. A server leaves more
# of one to what the system counts besides, and to what writes copy for a moment.
CONTAINER_MIB = LIMIT_MIB + 32
# Memory of deleted records is free once their rows are merged away and work under way has ended.
ROOM_TIMEOUT_S = 90
DIMENSION = 256
BATCH = 1_000


def records(first: int) -> list[dict[str, Any]]:
    made = random.Random(first)
    text = "a document of some length that says nothing in particular"
    return [
        {
            "id": f"r{number}",
            "embedding": [round(made.uniform(-1, 1), 4) for _ in range(DIMENSION)],
            "document": f"{number}: {text}",
        }
        for number in range(first, first + BATCH)
    ]


def peak_bytes(server: Drumlin) -> int:
    """The largest resident size that the process ever had, without the pages of its own file, which the kernel takes
    back when it needs them (a debug build has many)."""
    text = Path(f"/proc/{server.running().pid}/status").read_text()
    sizes = {line.split(":")[0]: line.split()[1] for line in text.splitlines() if line.endswith(" kB")}
    return (int(sizes["VmHWM"]) - int(sizes["RssFile"])) * 1024


def count(server: Drumlin, name: str = "c") -> int:
    return int(server.call("GET", f"/api/collections/{name}/count")["count"])


def fill(server: Drumlin) -> int:
    """Adds until the server says that there is no memory; how many records were added."""
    for first in range(0, 1_000_000, BATCH):
        answer = server.client.post("/api/collections/c/add", json={"records": records(first)})
        if answer.status_code == 507:
            error = answer.json()["error"]
            assert error["kind"] == "no_room"
            assert "DRUMLIN_MEMORY_LIMIT" in error["message"] and f"{LIMIT_MIB}.0 MiB" in error["message"]
            return first
        assert answer.is_success, answer.text
    raise AssertionError("nothing was ever refused")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_a_server_at_its_limit_refuses_lives_and_has_everything_after_kill_9(
    tmp_path: Path, start: Callable[..., Drumlin]
) -> None:
    settings = folder_place(tmp_path / "bucket").settings
    server = start({**settings, "DRUMLIN_MEMORY_LIMIT": f"{LIMIT_MIB}MiB"})
    server.create("c", metric="l2")
    added = fill(server)
    assert added * DIMENSION * 4 > 20 * MIB, f"only {added} records fitted"

    health = server.call("GET", "/health")
    assert health["memory"]["limit_bytes"] == LIMIT_MIB * MIB
    assert f"drumlin_memory_limit_bytes {LIMIT_MIB * MIB}" in server.client.get("/metrics").text
    probe = records(0)[17]
    assert server.nearest("c", probe["embedding"])[0]["id"] == "r17"

    # Chroma's clients are told in their own way.
    collection = server.call("GET", "/api/collections/c")["id"]
    base = "/api/v2/tenants/default_tenant/databases/default_database/collections"
    for first in range(added, added + 100 * BATCH, BATCH):  # some may fit by now: work under way has ended
        more = records(first)
        body = {"ids": [r["id"] for r in more], "embeddings": [r["embedding"] for r in more]}
        refused = server.client.post(f"{base}/{collection}/add", json=body)
        if not refused.is_success:
            break
        added += BATCH
    assert (refused.status_code, refused.json()["error"]) == (507, "ChromaError")

    # Deletes are not refused, and make room.
    gone = [f"r{number}" for number in range(added // 2, added)]
    for first in range(0, len(gone), 5_000):
        server.delete("c", gone[first : first + 5_000])
    assert count(server) == added // 2
    deadline = time.monotonic() + ROOM_TIMEOUT_S
    while True:
        answer = server.client.post("/api/collections/c/add", json={"records": records(added)})
        if answer.status_code != 507 or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert answer.is_success, answer.text
    assert count(server) == added // 2 + BATCH
    assert peak_bytes(server) < CONTAINER_MIB * MIB

    server.kill()
    server.start()
    assert count(server) == added // 2 + BATCH
    assert server.nearest("c", probe["embedding"])[0]["id"] == "r17"
    assert server.nearest("c", records(added)[3]["embedding"])[0]["id"] == f"r{added + 3}"
    assert peak_bytes(server) < CONTAINER_MIB * MIB


def test_collections_that_do_not_fit_together_answer_in_turn(tmp_path: Path, start: Callable[..., Drumlin]) -> None:
    # No graphs: a debug build takes long to build one, and a collection cannot rest meanwhile.
    settings = {**folder_place(tmp_path / "bucket").settings, "DRUMLIN_GRAPH_ROWS": "1000000"}
    server = start(settings)
    for name in ("c0", "c1", "c2", "c3"):
        server.create(name, metric="l2")
        for first in range(0, 10_000, BATCH):
            server.add(name, records(first))
    assert server.stop() == 0

    server.settings = {**settings, "DRUMLIN_MEMORY_LIMIT": "36MiB"}
    server.start()
    assert server.call("GET", "/health")["resting"] > 0
    for _ in range(2):
        for name in ("c0", "c1", "c2", "c3"):
            assert count(server, name) == 10_000
            assert server.nearest(name, records(5_000)[1]["embedding"])[0]["id"] == "r5001"
    metrics = server.client.get("/metrics").text
    wakings = next(line for line in metrics.splitlines() if line.startswith("drumlin_wakings_total"))
    assert int(wakings.split()[1]) >= 4
