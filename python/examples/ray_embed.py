"""Texts are embedded by several Ray workers, which all add them to one collection at once.

    pip install ./python 'ray[data]'
    python python/examples/ray_embed.py ./drumlin-data --workers 2

Run it again: ids that are there are skipped, so nothing is doubled. So it is when Ray runs a task twice. With
--one-writer the workers only embed, and this process adds what they send it.
"""

from __future__ import annotations

import argparse
import json
import os
import zlib
from typing import Any

import numpy as np
from local_ray import local_ray  # first: it has settings that Ray reads when it is imported

import drumlin
import ray.data

DIMENSION = 64


def embed(texts: Any) -> np.ndarray:
    """Counts of hashed words, n × 64, float32. Put your model here."""
    embeddings = np.zeros((len(texts), DIMENSION), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in text.lower().split():
            embeddings[row, zlib.crc32(word.encode()) % DIMENSION] += 1
    return embeddings


class Embed:
    """One worker that only embeds. Its rows are records as `add_batches` takes them."""

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"id": batch["id"], "document": batch["text"], "embedding": embed(batch["text"])}


class EmbedAndAdd:
    """One worker that adds too. It opens the store by itself, with the credentials that it finds where it runs."""

    def __init__(self, url: str, name: str) -> None:
        # Only the collections that it uses are loaded. Flushing and building graphs is left to the process that
        # started the workers: once is enough.
        db = drumlin.connect(url, load_at_start=False, maintenance=False)
        self.notes = db.collection(name)
        # self.model = SentenceTransformer(…)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[int]]:
        ids, texts = batch["id"], batch["text"]
        written = self.notes.add(ids=ids, embeddings=embed(texts), documents=texts)  # durable when it returns
        return {"added": [written.applied], "skipped": [written.skipped], "worker": [os.getpid()]}


def sentence(n: int) -> dict[str, str]:
    """The nth of the made-up texts."""
    who, what, where = ("fog", "river", "wind", "snow"), ("lifted", "rose", "fell"), ("harbour", "valley", "night")
    return {"id": f"text-{n}", "text": f"the {who[n % 4]} {what[n % 3]} over {where[n // 7 % 3]} number {n}"}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("store", help="a folder, or s3://bucket/prefix and the like")
    arguments.add_argument("--collection", default="texts")
    arguments.add_argument("--texts", type=int, default=4_000)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--one-writer", action="store_true", help="the workers embed, this process adds")
    given = arguments.parse_args()
    with drumlin.connect(given.store) as db, local_ray(2 * given.workers):
        notes = db.collection(given.collection, create=True, metric="cosine")
        made_up = [sentence(n) for n in range(given.texts)]
        texts = ray.data.from_items(made_up, override_num_blocks=4 * given.workers)
        # or: texts = ray.data.read_parquet("s3://bucket/texts/")
        workers = {"compute": ray.data.ActorPoolStrategy(size=given.workers), "batch_size": 500}
        if given.one_writer:
            embedded = texts.map_batches(Embed, **workers)
            done = notes.add_batches(embedded.iter_batches(batch_format="pyarrow", batch_size=2_000))
            report = {"added": done.applied, "skipped": done.skipped}
        else:
            done = texts.map_batches(EmbedAndAdd, fn_constructor_args=(db.url, given.collection), **workers).to_pandas()
            report = {"added": int(done["added"].sum()), "skipped": int(done["skipped"].sum())}
            report["writers"] = done["worker"].nunique()
        report["records"] = notes.count(strong=True)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
