"""The nearest neighbours of every row of a data set, found by several Ray workers in a collection at one version.

    pip install ./python 'ray[data]'
    python python/examples/ray_join.py ./drumlin-data --workers 2

All workers open the same version, so they see the same records, whatever is written meanwhile. Another process of this
example adds records all the time, each of which would be nearer than any of that version. At the end all distances are
compared with those that NumPy finds.
"""

from __future__ import annotations

import argparse
import json
import threading
from typing import Any

import numpy as np
from local_ray import local_ray  # first: it has settings that Ray reads when it is imported

import drumlin
import ray

DIMENSION, K = 32, 5


class Neighbours:
    """One worker, with the collection at one version."""

    def __init__(self, url: str, name: str, version: int) -> None:
        db = drumlin.connect(url, load_at_start=False, maintenance=False)
        self.records = db.collection(name).at(version)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        # `exact` compares all vectors; without it graphs are searched: faster, and nearly all of the nearest are found.
        found = self.records.search(batch["embedding"], k=K, exact=True, include=())
        return {"query": batch["query"], "neighbours": np.array(found.ids), "distances": found.distances}


@ray.remote(num_cpus=0)
class Writer:
    """Another process that adds records until it is stopped."""

    def __init__(self, url: str, name: str) -> None:
        self.records = drumlin.connect(url, load_at_start=False, maintenance=False).collection(name)
        self.stopped, self.added = threading.Event(), 0

    def start(self, embeddings: np.ndarray) -> None:
        """Adds the first records before it returns, and goes on."""
        self.add(embeddings)
        self.thread = threading.Thread(target=self.go_on, args=(embeddings,))
        self.thread.start()

    def go_on(self, embeddings: np.ndarray) -> None:
        while not self.stopped.wait(0.05):
            self.add(embeddings)

    def add(self, embeddings: np.ndarray) -> None:
        ids = [f"late-{self.added + n}" for n in range(len(embeddings))]
        self.added += self.records.add(ids=ids, embeddings=embeddings).applied

    def stop(self) -> int:
        """How many records were added."""
        self.stopped.set()
        self.thread.join()
        return self.added


def check(joined: Any, queries: np.ndarray, base: np.ndarray) -> None:
    """Compares with squared distances of all pairs in float64."""
    truth = ((queries[:, None, :].astype(np.float64) - base[None, :, :]) ** 2).sum(axis=2)
    for query, neighbours, distances in zip(joined["query"], joined["neighbours"], joined["distances"], strict=True):
        assert all(name.startswith("row-") for name in neighbours), f"a record of a later version: {neighbours}"
        rows = [int(name.removeprefix("row-")) for name in neighbours]
        assert len(set(rows)) == K, f"a record twice: {neighbours}"
        np.testing.assert_allclose(distances, truth[query][rows], rtol=1e-5)
        np.testing.assert_allclose(distances, np.sort(truth[query])[:K], rtol=1e-5)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("store", help="a folder, or s3://bucket/prefix and the like")
    arguments.add_argument("--collection", default="rows")
    arguments.add_argument("--workers", type=int, default=2)
    given = arguments.parse_args()
    numbers = np.random.default_rng(7)
    base = numbers.normal(size=(3_000, DIMENSION)).astype(np.float32)
    queries = numbers.normal(size=(1_000, DIMENSION)).astype(np.float32)
    with drumlin.connect(given.store) as db, local_ray(2 * given.workers):
        rows = db.collection(given.collection, create=True, metric="l2")
        version = rows.add(ids=[f"row-{n}" for n in range(len(base))], embeddings=base).version
        writer = Writer.remote(db.url, given.collection)
        ray.get(writer.start.remote(queries[::10]))

        asked = [{"query": n, "embedding": query} for n, query in enumerate(queries)]
        # or: asked = ray.data.read_parquet("s3://bucket/queries/")
        joined = ray.data.from_items(asked, override_num_blocks=4 * given.workers).map_batches(
            Neighbours,
            fn_constructor_args=(db.url, given.collection, version),
            compute=ray.data.ActorPoolStrategy(size=given.workers),
            batch_size=100,  # 1,000 queries of a search at most
        )
        answers = joined.to_pandas()  # or: joined.write_parquet("s3://bucket/joined/")
        late = ray.get(writer.stop.remote())
        check(answers, queries, base)
        newest = rows.count(strong=True)
    assert newest == len(base) + late, f"{newest} records"
    print(json.dumps({"queries": len(answers), "version": version, "records": len(base), "added meanwhile": late}))


if __name__ == "__main__":
    main()
