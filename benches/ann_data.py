"""Generates the synthetic data sets of benches/ann/ and benches/peers.py: .npy files of float32, seeded.

    python benches/ann_data.py clustered /tmp/data/clustered-200k-128 --rows 200000 --dim 128
    python benches/ann_data.py embedding-like /tmp/data/like-100k-384 --rows 100000 --dim 384
    python benches/ann_data.py falling /tmp/data/falling-60k-384 --rows 60000 --dim 384 --exponent 0.6
    python benches/ann_data.py outliers /tmp/data/outliers-60k-384 --rows 60000 --dim 384 --outliers 5 --factor 30
    python benches/ann_data.py shifted /tmp/data/shifted-60k-384 --rows 60000 --dim 384

Needs numpy only. Each writes base.npy and queries.npy; the queries come from the same distribution as the base
and are none of its rows. The same arguments write the same bytes with the same numpy.
"""

import argparse
from pathlib import Path

import numpy as np


def clustered(rows: int, dim: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian clusters: one per 200 rows, sizes uneven, spreads from a quarter of the centres' to all of it."""
    clusters = max(1, rows // 200)
    centres = rng.standard_normal((clusters, dim), dtype=np.float32)
    spreads = rng.uniform(0.25, 1.0, clusters).astype(np.float32)
    member = rng.choice(clusters, size=rows, p=rng.dirichlet(np.full(clusters, 2.0)))
    return centres[member] + spreads[member, None] * rng.standard_normal((rows, dim), dtype=np.float32)


def embedding_like(rows: int, dim: int, rng: np.random.Generator) -> np.ndarray:
    """Unit vectors with what text embeddings have: a mean far from zero, a decaying spectrum, topics of many sizes."""
    topics = max(1, rows // 100)
    spectrum = (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
    mean = rng.standard_normal(dim, dtype=np.float32) * spectrum
    centres = rng.standard_normal((topics, dim), dtype=np.float32) * spectrum
    spreads = rng.uniform(0.3, 1.0, topics).astype(np.float32)
    member = rng.choice(topics, size=rows, p=rng.dirichlet(np.full(topics, 0.5)))
    noise = rng.standard_normal((rows, dim), dtype=np.float32) * spectrum
    vectors = (mean + centres[member] + spreads[member, None] * noise) @ basis.T
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def topics(rows: int, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Topics of many sizes, as in `embedding_like`, whose dimensions have these sizes and are not rotated."""
    count, dim = max(1, rows // 100), len(sizes)
    centres = rng.standard_normal((count, dim), dtype=np.float32)
    spreads = rng.uniform(0.3, 1.0, count).astype(np.float32)
    member = rng.choice(count, size=rows, p=rng.dirichlet(np.full(count, 0.5)))
    return (centres[member] + spreads[member, None] * rng.standard_normal((rows, dim), dtype=np.float32)) * sizes


def falling(rows: int, dim: int, rng: np.random.Generator, exponent: float) -> np.ndarray:
    """The i-th dimension is of size 1 / i^exponent."""
    return topics(rows, (np.arange(1, dim + 1) ** -exponent).astype(np.float32), rng)


def outliers(rows: int, dim: int, rng: np.random.Generator, outliers: int, factor: float) -> np.ndarray:
    """A few dimensions, anywhere, are so many times as large as the others."""
    sizes = np.ones(dim, dtype=np.float32)
    sizes[rng.choice(dim, size=outliers, replace=False)] = factor
    return topics(rows, sizes, rng)


def shifted(rows: int, dim: int, rng: np.random.Generator, factor: float) -> np.ndarray:
    """A mean as many times as large as the spread, in all dimensions; and these fall off a little."""
    sizes = (np.arange(1, dim + 1) ** -0.3).astype(np.float32)
    mean = np.float32(factor) * rng.standard_normal(dim, dtype=np.float32) * sizes
    return mean + topics(rows, sizes, rng)


# Each with the names of the options that it takes.
GENERATORS = {
    "clustered": (clustered, ()),
    "embedding-like": (embedding_like, ()),
    "falling": (falling, ("exponent",)),
    "outliers": (outliers, ("outliers", "factor")),
    "shifted": (shifted, ("factor",)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=GENERATORS)
    parser.add_argument("target", type=Path, help="folder for base.npy and queries.npy")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--dim", type=int, required=True)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--exponent", type=float, default=0.6, help="falling: how fast")
    parser.add_argument("--outliers", type=int, default=5, help="outliers: how many dimensions")
    parser.add_argument("--factor", type=float, default=10, help="outliers, shifted: how many times as large")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    generate, names = GENERATORS[options.kind]
    given = {name: getattr(options, name) for name in names}
    vectors = generate(options.rows + options.queries, options.dim, rng, **given).astype(np.float32)
    options.target.mkdir(parents=True, exist_ok=True)
    np.save(options.target / "base.npy", vectors[: options.rows])
    np.save(options.target / "queries.npy", vectors[options.rows :])
    print(f"{options.target}: {options.rows} base rows and {options.queries} queries of {options.dim} floats")


if __name__ == "__main__":
    main()
