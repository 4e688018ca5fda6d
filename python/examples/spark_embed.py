"""Texts are embedded by the tasks of Spark, which all add them to one collection at once.

    pip install ./python 'pyspark[sql]'      # and Java 17 or newer
    python python/examples/spark_embed.py ./drumlin-data

Run it again: ids that are there are skipped, so nothing is doubled. So it is when Spark runs a task twice, because it
failed or was slow. Where Spark runs already, as in a notebook, only `embed`, `embed_and_add` and the line with
`mapInPandas` are needed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession

import drumlin

DIMENSION = 64


def embed(texts: Any) -> np.ndarray:
    """Counts of hashed words, n × 64, float32. Put your model here."""
    embeddings = np.zeros((len(texts), DIMENSION), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in text.lower().split():
            embeddings[row, zlib.crc32(word.encode()) % DIMENSION] += 1
    return embeddings


def embed_and_add(url: str, name: str) -> Any:
    """The function of a task. It opens the store by itself, with the credentials that it finds where it runs."""

    def task(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        # Only the collections that it uses are loaded. Flushing and building graphs is left to the process that
        # started the job: once is enough.
        with drumlin.connect(url, load_at_start=False, maintenance=False) as db:
            notes = db.collection(name)
            for batch in batches:
                ids, texts = batch["id"].tolist(), batch["text"].tolist()
                written = notes.add(ids=ids, embeddings=embed(texts), documents=texts)  # durable when it returns
                yield pd.DataFrame({"added": [written.applied], "skipped": [written.skipped], "worker": [os.getpid()]})

    return task


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("store", help="a folder, or s3://bucket/prefix and the like")
    arguments.add_argument("--collection", default="texts")
    arguments.add_argument("--texts", type=int, default=4_000)
    arguments.add_argument("--workers", type=int, default=2)
    given = arguments.parse_args()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    # Spark on this machine alone: its ports are on 127.0.0.1. On a cluster `SparkSession.builder.getOrCreate()` is all.
    spark = (
        SparkSession.builder.master(f"local[{given.workers}]")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", 500)  # records of one add
        .getOrCreate()
    )
    try:
        with drumlin.connect(given.store) as db:
            notes = db.collection(given.collection, create=True, metric="cosine")
            numbers = spark.range(given.texts, numPartitions=4 * given.workers)
            texts = numbers.selectExpr("concat('text-', id) as id", "concat('the river rose on day ', id) as text")
            # or: texts = spark.read.parquet("s3a://bucket/texts/").select("id", "text")
            added = texts.mapInPandas(embed_and_add(db.url, given.collection), "added long, skipped long, worker long")
            done = added.toPandas()  # a job with one action: each action would run the tasks once more
            report = {
                "added": int(done["added"].sum()),
                "skipped": int(done["skipped"].sum()),
                "records": notes.count(strong=True),
                "workers": done["worker"].nunique(),
            }
    finally:
        spark.stop()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
