"""What searches cost in Python beside the same searches in Rust (`benches/overhead.rs`), on one store in a folder.

    python -m venv /tmp/beside && /tmp/beside/bin/pip install ./python
    /tmp/beside/bin/python benches/python_overhead.py

Cases: one query among 1,000 records of 8 floats (exact, k = 1), so that the search itself takes a few microseconds; a
batch of 1,000 queries among 20,000 records of 128 floats (k = 10). The two programs run in turn, each in a process of
its own, `--rounds` times (5); a run's time is the median of its passes. Each run prints a JSON line with microseconds
per call. The last lines have the medians of the rounds, and what Python adds: as microseconds for a call, and as a
share. "batch and lists" also reads `.ids` and `.distances`. `--cargo` are options for cargo, such as `--profile dev`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

PASSES = 7
SIZES = {"small": (1_000, 8, 2_000), "large": (20_000, 128, 1_000)}
REPOSITORY = Path(__file__).resolve().parent.parent


def make(folder: Path) -> None:
    """Two collections with their graphs, and a file of queries for each."""
    import drumlin

    chance = np.random.default_rng(7)
    with drumlin.connect(folder / "store") as db:
        for name, (rows, dimension, queries) in SIZES.items():
            notes = db.collection(name, create=True, metric="l2")
            vectors = chance.normal(size=(rows, dimension)).astype(np.float32)
            notes.add(ids=[str(n) for n in range(rows)], embeddings=vectors)
            chance.normal(size=(queries, dimension)).astype("<f4").tofile(folder / f"{name}.f32")
        # The graph stands once there is one and it grows no more.
        before, since = -1, time.perf_counter()
        while before <= 0 or time.perf_counter() - since < 15:
            now = db.health()["memory"]["graph_bytes"]
            if now != before:
                before, since = now, time.perf_counter()
            time.sleep(0.2)


def measure(folder: Path) -> None:
    """The twin of `benches/overhead.rs`."""
    import drumlin

    db = drumlin.connect(folder / "store", maintenance=False)
    db.wait_until_loaded()
    small, large = db.collection("small"), db.collection("large")

    def single(queries: list[np.ndarray]) -> float:
        began = time.perf_counter()
        for query in queries:
            small.search(query, 1, exact=True, include=())
        return (time.perf_counter() - began) / len(queries)

    def batch(queries: np.ndarray) -> float:
        began = time.perf_counter()
        large.search(queries, 10, include=())
        return time.perf_counter() - began

    def batch_and_lists(queries: np.ndarray) -> float:
        began = time.perf_counter()
        found = large.search(queries, 10, include=())
        assert len(found.ids) == len(found.distances) == len(queries)
        return time.perf_counter() - began

    one = list(np.fromfile(folder / "small.f32", "<f4").reshape(-1, SIZES["small"][1]))
    many = np.fromfile(folder / "large.f32", "<f4").reshape(-1, SIZES["large"][1])
    cases = {"single": (single, one), "batch": (batch, many), "batch and lists": (batch_and_lists, many)}
    for case, (run, queries) in cases.items():
        us = statistics.median(run(queries) for _ in range(PASSES)) * 1e6
        print(json.dumps({"case": case, "by": "python", "us": us}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cargo", default="", help="options for `cargo bench`, separated by spaces")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        measure(arguments.measure)
        return
    seen = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        make(Path(name))
        rust = ["cargo", "bench", "--quiet", *arguments.cargo.split(), "--bench", "overhead", "--", "--folder", name]
        python = [sys.executable, __file__, "--measure", name]
        for _ in range(arguments.rounds):
            for command in (rust, python):
                printed = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout
                for line in filter(lambda line: line.startswith("{"), printed.splitlines()):
                    print(line, flush=True)
                    row = json.loads(line)
                    seen[row["case"], row["by"]].append(row["us"])
    for case in ("single", "batch", "batch and lists"):
        ours = statistics.median(seen[case, "python"])
        theirs = statistics.median(seen[case.split(" ")[0], "rust"])
        more = {"more_us": ours - theirs, "more": ours / theirs - 1}
        print(json.dumps({"case": case, "rust_us": theirs, "python_us": ours, **more}))


if __name__ == "__main__":
    main()
