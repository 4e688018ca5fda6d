"""How long the map of a collection takes here and with umap-learn, and how faithful both are, on one thread.

    python -m venv /tmp/maps && /tmp/maps/bin/pip install -r benches/layout_requirements.txt
    /tmp/maps/bin/python benches/layout.py digits VECTORS.npy…

`digits` are scikit-learn's; others are matrices of f32, such as those of `real_embeddings.py` and `ann_data.py`. Both
are given the same neighbours (exact ones of few vectors, PyNNDescent's of many): 14 and the record itself, which is what
umap-learn's 15 are. What counts is CPU time, so others may use the machine meanwhile. umap-learn compiles itself on a
small matrix before. Trustworthiness and continuity are at 15 neighbours, by our own functions on 2,000 records, the same
for both; on the digits they are compared with scikit-learn's. Each figure is the mean of `--seeds` maps, with the least
and the most. "placed" is a map of nine tenths of the records on which the others are placed afterwards. With `--whole`,
each one's own search for neighbours is measured too: ours builds the graph that a collection has already.

The program fails if we take more than `--goal` (1.5) times as long with given neighbours, or if our trustworthiness is
more than 0.01 lower.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

ONE = {name: "1" for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
os.environ.update(ONE)

import numpy as np  # noqa: E402
import umap  # noqa: E402
from pynndescent import NNDescent  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.manifold import trustworthiness  # noqa: E402
from sklearn.neighbors import NearestNeighbors  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
K = 15
# Up to so many vectors, neighbours are exact.
FEW = 5000
SETTINGS = {"n_neighbors": K, "n_jobs": 1, "force_approximation_algorithm": True}
FIGURES = ("seconds", "trustworthiness", "continuity")


class Ours:
    """`benches/layout.rs` in a process of its own."""

    def __init__(self) -> None:
        command = ["cargo", "bench", "--quiet", "--bench", "layout", "--", "work"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)

    def ask(self, **asked) -> dict:
        """One answer; it fails where the program has ended."""
        line = json.dumps({name: str(it) if isinstance(it, Path) else it for name, it in asked.items()})
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("benches/layout.rs ended early")
        return json.loads(answer)


class Folder:
    """The files that both read and write."""

    def __init__(self, path: Path, vectors: np.ndarray, known: tuple[np.ndarray, np.ndarray]) -> None:
        self.vectors = {"vectors": path / "vectors", "dim": vectors.shape[1]}
        self.neighbours = {"nodes": path / "nodes", "distances": path / "distances"}
        self.map, self.out = path / "theirs", path / "ours"
        vectors.tofile(self.vectors["vectors"])
        for file, matrix in zip(self.neighbours.values(), known):
            matrix.tofile(file)


def neighbours(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(vectors) <= FEW:
        distances, nodes = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(vectors).kneighbors(vectors)
    else:
        nodes, distances = NNDescent(vectors, n_neighbors=K, n_jobs=1, random_state=1).neighbor_graph
    return nodes.astype(np.int32), distances.astype(np.float32)


def theirs(vectors: np.ndarray, seed: int, known: tuple[np.ndarray, np.ndarray] | None) -> tuple[np.ndarray, float]:
    given = {} if known is None else {"precomputed_knn": (*known, None)}
    start = time.process_time()
    points = umap.UMAP(random_state=seed, **SETTINGS, **given).fit_transform(vectors)
    return points, time.process_time() - start


def their_maps(vectors: np.ndarray, known, ours: Ours, folder: Folder, seeds: int) -> list[dict]:
    maps = []
    for seed in range(1, seeds + 1):
        points, seconds = theirs(vectors, seed, known)
        points.astype(np.float32).tofile(folder.map)
        maps.append({"seconds": seconds} | ours.ask(**folder.vectors, map=folder.map))
    return maps


def our_maps(ours: Ours, folder: Folder, seeds: int, held: int = 0) -> list[dict]:
    asked = folder.vectors | folder.neighbours | {"out": folder.out, "held": held}
    maps = [ours.ask(**asked, seed=seed) for seed in range(1, seeds + 1)]
    return [{"seconds": one["map_s"]} | one for one in maps]


def spread(maps: list[dict], figure: str) -> str:
    values = [one[figure] for one in maps]
    places = 2 if figure == "seconds" else 4
    mean, low, high = (f"{it:.{places}f}" for it in (np.mean(values), min(values), max(values)))
    return f"{figure} {mean} ({low} to {high})"


def compare(name: str, vectors: np.ndarray, ours: Ours, path: Path, options: argparse.Namespace) -> bool:
    known = neighbours(vectors)
    folder = Folder(path, vectors, known)
    rows = {
        "umap-learn": their_maps(vectors, known, ours, folder, options.seeds),
        "ours": our_maps(ours, folder, options.seeds),
    }
    if name == "digits":
        points = np.fromfile(folder.out, dtype=np.float32).reshape(-1, 2)
        same = trustworthiness(vectors, points, n_neighbors=K)
        print(f"{name}: scikit-learn's trustworthiness of our last map is {same:.4f}")
    rows["placed"] = our_maps(ours, folder, options.seeds, held=len(vectors) // 10)
    for maker, maps in rows.items():
        figures = ", ".join(spread(maps, figure) for figure in FIGURES)
        print(f"{name}, {len(vectors)} × {vectors.shape[1]}: {maker} {figures}", flush=True)
    print(f"{name}: placing a tenth took {np.mean([one['place_s'] for one in rows['placed']]):.2f} CPU s")
    if options.whole:
        whole_s = theirs(vectors, 1, None)[1]
        alone = ours.ask(**folder.vectors, out=folder.out)
        parts = f"graph {alone['build_s']:.1f}, neighbours {alone['lists_s']:.1f}, map {alone['map_s']:.1f}"
        print(f"{name}, whole: umap-learn {whole_s:.1f} CPU s, ours {parts}", flush=True)
    mean = {maker: {figure: np.mean([one[figure] for one in maps]) for figure in FIGURES} for maker, maps in rows.items()}
    lost = mean["umap-learn"]["trustworthiness"] - mean["ours"]["trustworthiness"]
    return mean["ours"]["seconds"] <= options.goal * mean["umap-learn"]["seconds"] and lost <= 0.01


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", nargs="*", default=["digits"])
    options.add_argument("--rows", type=int, help="only the first of each matrix")
    options.add_argument("--seeds", type=int, default=3, help="maps of each")
    options.add_argument("--goal", type=float, default=1.5)
    options.add_argument("--whole", action="store_true", help="measure the search for neighbours too")
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    small = np.random.default_rng(1).normal(size=(FEW + 1000, 16)).astype(np.float32)
    theirs(small, 1, neighbours(small))
    theirs(small, 1, None)
    ours, passed = Ours(), True
    for name in chosen.data:
        vectors = load_digits().data if name == "digits" else np.load(name)
        vectors = np.ascontiguousarray(vectors[: chosen.rows], dtype=np.float32)
        with tempfile.TemporaryDirectory() as path:
            passed &= compare(Path(name).stem, vectors, ours, Path(path), chosen)
    ours.process.stdin.close()
    ours.process.wait()
    sys.exit(not passed)


if __name__ == "__main__":
    main()
