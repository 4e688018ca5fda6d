"""The data of benches/words.py: texts of Zipf-distributed words, SPLADE-like sparse vectors, embeddings, queries for
each, and their true scores in float64. Seeded: the same number of rows gives the same values with the same numpy.
"""

from pathlib import Path

import numpy as np

SEED = 15
WORDS_PER_TEXT = 100
VOCABULARY = 50_000
# BERT's word pieces, of which SPLADE's vectors have some hundred each.
PIECES = 30_522
PIECES_PER_VECTOR = 120
DIMENSION = 64
QUERIES = 1000
# A row is in the filter of x % if its share is below 10 x.
SHARES = 1000


def zipf(count: int, shift: float = 0.0) -> np.ndarray:
    """Cumulative probabilities of ranks 1..count, each proportional to 1 / (rank + shift)."""
    cumulative = np.cumsum(1 / (np.arange(1, count + 1) + shift))
    return cumulative / cumulative[-1]


def drawn(cumulative: np.ndarray, size: int | tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return np.searchsorted(cumulative, rng.random(size)).clip(0, len(cumulative) - 1)


def texts(rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Words by number, and queries of two to five different words of one text; -1 is no word."""
    words = drawn(zipf(VOCABULARY), (rows, WORDS_PER_TEXT), rng).astype(np.uint16)
    queries = np.full((QUERIES, 5), -1, np.int32)
    for query in queries:
        own = rng.permutation(np.unique(words[rng.integers(rows)]))
        chosen = own[: rng.integers(2, 6)]
        query[: len(chosen)] = chosen
    return {"words": words, "word_queries": queries}


def sparse_vectors(rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Indices ascend in each row; weights are log-normal. Queries have 20 indices of one row and up to ten others."""
    # A flatter head than that of words: SPLADE gives no weight to the most common pieces.
    order, cumulative = rng.permutation(PIECES), zipf(PIECES, 30)
    indices = np.zeros((rows, PIECES_PER_VECTOR), np.uint32)
    for row in indices:
        # Those that come first are kept, so that frequent pieces are not preferred twice.
        many = order[drawn(cumulative, 2 * PIECES_PER_VECTOR, rng)]
        _, first = np.unique(many, return_index=True)
        row[:] = np.sort(many[np.sort(first)[:PIECES_PER_VECTOR]])
    values = rng.lognormal(-0.7, 0.8, indices.shape).astype(np.float32)
    query_indices = np.full((QUERIES, 30), -1, np.int64)
    for query in query_indices:
        own = rng.permutation(indices[rng.integers(rows)])[:20]
        chosen = np.unique(np.concatenate([own, order[drawn(cumulative, 10, rng)]]))
        query[: len(chosen)] = chosen
    query_values = rng.lognormal(-0.3, 0.7, query_indices.shape).astype(np.float32)
    return {"indices": indices, "values": values, "query_indices": query_indices, "query_values": query_values}


def embeddings(rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Clusters of some 200 rows each."""
    centres = rng.standard_normal((max(1, rows // 200), DIMENSION), dtype=np.float32)
    member = rng.integers(0, len(centres), rows + QUERIES)
    noise = rng.standard_normal((rows + QUERIES, DIMENSION), dtype=np.float32)
    vectors = centres[member] + 0.5 * noise
    return {"embeddings": vectors[:rows], "embedding_queries": vectors[rows:]}


class Data:
    """The rows and queries in a folder, made there if they are not."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.rows, self._folder = rows, folder / f"words-{rows}"
        if not (self._folder / "shares.npy").exists():
            self._make()

    def _make(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        parts = (texts, sparse_vectors, embeddings)
        arrays: dict[str, np.ndarray] = {}
        for number, part in enumerate(parts):
            arrays |= part(self.rows, np.random.default_rng((SEED, number)))
        arrays["shares"] = np.random.default_rng((SEED, len(parts))).integers(0, SHARES, self.rows)
        for name, array in arrays.items():
            np.save(self._folder / f"{name}.npy", array)

    def array(self, name: str) -> np.ndarray:
        return np.load(self._folder / f"{name}.npy", mmap_mode="r")

    def texts(self) -> list[str]:
        names = [f"w{word}" for word in range(VOCABULARY)]
        return [" ".join([names[word] for word in row]) for row in self.array("words").tolist()]

    def word_queries(self) -> list[list[str]]:
        return [[f"w{word}" for word in query if word >= 0] for query in self.array("word_queries").tolist()]

    def sparse_queries(self) -> list[tuple[list[int], list[float]]]:
        pairs = zip(self.array("query_indices"), self.array("query_values"), strict=True)
        return [(indices[indices >= 0].tolist(), values[indices >= 0].tolist()) for indices, values in pairs]


class Lists:
    """The rows of each term, with a value: an inverted index in NumPy, for the truth."""

    def __init__(self, terms: np.ndarray, values: np.ndarray | None) -> None:
        flat = np.asarray(terms).reshape(-1)
        self.rows, self.per_row = len(terms), terms.shape[1]
        self._order = np.argsort(flat, kind="stable")
        self._starts = np.searchsorted(flat[self._order], np.arange(int(flat.max()) + 2))
        self._values = None if values is None else np.asarray(values).reshape(-1)
        self._frequencies: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def of(self, term: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows that have the term, and its value in each; where there are no values, how often each has it."""
        if term + 1 >= len(self._starts):
            return np.zeros(0, np.int64), np.zeros(0)
        places = self._order[self._starts[term] : self._starts[term + 1]]
        if self._values is not None:
            return places // self.per_row, self._values[places].astype(np.float64)
        if term not in self._frequencies:
            rows, frequencies = np.unique(places // self.per_row, return_counts=True)
            self._frequencies[term] = rows, frequencies.astype(np.float64)
        return self._frequencies[term]


class Formula:
    """BM25 in float64. `length` is a document's in words as an engine keeps it, where all have the same."""

    def __init__(self, length: float = WORDS_PER_TEXT, floor: bool = False) -> None:
        self._norm = 1.2 * (1 - 0.75 + 0.75 * length / WORDS_PER_TEXT)
        self._floor = floor

    def scores(self, lists: Lists, query: np.ndarray) -> np.ndarray:
        scores = np.zeros(lists.rows)
        for word in query[query >= 0].tolist():
            rows, frequencies = lists.of(word)
            odds = (lists.rows - len(rows) + 0.5) / (len(rows) + 0.5)
            # Robertson and Sparck Jones's weight, which is negative for a word of most documents; or one that is not.
            idf = max(np.log(odds), 1e-6) if self._floor else np.log1p(odds)
            scores[rows] += idf * frequencies * 2.2 / (frequencies + self._norm)
        return scores


def products(lists: Lists, query: tuple[list[int], list[float]]) -> np.ndarray:
    """The inner products of a sparse query with all rows, in float64."""
    scores = np.zeros(lists.rows)
    for index, value in zip(*query, strict=True):
        rows, values = lists.of(index)
        scores[rows] += value * values
    return scores


def is_right(answer: list[int], scores: np.ndarray, allowed: np.ndarray | None, k: int) -> bool:
    """Whether an answer is the k best of the allowed rows, best first. Scores that float32 cannot tell apart are
    equal, so their order is free; and rows that score 0 are no answers."""
    scores = scores if allowed is None else np.where(allowed, scores, 0)
    best = np.sort(np.partition(scores, len(scores) - k)[-k:])[::-1]
    best = best[best > 0]
    if len(set(answer)) != len(answer) or len(answer) != len(best):
        return False
    return bool(np.allclose(scores[answer], best, rtol=4e-6, atol=0))
