"""The systems of benches/peers.py, and the data they search. Each builds an index, saves and loads it, and answers all
queries by one width of search, in one thread."""

import json
import math
import shutil
import tempfile
from pathlib import Path

import numpy as np

K = 10
# Distances are computed anew in float64; answers this near the bound are ties.
TIE = 1e-6


def normalised(x: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)


def distances(query: np.ndarray, rows: np.ndarray, metric: str) -> np.ndarray:
    """Distances in float64 of one query to some rows (both normalised under cosine)."""
    query, rows = query.astype(np.float64), rows.astype(np.float64)
    return ((rows - query) ** 2).sum(axis=1) if metric == "l2" else 1 - rows @ query


class Data:
    """A data set in memory, normalised under cosine: what peers are given is prepared before any clock runs."""

    def __init__(self, folder: Path, metric: str) -> None:
        self.folder, self.metric = folder, metric
        self.base, self.queries = np.load(folder / "base.npy"), np.load(folder / "queries.npy")
        if metric == "cosine":
            self.base, self.queries = normalised(self.base), normalised(self.queries)
        self.rows, self.dim = self.base.shape

    def truth(self) -> Path:
        """The file of the K nearest rows of each query; made where it is missing."""
        file = self.folder / f"truth-{self.metric}.npy"
        if not file.exists():
            blocks = [self.queries[first : first + 100] for first in range(0, len(self.queries), 100)]
            np.save(file, np.concatenate([self.nearest(block) for block in blocks]))
        return file

    def nearest(self, queries: np.ndarray) -> np.ndarray:
        scores = -queries @ self.base.T
        if self.metric == "l2":
            scores = 2 * scores + np.square(self.base).sum(axis=1)
        # More than K, because float32 scores are not exact enough to order them.
        near = np.argpartition(scores, 5 * K, axis=1)[:, : 5 * K]
        order = [np.argsort(distances(q, self.base[rows], self.metric))[:K] for q, rows in zip(queries, near)]
        return np.take_along_axis(near, np.array(order), axis=1).astype(np.int64)

    def recall(self, answers: np.ndarray) -> float:
        found = 0
        for query, truth, answer in zip(self.queries, np.load(self.truth()), answers):
            bound = distances(query, self.base[truth], self.metric).max()
            held = answer[(answer >= 0) & (answer < self.rows)].astype(np.int64)
            found += int((distances(query, self.base[held], self.metric) <= bound + TIE * abs(bound)).sum())
        return found / answers.size


class Hnswlib:
    """f32. Its `cosine` space would normalise what is normalised already; `ip` is the same distance."""

    NAMES = ("hnswlib",)

    def __init__(self, _name: str, data: Data, m: int, ef_construction: int) -> None:
        import hnswlib

        self.data, self.m, self.ef_construction = data, m, ef_construction
        self.index = hnswlib.Index(space="l2" if data.metric == "l2" else "ip", dim=data.dim)

    def build(self) -> None:
        self.index.init_index(self.data.rows, M=self.m, ef_construction=self.ef_construction, random_seed=42)
        self.index.set_num_threads(1)
        self.index.add_items(self.data.base, num_threads=1)

    def save(self, file: Path) -> None:
        self.index.save_index(str(file))

    def load(self, file: Path) -> None:
        self.index.load_index(str(file), max_elements=self.data.rows)
        self.index.set_num_threads(1)

    def search(self, ef: int) -> np.ndarray:
        self.index.set_ef(ef)
        return self.index.knn_query(self.data.queries, k=K, num_threads=1)[0]


class Faiss:
    """HNSWFlat is f32, HNSWSQ8 keeps 8 bits a component."""

    NAMES = ("faiss HNSWFlat", "faiss HNSWSQ8")

    def __init__(self, name: str, data: Data, m: int, ef_construction: int) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self.faiss, self.data = faiss, data
        metric = faiss.METRIC_L2 if data.metric == "l2" else faiss.METRIC_INNER_PRODUCT
        if name == "faiss HNSWFlat":
            self.index = faiss.IndexHNSWFlat(data.dim, m, metric)
        else:
            self.index = faiss.IndexHNSWSQ(data.dim, faiss.ScalarQuantizer.QT_8bit, m, metric)
        self.index.hnsw.efConstruction = ef_construction

    def build(self) -> None:
        self.index.train(self.data.base)
        self.index.add(self.data.base)

    def save(self, file: Path) -> None:
        self.faiss.write_index(self.index, str(file))

    def load(self, file: Path) -> None:
        self.index = self.faiss.read_index(str(file))

    def search(self, ef: int) -> np.ndarray:
        self.index.hnsw.efSearch = ef
        return self.index.search(self.data.queries, K)[1]


class Usearch:
    """f32, f16, i8. It narrows floats itself, except that its i8 keeps directions only: for l2 and ip it is given
    int8 made here, with one scale (the 99.9 % quantile) and, for l2, without the mean."""

    NAMES = ("usearch f32", "usearch f16", "usearch i8")

    def __init__(self, name: str, data: Data, m: int, ef_construction: int) -> None:
        from usearch.index import Index

        self.base, self.queries, kind = data.base, data.queries, name.split()[1]
        if kind == "i8" and data.metric != "cosine":
            mean = data.base.mean(axis=0) if data.metric == "l2" else np.float32(0)
            scale = 127 / np.quantile(np.abs(data.base - mean), 0.999)
            self.base, self.queries = (
                np.clip(np.rint((x - mean) * scale), -127, 127).astype(np.int8) for x in (data.base, data.queries)
            )
        metric = {"l2": "l2sq", "cosine": "cos", "ip": "ip"}[data.metric]
        self.index = Index(
            ndim=data.dim, metric=metric, dtype=kind, connectivity=m, expansion_add=ef_construction, expansion_search=K
        )

    def build(self) -> None:
        self.index.add(np.arange(len(self.base)), self.base, threads=1)

    def save(self, file: Path) -> None:
        self.index.save(str(file))

    def load(self, file: Path) -> None:
        self.index.load(str(file))

    def search(self, ef: int) -> np.ndarray:
        self.index.expansion_search = ef
        return self.index.search(self.queries, K, threads=1).keys


class Scann:
    """A tree of √n leaves and anisotropic product codes of two dimensions each, the best re-ranked by f32, as its
    documentation advises. It has no ef: `ef` re-ranks as many, and searches one leaf for each four of them."""

    NAMES = ("ScaNN",)
    LEAVES_PER_EF = 4

    def __init__(self, _name: str, data: Data, _m: int, _ef_construction: int) -> None:
        self.data = data

    def build(self) -> None:
        import scann

        metric = "squared_l2" if self.data.metric == "l2" else "dot_product"
        leaves = int(math.sqrt(self.data.rows))
        builder = scann.scann_ops_pybind.builder(self.data.base, K, metric).set_n_training_threads(1)
        builder = builder.tree(num_leaves=leaves, num_leaves_to_search=leaves, training_sample_size=self.data.rows)
        # The threshold is meant for normalised vectors and inner products.
        codes = {} if self.data.metric == "l2" else {"anisotropic_quantization_threshold": 0.2}
        self.index = builder.score_ah(2, **codes).reorder(100).build()

    def save(self, file: Path) -> None:
        # A folder of files; the file counts their bytes.
        folder = file.with_suffix(".scann")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self.index.serialize(str(folder))
        with open(file, "wb") as whole:
            whole.truncate(sum(part.stat().st_size for part in folder.iterdir()))

    def load(self, file: Path) -> None:
        import scann

        self.index = scann.scann_ops_pybind.load_searcher(str(file.with_suffix(".scann")))

    def search(self, ef: int) -> np.ndarray:
        leaves = max(1, ef // self.LEAVES_PER_EF)
        return self.index.search_batched(self.data.queries, K, max(ef, K), leaves)[0]


class Glass:
    """An HNSW graph searched on its 8-bit codes (`SQ8U`), the best re-ranked by f32."""

    NAMES = ("glass",)

    def __init__(self, _name: str, data: Data, m: int, ef_construction: int) -> None:
        self.data, self.m, self.ef_construction = data, m, ef_construction
        self.metric = "L2" if data.metric == "l2" else "IP"

    def build(self) -> None:
        import glass

        glass.set_num_threads(1)
        index = glass.Index("HNSW", self.metric, "FP32", R=2 * self.m, L=self.ef_construction)
        self.graph = index.build(self.data.base)

    def prepare(self) -> None:
        import glass

        glass.set_num_threads(1)
        self.index = glass.Searcher(self.graph, self.data.base, self.metric, "SQ8U", "FP32")

    def save(self, file: Path) -> None:
        # Before the searcher takes what the graph holds.
        self.graph.save(str(file))
        self.prepare()

    def load(self, file: Path) -> None:
        import glass

        self.graph = glass.Graph()
        self.graph.load(str(file))
        self.prepare()

    def search(self, ef: int) -> np.ndarray:
        self.index.set_ef(ef)
        found = self.index.batch_search(self.data.queries, K, 1)
        found = found[0] if isinstance(found, tuple) else found
        return np.asarray(found).reshape(len(self.data.queries), K)


class Vsag:
    """An HGraph of codes, the best re-ranked by f32: 8 bits a component, or RaBitQ's one. Queries are handed over one by
    one: it takes no batch."""

    NAMES = ("VSAG sq8", "VSAG RaBitQ")
    CODES = {"VSAG sq8": "sq8_uniform", "VSAG RaBitQ": "rabitq"}

    def __init__(self, name: str, data: Data, m: int, ef_construction: int) -> None:
        import pyvsag

        pyvsag.set_logger_off()
        codes = {"base_quantization_type": self.CODES[name], "use_reorder": True, "precise_quantization_type": "fp32"}
        graph = {"max_degree": 2 * m, "ef_construction": ef_construction, "build_thread_count": 1}
        metric = {"l2": "l2", "cosine": "ip", "ip": "ip"}[data.metric]
        given = {"dtype": "float32", "metric_type": metric, "dim": data.dim, "index_param": codes | graph}
        self.data, self.index = data, pyvsag.Index("hgraph", json.dumps(given))

    def build(self) -> None:
        self.index.build(self.data.base.ravel(), np.arange(self.data.rows), self.data.rows, self.data.dim)

    def save(self, file: Path) -> None:
        self.index.save(str(file))

    def load(self, file: Path) -> None:
        self.index.load(str(file))

    def search(self, ef: int) -> np.ndarray:
        width = json.dumps({"hgraph": {"ef_search": ef}})
        return np.array([self.index.knn_search(query, K, width)[0] for query in self.data.queries])


class Svs:
    """Intel's Vamana graph: f32, or LVQ codes of four bits with eight more for the re-ranking. The codes only run on
    processors of Intel."""

    NAMES = ("SVS f32", "SVS LVQ4x8")
    ONLY_INTEL = ("SVS LVQ4x8",)

    def __init__(self, name: str, data: Data, m: int, ef_construction: int) -> None:
        import svs

        self.data, self.lvq, self.m, self.ef_construction = data, name == "SVS LVQ4x8", m, ef_construction
        self.metric = svs.DistanceType.L2 if data.metric == "l2" else svs.DistanceType.MIP

    def build(self) -> None:
        import svs

        # What its documentation advises for each metric.
        alpha = 1.2 if self.data.metric == "l2" else 0.95
        given = svs.VamanaBuildParameters(alpha=alpha, graph_max_degree=2 * self.m, window_size=self.ef_construction)
        self.index = svs.Vamana.build(given, self.data.base, self.metric, num_threads=1)

    def save(self, file: Path) -> None:
        # Three folders; the file counts the bytes of the graph, and of the codes or floats beside it.
        folder = file.with_suffix(".svs")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self.index.save(*(str(folder / part) for part in ("config", "graph", "data")))
        self.load(file)
        per_row = self.data.dim * 12 // 8 if self.lvq else self.data.dim * 4
        graph = sum(part.stat().st_size for part in (folder / "graph").iterdir())
        with open(file, "wb") as whole:
            whole.truncate(graph + per_row * self.data.rows)

    def load(self, file: Path) -> None:
        import svs

        config, graph, rows = (str(file.with_suffix(".svs") / part) for part in ("config", "graph", "data"))
        loader = svs.VectorDataLoader(rows, svs.DataType.float32, dims=self.data.dim)
        if self.lvq:
            loader = svs.LVQLoader(loader, primary=4, residual=8)
        self.index = svs.Vamana(config, svs.GraphLoader(graph), loader, self.metric, num_threads=1)

    def search(self, ef: int) -> np.ndarray:
        self.index.search_window_size = ef
        return self.index.search(self.data.queries, K)[0].astype(np.int64)


class Zvec:
    """An embedded database with an HNSW graph of codes, the best re-ranked by f32: 8 bits a component, or RaBitQ's
    seven. Queries are handed over one by one: it takes no batch."""

    NAMES = ("zvec int8", "zvec RaBitQ")

    def __init__(self, name: str, data: Data, m: int, ef_construction: int) -> None:
        import zvec

        zvec.init(query_threads=1, optimize_threads=1)
        self.data, self.rabitq, self.m, self.ef_construction = data, name == "zvec RaBitQ", m, ef_construction
        self.metric = zvec.MetricType.L2 if data.metric == "l2" else zvec.MetricType.IP

    def build(self) -> None:
        import zvec

        folder = Path(tempfile.mkdtemp()) / "rows"
        graph = {"metric_type": self.metric, "m": 2 * self.m, "ef_construction": self.ef_construction}
        if self.rabitq:
            index = zvec.HnswRabitqIndexParam(**graph)
        else:
            index = zvec.HnswIndexParam(**graph, quantize_type=zvec.QuantizeType.INT8)
        vectors = zvec.VectorSchema("vector", zvec.DataType.VECTOR_FP32, self.data.dim, index_param=index)
        rows = zvec.create_and_open(str(folder), zvec.CollectionSchema("rows", vectors=vectors))
        for first in range(0, self.data.rows, 1000):
            block = self.data.base[first : first + 1000]
            rows.insert([zvec.Doc(id=str(first + i), vectors={"vector": row}) for i, row in enumerate(block)])
        rows.optimize()
        self.built = folder

    def save(self, file: Path) -> None:
        # A folder of files; the file counts their bytes.
        folder = file.with_suffix(".zvec")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(self.built, folder)
        with open(file, "wb") as whole:
            whole.truncate(sum(part.stat().st_size for part in folder.rglob("*") if part.is_file()))
        self.load(file)

    def load(self, file: Path) -> None:
        import zvec

        self.rows = zvec.open(str(file.with_suffix(".zvec")))

    def search(self, ef: int) -> np.ndarray:
        import zvec

        kind = zvec.HnswRabitqQueryParam if self.rabitq else zvec.HnswQueryParam
        width = kind(ef=ef, is_using_refiner=True)
        asked = (zvec.Query("vector", vector=query, param=width) for query in self.data.queries)
        found = [[int(hit.id) for hit in self.rows.query(query, topk=K)] for query in asked]
        return np.array([row + [-1] * (K - len(row)) for row in found])


PEERS = {name: kind for kind in (Hnswlib, Faiss, Usearch, Scann, Glass, Vsag, Svs, Zvec) for name in kind.NAMES}
F32 = ("hnswlib", "faiss HNSWFlat", "usearch f32", "SVS f32")


def runs_here(name: str) -> bool:
    processor = Path("/proc/cpuinfo")
    return name not in Svs.ONLY_INTEL or (processor.exists() and "GenuineIntel" in processor.read_text())
