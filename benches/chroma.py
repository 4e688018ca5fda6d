"""Chroma's own server and Drumlin side by side, through Chroma's API: the same bodies, one server after the other.

    python -m venv /tmp/chroma && /tmp/chroma/bin/pip install -r benches/chroma_requirements.txt
    cargo build --release --bin drumlin && /tmp/chroma/bin/python benches/chroma.py

Theirs keeps its data on this disk, Drumlin in a folder and on a SeaweedFS of this machine. Every figure is printed,
the lost ones too; `--out FILE` keeps them. What is measured:

- bulk: one client adds the records, 1,000 a request, embeddings as base64 and two numbers of metadata each;
- idle after bulk: seconds until the server uses less than a tenth of a core, so that no query pays for the adds;
- queries: 10 nearest with the members that the Python client asks for, one and eight clients, without a filter and
  with one that 10 % and 1 % of the records pass; recall@10 is against a scan of all that pass;
- memory: resident bytes of the server after that, when both hold the same records;
- single adds: one record a request into a collection of its own;
- load: the processor time that the load generator took of the machine it shares with the server;
- restart: from the start of the process (it was asked to end before) to the first right answer to a query.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import chroma_load
import numpy as np
from chroma_load import Load, Measured, request

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests" / "clients")]

from chroma_server import ChromaServer  # noqa: E402
from drumlin import Drumlin  # noqa: E402
from seaweed import SeaweedFs  # noqa: E402
from server_process import ServerProcess  # noqa: E402

K = 10
BATCH = 1_000
# An answer exactly as far as the tenth counts too.
TIE = 1e-5
COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"
FILTERS: dict[str, dict | None] = {"none": None, "10 %": {"tenth": 3}, "1 %": {"hundredth": 42}}
IDLE_SHARE, IDLE_LIMIT_S = 0.1, 180
RESTARTS = 3
SYSTEMS = ("chroma", "folder", "s3")
# By what factor a figure of Drumlin's should be better than theirs.
GOALS = {"bulk, records per s": 2, "single adds, 64 client(s), per s": 10, "restart, s": 5}
GOALS |= {f"queries/s, none, {clients} client(s)": 3 for clients in (1, 8)}
GOALS |= {f"queries/s, {name}, {clients} client(s)": 20 for name in ("10 %", "1 %") for clients in (1, 8)}


@dataclass(frozen=True)
class Data:
    """Records and held-out queries of one data set, n × d float32, and the metadata numbers of each record."""

    name: str
    base: np.ndarray
    queries: np.ndarray
    tenth: np.ndarray
    hundredth: np.ndarray

    def passes(self, where: dict | None) -> np.ndarray:
        """The rows that a filter leaves."""
        if where is None:
            return np.arange(len(self.base))
        ((key, value),) = where.items()
        return np.flatnonzero(getattr(self, key) == value)


def clustered(rows: int, dim: int, seed: int = 7) -> Data:
    """Normal clusters of a hundred records or so, unequal in size, as embeddings of texts have them."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(max(2, rows // 100), dim))
    which = random.choice(len(centres), rows + 500, p=random.dirichlet(np.ones(len(centres))))
    points = (centres[which] + 0.6 * random.normal(size=(rows + 500, dim))).astype(np.float32)
    numbers = random.permutation(rows)
    return Data(f"{rows:,} × {dim}, clustered", points[:rows], points[rows:], numbers % 10, numbers % 100)


def digits() -> Data:
    from sklearn.datasets import load_digits

    points, labels = load_digits(return_X_y=True)
    random = np.random.default_rng(7)
    order = random.permutation(len(points))
    points, labels = points[order].astype(np.float32), labels[order]
    rows = len(points) - 197
    return Data(f"digits, {rows:,} × 64", points[:rows], points[rows:], labels[:rows], random.permutation(rows) % 100)


class Bench:
    """One server with one data set. Figures go to `figures` by their names."""

    def __init__(self, server: ServerProcess, data: Data, seconds: float) -> None:
        self.server, self.data, self.seconds = server, data, seconds
        self.figures: dict[str, float] = {}
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)

    def create(self, name: str) -> str:
        """The path of a new collection under l2, with Chroma's default settings."""
        body = {"name": name, "configuration": {"hnsw": {"space": "l2"}}}
        return f"{COLLECTIONS}/{json.loads(post(self.connection, COLLECTIONS, json.dumps(body).encode()))['id']}"

    def measure(self) -> dict[str, float]:
        self.path = self.create("bench")
        self.bulk()
        self.settle("idle after bulk, s")
        for name, where in FILTERS.items():
            self.queries(name, where)
        self.figures["memory, MB"] = resident_bytes(self.server) / 1e6
        singles = self.create("singles")
        for clients in (1, 64):
            measured = self.load(partial(self.single_adds, f"{singles}/add", clients), clients)
            name = f"single adds, {clients} client(s)"
            self.figures[f"{name}, per s"] = measured.per_second
            self.figures[f"{name}, p50 ms"] = measured.p50_ms
            self.figures[f"{name}, p99 ms"] = measured.p99_ms
        self.settle("idle after single adds, s")
        self.restart()
        return self.figures

    def bulk(self) -> None:
        base, data = self.data.base, self.data
        bodies = []
        for first in range(0, len(base), BATCH):
            rows = range(first, min(first + BATCH, len(base)))
            metadatas = [{"tenth": int(data.tenth[row]), "hundredth": int(data.hundredth[row])} for row in rows]
            columns = {"ids": [str(row) for row in rows], "embeddings": [encoded(base[row]) for row in rows]}
            bodies.append(json.dumps({**columns, "metadatas": metadatas}).encode())
        began = time.monotonic()
        for body in bodies:
            post(self.connection, f"{self.path}/add", body)
        self.figures["bulk, records per s"] = len(base) / (time.monotonic() - began)

    def settle(self, figure: str) -> None:
        began = time.monotonic()
        while True:
            used = cpu_seconds(self.server)
            time.sleep(1)
            if cpu_seconds(self.server) - used < IDLE_SHARE:
                break
            if time.monotonic() - began > IDLE_LIMIT_S:
                break
        self.figures[figure] = time.monotonic() - began - 1

    def query_bodies(self, where: dict | None) -> list[bytes]:
        include = ["metadatas", "documents", "distances"]
        return [
            json.dumps(
                {"query_embeddings": [query.tolist()], "n_results": K, "where": where, "include": include}
            ).encode()
            for query in self.data.queries
        ]

    def queries(self, name: str, where: dict | None) -> None:
        bodies, path = self.query_bodies(where), f"{self.path}/query"
        whole = [request(path, body) for body in bodies]
        answers = [json.loads(post(self.connection, path, body)) for body in bodies]  # warms up, too
        self.figures[f"recall@10, {name}"] = self.recall(answers, where)
        for clients in (1, 8):
            measured = self.load(lambda number: itertools.cycle(whole[number:] + whole[:number]), clients)
            self.figures[f"queries/s, {name}, {clients} client(s)"] = measured.per_second
            self.figures[f"query p50 ms, {name}, {clients} client(s)"] = measured.p50_ms
            self.figures[f"query p99 ms, {name}, {clients} client(s)"] = measured.p99_ms
        self.figures["load, CPU µs a query"] = measured.load_us

    def load(self, requests: Callable[[int], Iterator[bytes]], clients: int) -> Measured:
        return chroma_load.run(Load(self.server.port, requests, clients, self.seconds))

    def recall(self, answers: list[dict], where: dict | None) -> float:
        rows = self.data.passes(where)
        base = self.data.base[rows].astype(np.float64)
        shares = []
        for query, answer in zip(self.data.queries.astype(np.float64), answers, strict=True):
            truth = np.sort(((base - query) ** 2).sum(axis=1))[:K]
            found = self.data.base[[int(each) for each in answer["ids"][0]]].astype(np.float64)
            distances = ((found - query) ** 2).sum(axis=1)
            shares.append((distances <= truth[-1] * (1 + TIE)).sum() / len(truth))
        return float(np.mean(shares))

    def single_adds(self, path: str, clients: int, number: int) -> Iterator[bytes]:
        vectors = [encoded(row) for row in self.data.base[:256]]
        for step in itertools.count():
            ids = f'{{"ids":["{clients}-{number}-{step}"],"embeddings":["{vectors[step % len(vectors)]}"],'
            yield request(path, f'{ids}"metadatas":[{{"step":{step}}}]}}'.encode())

    def restart(self) -> None:
        """Median of a few, each asked to end before."""
        body = self.query_bodies(None)[0]
        expected = json.loads(post(self.connection, f"{self.path}/query", body))["ids"]
        times = []
        for _ in range(RESTARTS):
            self.connection.close()
            self.server.stop()
            began = time.monotonic()
            self.server.spawn()
            while first_answer(self.connection, f"{self.path}/query", body) != expected:
                if time.monotonic() - began > 120:
                    raise RuntimeError(
                        f"no right answer two minutes after the restart:\n{self.server.output()[-2000:]}"
                    )
                time.sleep(0.005)
            times.append(time.monotonic() - began)
        self.figures["restart, s"] = statistics.median(times)


def post(connection: http.client.HTTPConnection, path: str, body: bytes) -> bytes:
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    if response.status >= 300:
        raise RuntimeError(f"POST {path}: {response.status} {answer[:300]!r}")
    return answer


def first_answer(connection: http.client.HTTPConnection, path: str, body: bytes) -> list | None:
    try:
        return json.loads(post(connection, path, body))["ids"]
    except (OSError, http.client.HTTPException, RuntimeError):
        connection.close()
        return None


def encoded(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def resident_bytes(server: ServerProcess) -> int:
    pages = Path(f"/proc/{server.running().pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(server: ServerProcess) -> float:
    fields = Path(f"/proc/{server.running().pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def figures_of(system: str, data: Data, seconds: float) -> dict[str, float]:
    """All figures of one system, on a store of its own that is thrown away."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"bench-{system}-")))
        if system == "chroma":
            server: ServerProcess = ChromaServer(folder)
        elif system == "folder":
            server = Drumlin(folder / "server", {"DRUMLIN_DATA": str(folder / "bucket")})
        else:
            s3 = stack.enter_context(SeaweedFs())
            s3.create_bucket("bench")
            server = Drumlin(folder / "server", s3.settings("bench", ""))
        stack.callback(server.close)
        server.start()
        return Bench(server, data, seconds).measure()


def verdict(figure: str, theirs: float, ours: float) -> str:
    """How ours compares, by the factor by which it is better or worse."""
    if figure.startswith("recall"):
        return f"{ours - theirs:+.4f}"
    if figure.startswith(("idle", "load")):
        return ""
    less_is_better = " ms" in figure or figure.endswith((", s", ", MB"))
    factor = theirs / ours if less_is_better else ours / theirs
    goal = next(
        (goal for name, goal in GOALS.items() if figure.startswith(name) and not figure.startswith("query")), None
    )
    met = "" if goal is None or figure.startswith("idle") else f", goal {max(goal, 1 / goal):g}×"
    return (f"{factor:.2f}× better" if factor >= 1 else f"{1 / factor:.2f}× worse") + met


def table(data: str, results: dict[str, dict[str, float]]) -> str:
    theirs = results.get("chroma", {})
    ours = [system for system in results if system != "chroma"]
    titles = {"folder": "Drumlin, folder", "s3": "Drumlin, S3"}
    header = ["chroma run", *(title for system in ours for title in (titles[system], "against theirs"))]
    lines = [f"## {data}", "", f"| | {' | '.join(header)} |", "|---" * (len(header) + 1) + "|"]
    for figure in next(iter(results.values())):
        cells = [shown(theirs.get(figure))]
        for system in ours:
            value = results[system][figure]
            cells += [shown(value), verdict(figure, theirs[figure], value) if theirs else ""]
        lines.append(f"| {figure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.4g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--seconds", type=float, default=8, help="of each load")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="which of them, separated by commas")
    parser.add_argument("--data", default="clustered,digits")
    parser.add_argument("--out", type=Path, help="keep all figures as JSON")
    options = parser.parse_args()
    kept = {}
    for name in options.data.split(","):
        data = digits() if name == "digits" else clustered(options.rows, options.dim)
        results = {system: figures_of(system, data, options.seconds) for system in options.systems.split(",")}
        kept[data.name] = results
        print(f"\n{table(data.name, results)}", flush=True)
    if options.out:
        options.out.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
