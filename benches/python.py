"""Drumlin's Python package beside LanceDB, Chroma, Qdrant Edge and hnswlib, each within a Python process of its own.

    python -m venv /tmp/beside && /tmp/beside/bin/pip install ./python -r benches/python_requirements.txt
    /tmp/beside/bin/python benches/ann_data.py embedding-like /tmp/data/like-100k-384 --rows 100000 --dim 384
    /tmp/beside/bin/python benches/python.py --data /tmp/data/like-100k-384

Metric cosine, on a folder. With --s3, in a bucket of a local S3 server, for the systems that can; searches need no bucket,
so only adding and reopening are measured there:

    /tmp/beside/bin/python tests/e2e/seaweed.py /tmp/beside/bin/python benches/python.py --s3 --data /tmp/data/like-100k-384

For each system: adding all rows from NumPy, without and with documents, and then (apart) the
time until its index is built; searches for k = 10 one by one, and as one batch where the system takes one, at the
narrowest setting whose recall@10 reaches each target; the same one by one under filters of 10 % and 1 %; from opening
the folder in a new process to the first answer; the process's peak memory. All rows are printed as JSON lines. A system
that cannot do something has no such row; a target that no setting reaches has a row without a time.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

K = 10
TARGETS = (0.95, 0.99)
WIDTHS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
SHARES = (0.1, 0.01)
SEED = 7


class System:
    """One store in a folder, or at a URL. `width` is the knob that trades time for recall."""

    widths = WIDTHS
    buckets = False

    def __init__(self, place: str) -> None:
        self.place, self.folder = place, Path(place)

    def add(self, vectors: np.ndarray, groups: np.ndarray, texts: list[str] | None) -> None:
        raise NotImplementedError

    def build(self) -> float | None:
        """Waits until the index stands. Returns since when it did, by `time.perf_counter`, if that was earlier."""

    def open(self) -> None:
        raise NotImplementedError

    def search(self, vector: np.ndarray, width: int, group: int | None = None) -> list[int]:
        raise NotImplementedError

    batch: Callable[[np.ndarray, int], list[list[int]]] | None = None
    filters = True


class Drumlin(System):
    buckets = True

    def open(self) -> None:
        import drumlin

        self.notes = drumlin.connect(self.place).collection("notes", create=True, metric="cosine")

    def add(self, vectors, groups, texts) -> None:
        self.open()
        metadatas = [{"g": int(group)} for group in groups]
        self.notes.add(ids=[str(n) for n in range(len(vectors))], embeddings=vectors, documents=texts, metadatas=metadatas)

    def build(self) -> float:
        # The graphs stand once there are some and they grow no more.
        before, since = -1, time.perf_counter()
        while before <= 0 or time.perf_counter() - since < 15:
            now = self.notes.database.health()["memory"]["graph_bytes"]
            if now != before:
                before, since = now, time.perf_counter()
            time.sleep(0.2)
        return since

    def search(self, vector, width, group=None) -> list[int]:
        where = None if group is None else {"g": group}
        found = self.notes.search(vector, K, where, include=(), ef_search=width)
        return [int(name) for name in found.ids[0]]

    def batch(self, vectors, width) -> list[list[int]]:
        return [[int(name) for name in row] for row in self.notes.search(vectors, K, include=(), ef_search=width).ids]


class LanceDb(System):
    buckets = True

    def _connect(self):
        import lancedb

        return lancedb.connect(self.place, storage_options={"allow_http": "true"})

    def open(self) -> None:
        self.table = self._connect().open_table("notes")

    def add(self, vectors, groups, texts) -> None:
        import pyarrow as pa

        lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
        columns = {"id": pa.array(range(len(vectors))), "g": pa.array(groups), "vector": lists}
        if texts is not None:
            columns["text"] = texts
        self.table = self._connect().create_table("notes", pa.table(columns))

    def build(self) -> None:
        from lancedb.index import HnswSq

        graph = HnswSq(distance_type="cosine", num_partitions=1, m=16, ef_construction=100)
        self.table.create_index("vector", config=graph)

    def search(self, vector, width, group=None) -> list[int]:
        # It refines the best 4 k, and refuses a width below that.
        query = self.table.search(vector).distance_type("cosine").limit(K).ef(max(width, 4 * K)).refine_factor(4)
        query = query if group is None else query.where(f"g = {group}", prefilter=True)
        return query.select(["id", "_distance"]).to_arrow()["id"].to_pylist()


class Chroma(System):
    # The width is fixed when a collection is made: one of them.
    widths = (100,)

    def open(self) -> None:
        import chromadb

        client = chromadb.PersistentClient(str(self.folder), chromadb.Settings(anonymized_telemetry=False))
        space = {"hnsw": {"space": "cosine", "ef_search": self.widths[0], "max_neighbors": 16, "ef_construction": 100}}
        self.size = client.get_max_batch_size()
        self.notes = client.get_or_create_collection("notes", configuration=space, embedding_function=None)

    def add(self, vectors, groups, texts) -> None:
        self.open()
        for at in range(0, len(vectors), self.size):
            part = slice(at, at + self.size)
            self.notes.add(
                ids=[str(n) for n in range(at, min(at + self.size, len(vectors)))],
                embeddings=vectors[part],
                metadatas=[{"g": int(group)} for group in groups[part]],
                documents=None if texts is None else texts[part],
            )

    def search(self, vector, width, group=None) -> list[int]:
        where = None if group is None else {"g": group}
        found = self.notes.query(query_embeddings=vector[None], n_results=K, where=where, include=[])
        return [int(name) for name in found["ids"][0]]

    def batch(self, vectors, width) -> list[list[int]]:
        found = self.notes.query(query_embeddings=vectors, n_results=K, include=[])
        return [[int(name) for name in row] for row in found["ids"]]


class QdrantEdge(System):
    """One shard, with int8 codes in memory and a second look at the vectors, and an index of the key that filters use."""

    def _config(self, dimension: int):
        import qdrant_edge as edge

        codes = edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile=0.99, always_ram=True)
        graph = edge.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=10_000)
        vectors = edge.EdgeVectorParams(dimension, edge.Distance.Cosine, quantization_config=codes, hnsw_config=graph)
        return edge.EdgeConfig(vectors=vectors)

    def open(self) -> None:
        import qdrant_edge as edge

        self.shard = edge.EdgeShard.load(str(self.folder))

    def add(self, vectors, groups, texts) -> None:
        import qdrant_edge as edge

        self.folder.mkdir(parents=True, exist_ok=True)
        self.shard = edge.EdgeShard.create(str(self.folder), self._config(vectors.shape[1]))
        self.shard.update(edge.UpdateOperation.create_field_index("g", edge.PayloadSchemaType.Integer))
        for at in range(0, len(vectors), 2000):
            rows = zip(range(at, len(vectors)), vectors[at : at + 2000], groups[at : at + 2000], strict=False)
            payload = (lambda n, g: {"g": int(g)}) if texts is None else (lambda n, g: {"g": int(g), "text": texts[n]})
            points = [edge.Point(n, vector.tolist(), payload(n, group)) for n, vector, group in rows]
            self.shard.update(edge.UpdateOperation.upsert_points(points))
        self.shard.flush()

    def build(self) -> None:
        self.shard.optimize()

    def _request(self, vector, width, group=None):
        import qdrant_edge as edge

        condition = None
        if group is not None:
            condition = edge.Filter(must=[edge.FieldCondition(key="g", match=edge.MatchValue(value=group))])
        look_again = edge.QuantizationSearchParams(rescore=True, oversampling=2.0)
        params = edge.SearchParams(hnsw_ef=max(width, K), quantization=look_again)
        return edge.QueryRequest(K, query=edge.Query.Nearest(vector.tolist()), filter=condition, params=params)

    def search(self, vector, width, group=None) -> list[int]:
        return [int(point.id) for point in self.shard.query(self._request(vector, width, group))]

    def batch(self, vectors, width) -> list[list[int]]:
        import qdrant_edge as edge

        requests = edge.QueryBatchRequest([self._request(vector, width) for vector in vectors])
        return [[int(point.id) for point in row] for row in self.shard.query_batch(requests)]


class HnswLib(System):
    filters = False

    def open(self) -> None:
        import hnswlib

        self.index = hnswlib.Index("cosine", int((self.folder / "dimension").read_text()))
        self.index.load_index(str(self.folder / "index"))

    def add(self, vectors, groups, texts) -> None:
        import hnswlib

        self.index = hnswlib.Index("cosine", vectors.shape[1])
        self.index.init_index(len(vectors), M=16, ef_construction=100, random_seed=SEED)
        self.index.add_items(vectors)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "dimension").write_text(str(vectors.shape[1]))
        self.index.save_index(str(self.folder / "index"))

    def search(self, vector, width, group=None) -> list[int]:
        self.index.set_ef(max(width, K))
        return self.index.knn_query(vector, K, num_threads=1)[0][0].tolist()

    def batch(self, vectors, width) -> list[list[int]]:
        self.index.set_ef(max(width, K))
        return self.index.knn_query(vectors, K)[0].tolist()


SYSTEMS = {"drumlin": Drumlin, "lancedb": LanceDb, "chroma": Chroma, "qdrant-edge": QdrantEdge, "hnswlib": HnswLib}


def best_of(work: Callable[[], object], times: int) -> float:
    def once() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return min(once() for _ in range(times))


def nearest(base: np.ndarray, queries: np.ndarray, chosen: np.ndarray) -> list[set[int]]:
    """The true neighbours of each query among the chosen rows (base and queries normalised)."""
    rows = np.flatnonzero(chosen)
    likeness = queries @ base[rows].T
    return [set(rows[np.argpartition(-row, K)[:K]].tolist()) for row in likeness]


def recall(found: list[list[int]], truth: list[set[int]]) -> float:
    return sum(len(set(row) & true) for row, true in zip(found, truth, strict=True)) / (K * len(truth))


class Bench:
    """The measurements of one system in this process."""

    def __init__(self, name: str, place: str, data: Path, queries: int) -> None:
        self.name, self.system = name, SYSTEMS[name](place)
        self.base, self.queries = np.load(data / "base.npy"), np.load(data / "queries.npy")[:queries]
        for rows in (self.base, self.queries):
            rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        self.shares = np.random.default_rng(SEED).random(len(self.base))
        # Group 1 is 1 % of the rows, group 10 is 10 %.
        self.groups = np.where(self.shares < 0.01, 1, np.where(self.shares < 0.11, 10, 0))

    def tell(self, what: str, **values: object) -> None:
        print(json.dumps({"system": self.name, "what": what, **values}), flush=True)

    def add(self, texts: bool) -> None:
        words = [f"The text of record {n}, of some eighty bytes, as a sentence has them." for n in range(len(self.base))]
        began = time.perf_counter()
        self.system.add(self.base, self.groups, words if texts else None)
        added = time.perf_counter() - began
        self.tell("add with documents" if texts else "add", seconds=added, per_second=len(self.base) / added)
        began = time.perf_counter()
        stood = self.system.build() or time.perf_counter()
        self.tell("index", seconds=stood - began)
        self.peak()

    def reopen(self) -> None:
        began = time.perf_counter()
        self.system.open()
        self.system.search(self.queries[0], 64)
        self.tell("reopen to first answer", seconds=time.perf_counter() - began)

    def search(self) -> None:
        truth = nearest(self.base, self.queries, np.ones(len(self.base), bool))
        self._sweep("one by one", lambda width: [self.system.search(query, width) for query in self.queries], truth)
        if self.system.batch is not None:
            self._sweep("one batch", lambda width: self.system.batch(self.queries, width), truth)
        for share in SHARES if self.system.filters else ():
            group = round(share * 100)
            truth = nearest(self.base, self.queries, self.groups == group)
            run = lambda width, group=group: [self.system.search(query, width, group) for query in self.queries]  # noqa: E731
            self._sweep(f"one by one, filter of {share:.0%}", run, truth)
        self.peak()

    def _sweep(self, what: str, run: Callable[[int], list[list[int]]], truth: list[set[int]]) -> None:
        reached = iter(TARGETS)
        target = next(reached)
        for width in self.system.widths:
            got = recall(run(width), truth)
            while got >= target:
                seconds = best_of(lambda width=width: run(width), 3)
                values = {"recall": round(got, 4), "per_second": len(truth) / seconds}
                self.tell(what, target=target, width=width, **values)
                target = next(reached, None)
                if target is None:
                    return
        for missed in [target, *reached]:
            self.tell(what, target=missed, width=None, recall=round(got, 4))

    def peak(self) -> None:
        self.tell("peak memory", mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def s3_variables() -> dict[str, str]:
    """Where the S3 server of `tests/e2e/seaweed.py` is, as the tools of AWS read it."""
    told = {name: os.environ[f"DRUMLIN_TEST_S3_{name}"] for name in ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY", "REGION")}
    return {
        "AWS_ENDPOINT_URL": told["ENDPOINT"], "AWS_ACCESS_KEY_ID": told["ACCESS_KEY"],
        "AWS_SECRET_ACCESS_KEY": told["SECRET_KEY"], "AWS_REGION": told["REGION"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with base.npy and queries.npy")
    parser.add_argument("--work", default="/tmp/drumlin-python-bench")
    parser.add_argument("--s3", action="store_true", help="in a bucket of the server that tests/e2e/seaweed.py started")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        bench = Bench(options.systems, options.work, options.data, options.queries)
        steps = {"add": lambda: bench.add(False), "texts": lambda: bench.add(True), "search": bench.search}
        if options.step in ("search", "reopen"):
            bench.reopen()
        if options.step != "reopen":
            steps[options.step]()
        return
    work, variables = options.work, {}
    if options.s3:
        work, variables = f"s3://{os.environ['DRUMLIN_TEST_S3_BUCKET']}/{int(time.time())}", s3_variables()
    for name in options.systems.split(","):
        if options.s3 and not SYSTEMS[name].buckets:
            continue
        # The searches are of the store without documents.
        for step, part in (("texts", "texts"), ("add", "plain"), ("reopen" if options.s3 else "search", "plain")):
            place = f"{work}/{name}-{part}"
            if step in ("texts", "add"):
                shutil.rmtree(place, ignore_errors=True)
            command = [sys.executable, __file__, "--data", options.data, "--work", place, "--systems", name]
            command += ["--step", step, "--queries", options.queries]
            ended = subprocess.run([*map(str, command)], env={**os.environ, **variables})
            if ended.returncode != 0:
                print(json.dumps({"system": name, "what": step, "failed": ended.returncode}), flush=True)


if __name__ == "__main__":
    main()
