"""Drumlin's graph beside hnswlib, faiss, usearch, ScaNN, Glass, VSAG, SVS and zvec: same files, same M and efConstruction,
same sweep, one core. The systems are in `peer_systems.py`.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install -r benches/requirements.txt
    /tmp/peers/bin/python benches/peers.py --data /tmp/data/clustered-200k-128:l2 /tmp/data/minilm-100k-384:cosine

A data set is FOLDER:METRIC with base.npy and queries.npy in the folder. Every system runs in a process of its own,
with one thread, pinned to one core; systems take turns, round after round, and medians count. Times are CPU seconds of
the process; queries are handed over in one batch, so that Python's share is small. `--out FILE` keeps all points;
`--reuse FILE` takes the peers' points from there and measures only Drumlin; with `--again` the peers' searches are
measured anew too, on the indexes that the earlier run left in `--cache`.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from peer_systems import F32, PEERS, Data, runs_here

ROOT = Path(__file__).resolve().parent.parent
TARGETS = (0.90, 0.95, 0.99)
SWEEP = "10,14,20,28,40,56,80,112,160,224,320,448,640,896"
PASSES = 3
# Wider searches tell nothing more about the targets.
ENOUGH = 0.998


def run_child(options: argparse.Namespace) -> None:
    """One peer in this process: prints what `benches/ann/` prints."""
    # What peers print themselves goes to standard error.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    data = Data(*options.data[0])
    peer = PEERS[options.child](options.child, data, options.m, options.ef_construction)
    file = options.index
    if file.exists():
        peer.load(file)
        build_cpu_s = None
    else:
        start = time.process_time()
        peer.build()
        build_cpu_s = time.process_time() - start
        peer.save(file)
    print(json.dumps({"build_cpu_s": build_cpu_s, "bytes_per_vector": file.stat().st_size / data.rows}), file=out, flush=True)
    for ef in options.ef.split(","):
        passes = []
        for _ in range(PASSES):
            start = time.process_time()
            answers = peer.search(int(ef))
            passes.append(time.process_time() - start)
        qps = len(answers) / statistics.median(passes)
        recall = data.recall(answers)
        print(json.dumps({"ef": int(ef), "recall": recall, "qps_cpu": qps}), file=out, flush=True)
        if recall >= ENOUGH:
            break


def measure(command: list[str], core: int) -> tuple[dict, list[dict]]:
    """Runs one system on one core: its line about the index, its lines of the sweep."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    pin = None if not hasattr(os, "sched_setaffinity") else lambda: os.sched_setaffinity(0, {core})
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=pin)
    if run.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {run.returncode}")
    index, *points = [json.loads(line) for line in run.stdout.splitlines()]
    return index, points


def bench_binary() -> Path:
    """The compiled `benches/ann/`."""
    command = ["cargo", "bench", "--bench", "ann", "--no-run", "--message-format=json"]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    made = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    return Path(next(m["executable"] for m in made if m.get("target", {}).get("name") == "ann" and m["executable"]))


def index_file(system: str, data: Data, options: argparse.Namespace) -> Path:
    return options.cache / f"{data.folder.name}-{data.metric}-{system}.index".replace(" ", "-")


def command_of(system: str, data: Data, options: argparse.Namespace) -> list[str]:
    """How to run `system` on `data`; an index it saved in an earlier round is loaded."""
    index = index_file(system, data, options)
    shared = ["--m", str(options.m), "--ef-construction", str(options.ef_construction), "--ef", options.ef]
    if system in PEERS:
        where = ["--child", system, "--data", f"{data.folder}:{data.metric}", "--index", str(index)]
        return [sys.executable, __file__, *where, *shared]
    files = ["--base", str(data.folder / "base.npy"), "--queries", str(data.folder / "queries.npy")]
    graph = ["--load" if index.exists() else "--save", str(index)]
    given = ["--metric", data.metric, "--truth", str(data.truth()), "--runs", str(PASSES)]
    return [str(options.ann), *files, *given, *shared, *graph, *options.ours[system]]


def run_rounds(data: Data, systems: list[str], options: argparse.Namespace) -> dict[str, dict]:
    """All systems in turn, round after round: the index line of the round that built, the points of all rounds."""
    results: dict[str, dict] = {system: {"index": {}, "rounds": []} for system in systems}
    for number in range(options.rounds):
        for system in systems:
            index, points = measure(command_of(system, data, options), options.core)
            kept = results[system]["index"]
            results[system]["index"] = {**index, **{key: kept[key] for key in kept if kept[key] is not None}}
            results[system]["rounds"].append([point for point in points if not point.get("is_default")])
            best = max(point["recall"] for point in points)
            progress = f"{data.folder.name}: round {number + 1}, {system}: recall up to {best:.4f}"
            print(progress, file=sys.stderr, flush=True)
    return results


def median_points(result: dict) -> list[tuple[float, float]]:
    """(recall, QPS) per ef, medians over the rounds, by recall."""
    by_ef: dict[int, list[dict]] = {}
    for point in (point for points in result["rounds"] for point in points):
        by_ef.setdefault(point["ef"], []).append(point)

    def median(points: list[dict], key: str) -> float:
        return statistics.median(point[key] for point in points)

    return sorted((median(points, "recall"), median(points, "qps_cpu")) for points in by_ef.values())


def qps_at(points: list[tuple[float, float]], target: float) -> float | None:
    """QPS where recall reaches `target`: log QPS is taken as linear in recall between sweep points. None: never.
    Where the narrowest search finds more than the target, its own QPS counts."""
    best = None
    for (r0, q0), (r1, q1) in zip([points[0], *points], points):
        if r1 < target:
            continue
        share = 1.0 if r0 >= target else (target - r0) / (r1 - r0)
        qps = math.exp(math.log(q0) + share * (math.log(q1) - math.log(q0)))
        best = qps if best is None else max(best, qps)
    return best


def number(value: float | None, form: str = ",.0f", otherwise: str = "never") -> str:
    return otherwise if value is None else format(value, form)


def table(results: dict[str, dict], ours: list[str]) -> str:
    """Markdown: what each system does, and how many times as fast the first of `ours` is."""
    points = {system: median_points(result) for system, result in results.items()}
    speeds = {system: [qps_at(points[system], target) for target in TARGETS] for system in results}
    name, own = (ours[0], speeds[ours[0]]) if ours else ("nothing", [None] * len(TARGETS))
    heads = [f"QPS at {target:.2f}" for target in TARGETS] + ["build CPU s", "bytes/vector"]
    heads += [f"{name} / it at {target:.2f}" for target in TARGETS]
    lines = ["| system | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]

    def ratios(their: list[float | None]) -> list[str]:
        return [number(a / b if a and b else None, ".2f", "–") for a, b in zip(own, their)]

    for system, result in results.items():
        index = result["index"]
        size = index.get("resident_bytes_per_vector") or index.get("bytes_per_vector")
        cells = [*map(number, speeds[system]), number(index["build_cpu_s"], ".1f", "–"), number(size)]
        lines.append(f"| {system} | " + " | ".join(cells + ratios(speeds[system])) + " |")
    for group_name, group in (("best f32 peer", F32), ("best peer", tuple(PEERS))):
        measured = [speeds[system] for system in group if system in speeds]
        if not measured:
            continue
        best = [max((speed for speed in column if speed), default=None) for column in zip(*measured)]
        lines.append(f"| {group_name} | " + " | ".join([*map(number, best), "", "", *ratios(best)]) + " |")
    return "\n".join(lines)


def recall_table(results: dict[str, dict]) -> str:
    """Markdown: recall of each system at equal widths. –: not searched so wide."""
    recalls = {
        system: {point["ef"]: point["recall"] for points in result["rounds"] for point in points}
        for system, result in results.items()
    }
    widths = sorted({ef for by_ef in recalls.values() for ef in by_ef})
    lines = ["| recall at ef | " + " | ".join(map(str, widths)) + " |", "|---" * (len(widths) + 1) + "|"]
    for system, by_ef in recalls.items():
        lines.append(f"| {system} | " + " | ".join(number(by_ef.get(ef), ".4f", "–") for ef in widths) + " |")
    return "\n".join(lines)


def data_set(text: str) -> tuple[Path, str]:
    folder, _, metric = text.rpartition(":")
    if metric not in ("l2", "cosine", "ip"):
        raise argparse.ArgumentTypeError(f"expected FOLDER:l2, FOLDER:cosine or FOLDER:ip, got {text!r}")
    return Path(folder), metric


def variant(text: str) -> tuple[str, list[str]]:
    name, _, words = text.partition("=")
    return name, words.split()


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=data_set, nargs="+", required=True, metavar="FOLDER:METRIC")
    parser.add_argument("--peers", nargs="*", default=list(filter(runs_here, PEERS)), choices=list(PEERS))
    parser.add_argument(
        "--ours", type=variant, nargs="*", default=[("drumlin", [])], metavar="NAME=OPTIONS",
        help="variants of Drumlin with their options to benches/ann/, as 'drumlin=--builder hnsw_rs'",
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--m", type=int, default=16)
    parser.add_argument("--ef-construction", type=int, default=100)
    parser.add_argument("--ef", default=SWEEP)
    parser.add_argument("--core", type=int, default=0, help="the core that everything is pinned to")
    parser.add_argument("--ann", type=Path, help="the compiled bench; else cargo is asked for it")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/peers-indexes"), help="folder for this run's indexes")
    parser.add_argument("--out", type=Path, help="JSON file to write all points to")
    parser.add_argument("--reuse", type=Path, nargs="*", default=[], help="JSON files to take the peers' points from")
    parser.add_argument("--again", action="store_true", help="search the reused peers' indexes anew")
    parser.add_argument("--child", choices=list(PEERS), help=argparse.SUPPRESS)
    parser.add_argument("--index", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    if options.child:
        run_child(options)
        return
    options.cache.mkdir(parents=True, exist_ok=True)
    options.ours = dict(options.ours)
    if options.ours:
        options.ann = options.ann or bench_binary()
    reused: dict[str, dict] = {}
    for file in options.reuse:
        for name, results in json.loads(file.read_text())["data"].items():
            reused.setdefault(name, {}).update(results)
    everything = {}
    for folder, metric in options.data:
        data, name = Data(folder, metric), f"{folder.name}:{metric}"
        data.truth()
        known = {peer: result for peer, result in reused.get(name, {}).items() if peer in options.peers}
        systems = [*options.ours, *(peer for peer in options.peers if options.again or peer not in known)]
        for system in systems:
            if system not in known:
                index_file(system, data, options).unlink(missing_ok=True)
        measured = run_rounds(data, systems, options)
        for system in known.keys() & measured.keys():
            # Built in the earlier run, unless its index was gone.
            built = measured[system]["index"]
            built["build_cpu_s"] = built["build_cpu_s"] or known[system]["index"]["build_cpu_s"]
        results = {system: measured.get(system) or known[system] for system in [*options.ours, *options.peers]}
        everything[name] = results
        print(f"\n{name}: {data.rows} x {data.dim}, M = {options.m}, efConstruction = {options.ef_construction}")
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
        print(table(results, list(options.ours)))
        print(f"\n{recall_table(results)}", flush=True)
        if options.out:
            machine = {"processor": platform.processor() or platform.machine(), "load_average": os.getloadavg()}
            options.out.write_text(json.dumps({"machine": machine, "data": everything}, indent=1))


if __name__ == "__main__":
    main()
