"""Records a second that 1, 2 and 4 processes embed and add to one collection at once, with Drumlin's Python package.

    python -m venv /tmp/beside && /tmp/beside/bin/pip install ./python
    /tmp/beside/bin/python benches/python_workers.py
    /tmp/beside/bin/python benches/python_workers.py --passes 50 --records 8000
    /tmp/beside/bin/python benches/python_workers.py --store s3://bucket/prefix   # AWS_ENDPOINT_URL and the like are read

Each worker takes every nth batch of texts, embeds it by counting hashed words in Python (no model; --passes does it
several times, as a slower one), and adds it with its texts. The clock runs from when all workers have opened the
collection until the last add is acknowledged. A JSON line for each number of workers: the median of the rounds by
records a second, all rounds in `rounds`, and which share of the workers' time was embedding. Then a line with embedding
alone, in one process.

Each round has a collection of its own, which is dropped at the end. Without --store: a temporary folder.
"""

import argparse
import json
import multiprocessing
import queue
import statistics
import tempfile
import threading
import time
import zlib

import numpy as np

import drumlin

WORDS = [f"word{n}" for n in range(5_000)]
SEED = 7


def text(n: int) -> str:
    """The nth text: 20 words."""
    return " ".join(WORDS[word] for word in np.random.default_rng((SEED, n)).integers(len(WORDS), size=20))


def embed(texts: list[str], dimension: int, passes: int) -> np.ndarray:
    """Counts of hashed words, n × dimension, float32; more than one pass is a slower model with the same answer."""
    for _ in range(passes):
        embeddings = np.zeros((len(texts), dimension), dtype=np.float32)
        for row, words in enumerate(texts):
            for word in words.split():
                embeddings[row, zlib.crc32(word.encode()) % dimension] += 1
    return embeddings


def work(url: str, name: str, batches: list[tuple[int, int]], model: tuple[int, int], start, done) -> None:
    """One worker: embeds and adds the batches, each from a first to before a last number of text."""
    texts = [[text(n) for n in range(*batch)] for batch in batches]
    # As in python/examples/: flushing and building graphs is left to the process that started the workers.
    notes = drumlin.connect(url, load_at_start=False, maintenance=False).collection(name)
    start.wait()
    added, embedding, began = 0, 0.0, time.perf_counter()
    for batch, documents in zip(batches, texts, strict=True):
        before = time.perf_counter()
        embeddings = embed(documents, *model)
        embedding += time.perf_counter() - before
        added += notes.add(ids=[str(n) for n in range(*batch)], embeddings=embeddings, documents=documents).applied
    done.put((added, embedding, time.perf_counter() - began))


def run(db: drumlin.Database, name: str, workers: int, options: argparse.Namespace) -> tuple[float, float]:
    """Records a second, and the share of embedding, of one round."""
    notes = db.collection(name, create=True, metric="cosine", dimension=options.dimension)
    batches = [(at, min(at + options.batch, options.records)) for at in range(0, options.records, options.batch)]
    model = (options.dimension, options.passes)
    spawned = multiprocessing.get_context("spawn")
    start, done = spawned.Barrier(workers + 1), spawned.Queue()
    processes = [
        spawned.Process(target=work, args=(db.url, name, batches[n::workers], model, start, done), daemon=True)
        for n in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        start.wait(timeout=120)
        began = time.perf_counter()
        reports = [done.get(timeout=600) for _ in processes]
        seconds = time.perf_counter() - began
    except (queue.Empty, threading.BrokenBarrierError) as error:
        raise SystemExit(f"a worker did not report: {[process.exitcode for process in processes]}") from error
    for process in processes:
        process.join(timeout=60)
    added, there = sum(report[0] for report in reports), notes.count(strong=True)
    if (added, there) != (options.records, options.records):
        raise SystemExit(f"{options.records} records were sent, {added} added, and {there} are there")
    db.drop(name)
    return options.records / seconds, sum(report[1] for report in reports) / sum(report[2] for report in reports)


def tell(**values: object) -> None:
    print(json.dumps(values), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", help="a folder, or s3://bucket/prefix and the like")
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--records", type=int, default=40_000)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--passes", type=int, default=1, help="times that each text is embedded, as by a slower model")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    shape = {
        "records": options.records,
        "dimension": options.dimension,
        "batch": options.batch,
        "passes": options.passes,
    }
    with tempfile.TemporaryDirectory() as folder, drumlin.connect(options.store or folder) as db:
        kind = db.url.split("://")[0] if "://" in (db.url or "") else "folder"
        for workers in map(int, options.workers.split(",")):
            rounds = [
                run(db, f"workers-{workers}-{n}-{time.time_ns()}", workers, options) for n in range(options.rounds)
            ]
            rates = [rate for rate, _ in rounds]
            tell(
                what="embed and add", store=kind, workers=workers, **shape,
                per_second=round(statistics.median(rates)), rounds=[round(rate) for rate in rates],
                embedding_share=round(statistics.median(share for _, share in rounds), 3),
            )  # fmt: skip
    texts = [text(n) for n in range(min(options.records, 2_000))]
    began = time.perf_counter()
    embed(texts, options.dimension, options.passes)
    rate = round(len(texts) / (time.perf_counter() - began))
    tell(what="embed alone", dimension=options.dimension, passes=options.passes, per_second=rate)


if __name__ == "__main__":
    main()
