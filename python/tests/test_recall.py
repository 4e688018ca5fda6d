"""What searches find at default settings, of what there is: 50,000 records in clusters, with filters and deletions."""

from __future__ import annotations

import time

import drumlin
import numpy as np
import pytest

ROWS, DIMENSION, CLUSTERS, QUERIES, K = 50_000, 128, 200, 100, 10
# Of every thousand records. `share` of a record is its number modulo 1,000, so a filter takes the same of each cluster.
SHARES = (1000, 700, 500, 100, 10, 2)
BUILD_TIMEOUT_S = 240


def clustered(rows: int, seed: int) -> np.ndarray:
    """Points around centres whose spread is that of the whole, sorted by centre."""
    centres = np.random.default_rng(99).standard_normal((CLUSTERS, DIMENSION))
    noise = 0.7 * np.random.default_rng(seed).standard_normal((rows, DIMENSION))
    return (centres[np.arange(rows) * CLUSTERS // rows] + noise).astype(np.float32)


def wait_for_the_graph(db: drumlin.Database) -> None:
    deadline = time.monotonic() + BUILD_TIMEOUT_S
    while db.health()["memory"]["graph_bytes"] == 0 or db.health()["graphs"]:
        assert time.monotonic() < deadline, db.health()
        time.sleep(0.2)


def recall(notes: drumlin.Collection, queries: np.ndarray, share: int) -> float:
    """The mean share of the true nearest that were found; ties count by distance."""
    where = None if share == 1000 else {"share": {"$lt": share}}
    found = notes.search(queries, K, where, include=())
    truth = notes.search(queries, K, where, include=(), exact=True)
    pairs = list(zip(found.distances, truth.distances, strict=True))
    assert all(len(row) == K for pair in pairs for row in pair)
    return float(np.mean([np.mean(row <= best[-1] + 1e-6 * abs(best[-1])) for row, best in pairs]))


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_recall_at_ten_is_above_0_95_with_filters_and_deletions(db: drumlin.Database, metric: str) -> None:
    notes = db.collection("notes", create=True, metric=metric)
    shares = [{"share": row % 1000} for row in range(ROWS)]
    notes.add(ids=[str(row) for row in range(ROWS)], embeddings=clustered(ROWS, 1), metadatas=shares)
    wait_for_the_graph(db)
    queries = clustered(QUERIES, 2)
    before = {share: recall(notes, queries, share) for share in SHARES}
    notes.delete(where={"share": {"$gte": 800}})
    after = {share: recall(notes, queries, share) for share in SHARES}
    print(metric, before, after)
    assert min(before.values()) >= 0.95 and min(after.values()) >= 0.95, (before, after)
