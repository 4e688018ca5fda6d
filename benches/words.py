"""Searches by words and by sparse vectors through Drumlin's Python package, beside tantivy, bm25s, SQLite's FTS5,
LanceDB, Qdrant Edge and Milvus Lite, each within a Python process of its own.

    python -m venv /tmp/words && /tmp/words/bin/pip install ./python -r benches/words_requirements.txt
    /tmp/words/bin/python benches/words.py --out words.json
    /tmp/words/bin/python benches/words.py --rows 5000 --rounds 1      # whether everything runs
    /tmp/words/bin/python benches/words.py --reuse --systems drumlin,tantivy  # with the indexes of the last run

The data (`words_data.py`): 200,000 documents of 100 words, Zipf-distributed; queries of two to five words of one
document; SPLADE-like vectors of 120 terms, queries of 30; embeddings of 64 dimensions; shares for filters.

All processes are pinned to one core. Engines take turns, round after round, and each is asked one query at a time, for
the ten best; a search is all that a program does for it: from the words to row numbers. Printed for each engine:

- queries per second, of wall time and of the process's CPU time: medians of the rounds;
- p50 and p99 of the wall time: over the queries, of each its median of the rounds;
- build: from texts or vectors in memory to an index on disk that is ready (wall, CPU), and the peak memory;
- load: from opening it in a new process to the first answer, and the second search, and the peak memory;
- bytes per document: of the index alone (for Drumlin in memory, for bm25s and FTS5 all files);
- right by its own formula: answers that are the ten best of a flat scan in float64 by the engine's variant of BM25;
- as Drumlin's formula: answers that are the ten best by the formula of Lucene, bm25s and Drumlin.

Scores that float32 cannot tell apart are equal: their order is free. Slow engines are asked the first queries only.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
from words_data import Data, Formula, Lists, is_right, products
from words_systems import HYBRID, SPARSE, TEXT, K, emptied

# Shares of the rows that a filter lets through, in per mille.
FILTERS = (500, 100, 10, 1)
# tantivy keeps a length in a byte: of 100 words it remembers 96. FTS5 takes the weight that may be negative.
LUCENE = Formula()
FORMULAS = {"tantivy": Formula(length=96), "fts5": Formula(floor=True)}
# The searches of a hybrid collection, as the fields of a query and options; other kinds have the last alone.
PARTS = {
    "text": (("text",), {}),
    "text, 30 candidates": (("text",), {"candidates": 30}),
    "embedding": (("embedding",), {}),
    "embedding, 30 candidates": (("embedding",), {"candidates": 30}),
    "hybrid": (("text", "embedding"), {}),
    "hybrid by rank": (("text", "embedding"), {"fusion": {"rrf": {}}}),
}
# What a hybrid search does, one after the other: each of its parts finds 30 candidates. And what a person would ask
# instead of it: ten records by each.
SUMS = {
    "its parts": ("text, 30 candidates", "embedding, 30 candidates"),
    "searches for ten by each": ("text", "embedding"),
}
ALL = "hybrid"
KINDS = {"text": TEXT, "sparse": SPARSE, "hybrid": HYBRID}


class Worker:
    """One engine, in this process: answers the lines of its standard input."""

    def __init__(self, kind: str, name: str, folder: Path, data: Data, queries: int) -> None:
        self.system = KINDS[kind][name](folder, data)
        few = self.system.most_queries
        self.count = min(queries, few or queries)
        self.kind, self.data = kind, data
        self.queries: dict[str, list] = {}

    def ask_for(self, part: str) -> list:
        if part not in self.queries:
            words, count = self.data.word_queries(), self.count
            match self.kind:
                case "text":
                    made = words
                case "sparse":
                    made = self.data.sparse_queries()
                case _:
                    pairs = zip(words, self.data.array("embedding_queries"), strict=True)
                    made = [{"text": " ".join(text), "embedding": embedding.tolist()} for text, embedding in pairs]
                    fields, more = PARTS[part]
                    made = [{field: query[field] for field in fields} | more for query in made]
            self.queries[part] = made[:count]
        return self.queries[part]

    def build(self) -> dict:
        wall, cpu = time.perf_counter(), time.process_time()
        self.system.build()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        told = {"seconds": wall, "cpu": cpu, "peak_mib": peak_mib(), "index_bytes": self.system.index_bytes()}
        self.system.settle()
        return told

    def load(self) -> dict:
        query = self.ask_for(ALL)[0]
        began = time.perf_counter()
        self.system.open()
        self.system.search(query)
        first = time.perf_counter()
        self.system.search(query)
        return {"seconds": first - began, "second": time.perf_counter() - first, "peak_mib": peak_mib()}

    def round(self, below: int | None, part: str) -> dict:
        queries, spent = self.ask_for(part), []
        for query in queries[:5]:
            self.system.search(query, below)
        cpu = time.process_time()
        for query in queries:
            began = time.perf_counter()
            self.system.search(query, below)
            spent.append(time.perf_counter() - began)
        return {"cpu": time.process_time() - cpu, "spent": spent}

    def answers(self, below: int | None, part: str) -> dict:
        return {"answers": [self.system.search(query, below) for query in self.ask_for(part)]}

    def serve(self) -> None:
        # Libraries may print; answers have a line of their own.
        out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        for line in sys.stdin:
            told = json.loads(line)
            print(json.dumps(getattr(self, told.pop("do"))(**told)), file=out, flush=True)
        out.flush()
        # Some libraries keep threads that never end.
        os._exit(0)


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


class Process:
    """A worker, pinned to a core."""

    def __init__(self, kind: str, name: str, folder: Path, options: argparse.Namespace) -> None:
        command = [sys.executable, __file__, "--worker", kind, "--systems", name, "--work", options.work]
        command += ["--rows", options.rows, "--queries", options.queries, "--folder", folder]
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "RAYON", "NUMBA")}
        pin = None if not hasattr(os, "sched_setaffinity") else lambda: os.sched_setaffinity(0, {options.core})
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        environment = {**os.environ, **threads}
        self.run = subprocess.Popen([*map(str, command)], env=environment, preexec_fn=pin, **pipes)

    def ask(self, **what: object) -> dict:
        assert self.run.stdin is not None and self.run.stdout is not None
        self.run.stdin.write(json.dumps(what) + "\n")
        self.run.stdin.flush()
        line = self.run.stdout.readline()
        if not line:
            raise RuntimeError(f"ended with {self.run.wait()}")
        return json.loads(line)

    def end(self) -> None:
        assert self.run.stdin is not None
        self.run.stdin.close()
        self.run.wait()


class Engine:
    """An engine's process and what was measured."""

    def __init__(self, kind: str, name: str, options: argparse.Namespace) -> None:
        self.kind, self.name, self.options = kind, name, options
        self.folder = options.work / f"{kind}-{name}-{options.rows}"
        self.told: dict = {"kind": kind, "engine": name}
        self.rounds: dict[tuple[int | None, str], list[dict]] = {}

    def build(self) -> None:
        kept = self.folder.with_suffix(".json")
        if not (kept.exists() and self.options.reuse):
            emptied(self.folder)
            process = Process(self.kind, self.name, self.folder, self.options)
            kept.write_text(json.dumps(process.ask(do="build")))
            process.end()
        self.told["build"] = json.loads(kept.read_text())

    def load(self) -> None:
        # Once without measuring, so that its libraries and files are in the page cache as all others' are.
        for _ in range(2):
            if hasattr(self, "process"):
                self.process.end()
            self.process = Process(self.kind, self.name, self.folder, self.options)
            self.told["load"] = self.process.ask(do="load")

    def round(self, below: int | None = None, part: str = ALL) -> None:
        self.rounds.setdefault((below, part), []).append(self.process.ask(do="round", below=below, part=part))

    def answers(self, below: int | None = None) -> list[list[int]]:
        return self.process.ask(do="answers", below=below, part=ALL)["answers"]

    def speed(self, below: int | None = None, part: str = ALL) -> dict:
        rounds = self.rounds[below, part]
        spent = np.median([one["spent"] for one in rounds], axis=0)
        count = len(spent)
        return {
            "queries": count,
            "per_second": count / statistics.median(sum(one["spent"]) for one in rounds),
            "per_cpu_second": count / statistics.median(one["cpu"] for one in rounds),
            "p50_ms": float(np.percentile(spent, 50)) * 1e3,
            "p99_ms": float(np.percentile(spent, 99)) * 1e3,
        }


class Truth:
    """The scores of all rows for every query, by the formula of an engine."""

    def __init__(self, kind: str, data: Data) -> None:
        self.data, self.kind = data, kind
        terms, values = ("words", None) if kind == "text" else ("indices", data.array("values"))
        self.lists = Lists(data.array(terms), values)
        self.queries = data.array("word_queries") if kind == "text" else data.sparse_queries()

    def right(self, answers: list[list[int]], formula: Formula, below: int | None = None) -> int:
        allowed = None if below is None else self.data.array("shares") < below
        score = formula.scores if self.kind == "text" else products
        pairs = zip(answers, self.queries, strict=False)
        return sum(is_right(answer, score(self.lists, query), allowed, K) for answer, query in pairs)


def started(kind: str, options: argparse.Namespace) -> list[Engine]:
    engines = []
    for name in KINDS[kind]:
        if name not in options.systems.split(","):
            continue
        engine = Engine(kind, name, options)
        try:
            engine.build()
            engine.load()
            engines.append(engine)
        except RuntimeError as error:
            print(json.dumps({"kind": kind, "engine": name, "failed": str(error)}), file=sys.stderr, flush=True)
    return engines


def measure(kind: str, options: argparse.Namespace) -> list[dict]:
    """All engines of a kind: their speed without and with filters, and whether their answers are right."""
    truth, engines = Truth(kind, options.data), started(kind, options)
    for below in (None, *FILTERS):
        for _ in range(options.rounds):
            for engine in engines:
                engine.round(below)
        for engine in engines:
            answers, own = engine.answers(below), FORMULAS.get(engine.name, LUCENE)
            figures = engine.speed(below) | {"right": truth.right(answers, own, below)}
            figures["as_drumlin"] = figures["right"] if own is LUCENE else truth.right(answers, LUCENE, below)
            engine.told[str(below)] = figures
            print(json.dumps({"kind": kind, "engine": engine.name, "below": below, **figures}), file=sys.stderr)
    for engine in engines:
        engine.process.end()
    return [engine.told for engine in engines]


def measure_hybrid(options: argparse.Namespace) -> list[dict]:
    """Words and embedding apart and together, in turn."""
    told = []
    for engine in started("hybrid", options):
        for _ in range(options.rounds):
            for part in PARTS:
                engine.round(None, part)
        told.append(engine.told | {part: engine.speed(None, part) for part in PARTS})
        engine.process.end()
    return told


def tables(kind: str, told: list[dict], rows: int) -> None:
    print(f"\n{kind}, {rows:,} rows\n")
    print("| | q/s | q/CPU s | p50, p99 ms | right by its own formula | as Drumlin's |\n|---|---|---|---|---|---|")
    for engine in told:
        speed = engine["None"]
        right, same = (f"{speed[name]} of {speed['queries']}" for name in ("right", "as_drumlin"))
        cells = [f"{speed['per_second']:,.0f}", f"{speed['per_cpu_second']:,.0f}"]
        cells += [f"{speed['p50_ms']:.2f}, {speed['p99_ms']:.2f}", right, same]
        print(f"| {engine['engine']} | {' | '.join(cells)} |")
    print("\n| | build s (CPU) | load s | bytes per document | peak MiB: build, search |\n|---|---|---|---|---|")
    for engine in told:
        build, load = engine["build"], engine["load"]
        cells = [f"{build['seconds']:.1f} ({build['cpu']:.1f})", f"{load['seconds']:.2f}"]
        cells += [f"{build['index_bytes'] / rows:.0f}", f"{build['peak_mib']:,}, {load['peak_mib']:,}"]
        print(f"| {engine['engine']} | {' | '.join(cells)} |")
    print("\n| q/s; right | 50 % | 10 % | 1 % | 0.1 % |\n|---|---|---|---|---|")
    for engine in told:
        speeds = [engine[str(below)] for below in FILTERS]
        cells = [f"{speed['per_second']:,.0f}; {speed['right']} of {speed['queries']}" for speed in speeds]
        print(f"| {engine['engine']} | {' | '.join(cells)} |")
    for name in ("per_second", "per_cpu_second"):
        ours = [engine["None"][name] for engine in told if engine["engine"] == "drumlin"]
        others = [engine["None"][name] for engine in told if engine["engine"] != "drumlin"]
        if ours and others:
            print(f"\n{name}: {ours[0] / max(others):.2f} times the best of the others")


def hybrid_table(told: list[dict], rows: int) -> None:
    print(f"\nhybrid, {rows:,} rows\n\n| | q/s | ms wall | ms CPU | p50, p99 ms |\n|---|---|---|---|---|")
    for engine in told:
        for part in PARTS:
            speed = engine[part]
            cells = [f"{speed['per_second']:,.0f}", f"{1e3 / speed['per_second']:.3f}"]
            cells += [f"{1e3 / speed['per_cpu_second']:.3f}", f"{speed['p50_ms']:.2f}, {speed['p99_ms']:.2f}"]
            print(f"| {part} | {' | '.join(cells)} |")
        for (name, parts), hybrid in product(SUMS.items(), ("hybrid", "hybrid by rank")):
            summed = sum(1 / engine[part]["per_cpu_second"] for part in parts)
            print(f"\n{hybrid}: {1 / engine[hybrid]['per_cpu_second'] / summed:.2f} of the sum of {name} (CPU)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=0, help="the core that all engines are pinned to")
    parser.add_argument("--work", type=Path, default=Path("/tmp/drumlin-words-bench"))
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--systems", default=",".join({*TEXT, *SPARSE}))
    parser.add_argument("--reuse", action="store_true", help="indexes of an earlier run, where there are any")
    parser.add_argument("--out", type=Path, help="a file for all figures as JSON")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.data = Data(options.work, options.rows)
    if options.worker:
        Worker(options.worker, options.systems, options.folder, options.data, options.queries).serve()
    told: dict[str, list[dict]] = {}
    print(f"load of the machine at the start: {os.getloadavg()}")
    for kind in options.kinds.split(","):
        if kind == "hybrid":
            told[kind] = measure_hybrid(options)
            hybrid_table(told[kind], options.rows)
        else:
            told[kind] = measure(kind, options)
            tables(kind, told[kind], options.rows)
        print(f"\nload of the machine: {os.getloadavg()}", flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
