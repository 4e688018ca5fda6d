"""One collection that is too large for a machine, as partitions: the collections `name-0`, `name-1` and so on.

    pip install ./python 'ray[data]'
    python python/examples/ray_partitions.py ./drumlin-data --partitions 4

A record is in the partition that the hash of its id says. Each partition is held in memory by one Ray actor. A search
asks all of them, and the k nearest of their answers are the k nearest of all records. What an actor holds is in the
bucket: one that is lost starts anew, and reads it back.
"""

from __future__ import annotations

import argparse
import json
import zlib
from typing import Any

import numpy as np
from local_ray import local_ray  # first: it has settings that Ray reads when it is imported

import drumlin
import ray


@ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=3)
class Partition:
    """One partition, in the memory of one machine. All its calls may be made twice: Ray does so after a loss."""

    def __init__(self, url: str, name: str) -> None:
        self.records = drumlin.connect(url, load_at_start=False).collection(name)

    def call(self, method: str, **arguments: Any) -> Any:
        """A method of the collection with its result: hits per query of a search, records of a get."""
        result = getattr(self.records, method)(**arguments)
        if method == "search":
            return [list(zip(*pair, strict=True)) for pair in zip(result.distance_lists, result.ids, strict=True)]
        return list(result) if method == "get" else result


class PartitionedCollection:
    """Records in n collections. The number of partitions stays as it was when they were made."""

    def __init__(self, db: drumlin.Database, name: str, partitions: int, metric: str = "cosine") -> None:
        names = [f"{name}-{number}" for number in range(partitions)]
        made = [db.collection(n, create=True, metric=metric, metadata={"partitions": partitions}) for n in names]
        for partition in made:
            metadata = partition.info()["metadata"] or {}
            if metadata.get("partitions") != partitions:
                raise ValueError(f"expected {partitions} partitions, got {partition.name} with metadata {metadata}")
        self.actors = [Partition.remote(db.url, n) for n in names]

    def placed(self, ids: list[str]) -> dict[Any, list[int]]:
        """For each actor that has some of the ids, their places in the list."""
        found: dict[Any, list[int]] = {}
        for place, name in enumerate(ids):
            # Not `hash`: that is another one in each process.
            found.setdefault(self.actors[zlib.crc32(name.encode()) % len(self.actors)], []).append(place)
        return found

    def add(self, ids: list[str], embeddings: np.ndarray) -> int:
        """Adds n × d embeddings. Each partition is applied whole or not at all; an add that failed may be repeated."""
        calls = [
            actor.call.remote("add", ids=[ids[place] for place in places], embeddings=embeddings[places])
            for actor, places in self.placed(ids).items()
        ]
        return sum(written.applied for written in ray.get(calls))

    def delete(self, ids: list[str]) -> int:
        return sum(written.applied for written in ray.get(self._by_id("delete", ids)))

    def get(self, ids: list[str]) -> list[dict[str, Any]]:
        return [record for records in ray.get(self._by_id("get", ids)) for record in records]

    def count(self) -> int:
        return sum(ray.get([actor.call.remote("count") for actor in self.actors]))

    def search(self, queries: np.ndarray, k: int = 10, **arguments: Any) -> list[list[tuple[float, str]]]:
        """For each of q × d queries the k nearest, as (distance, id). Ties go by id, of those that a partition answers."""
        calls = [actor.call.remote("search", queries=queries, k=k, include=(), **arguments) for actor in self.actors]
        return [sorted(hit for hits in lists for hit in hits)[:k] for lists in zip(*ray.get(calls), strict=True)]

    def _by_id(self, method: str, ids: list[str]) -> list[Any]:
        placed = self.placed(ids)
        return [actor.call.remote(method, ids=[ids[place] for place in places]) for actor, places in placed.items()]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("store", help="a folder, or s3://bucket/prefix and the like")
    arguments.add_argument("--partitions", type=int, default=4)
    given = arguments.parse_args()
    numbers = np.random.default_rng(7)
    ids = [f"record-{n}" for n in range(4_000)]
    embeddings = numbers.normal(size=(len(ids), 32)).astype(np.float32)
    queries = numbers.normal(size=(50, 32)).astype(np.float32)
    with drumlin.connect(given.store, load_at_start=False) as db, local_ray(given.partitions):
        parts = PartitionedCollection(db, "large", given.partitions, metric="l2")
        added = parts.add(ids, embeddings)
        deleted = parts.delete(ids[::10])
        ray.kill(parts.actors[0], no_restart=False)  # a machine is lost: its partition is read from the bucket again
        found = parts.search(queries, k=10, exact=True)
        there = sorted(record["id"] for record in parts.get(ids[:20]))
        report = {"added": added, "deleted": deleted, "records": parts.count(), "of the first 20": len(there)}
        # The same records in one collection give the same answers.
        whole = db.collection("whole", create=True, metric="l2")
        whole.add(ids=ids, embeddings=embeddings)
        whole.delete(ids[::10])
        expected = whole.search(queries, k=10, exact=True, include=())
        for hits, names, distances in zip(found, expected.ids, expected.distances, strict=True):
            assert hits == list(zip(distances, names, strict=True)), f"{hits} are not {names}"
    print(json.dumps({**report, "searches": len(found), "partitions": given.partitions}))


if __name__ == "__main__":
    main()
