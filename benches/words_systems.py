"""The engines of benches/words.py, each in a folder: how it is filled, opened and asked.

All get the same texts, words with spaces between them, which every analyser takes as they are; no stems and no
stopwords, k1 1.2 and b 0.75. Whatever an engine offers to be faster in one process is on. An answer is row numbers,
best first.
"""

import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from words_data import Data

K = 10
SLICE = 20_000


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class System:
    """`below` in a search is a filter: only rows whose share is below it."""

    # Queries of a round, for engines that take long.
    most_queries: int | None = None

    def __init__(self, folder: Path, data: Data) -> None:
        self.folder, self.data = folder, data

    def build(self) -> None:
        raise NotImplementedError

    def settle(self) -> None:
        """Waits for work in the background that is no part of the index."""

    def open(self) -> None:
        raise NotImplementedError

    def search(self, query, below: int | None = None) -> list[int]:
        raise NotImplementedError

    def index_bytes(self) -> int:
        """Of the index alone where it can be told apart from the documents."""
        return bytes_of(self.folder)

    def shares(self) -> list[int]:
        return self.data.array("shares").tolist()


class Drumlin(System):
    """A collection in a folder. Searches ask for no fields but the id and the score that they always have."""

    def open(self) -> None:
        import drumlin

        self.database = drumlin.connect(self.folder / "store")
        self.rows = self.database.collection("rows", create=True, metric="l2")

    def _memory(self) -> dict[str, int]:
        return self.database.health()["memory"]

    def _build(self, of: Callable[[range], dict], first) -> None:
        """Adds all rows; the first search makes the index. `of` gives the columns of some rows."""
        self.open()
        for at in range(0, self.data.rows, SLICE):
            part = range(at, min(at + SLICE, self.data.rows))
            self.rows.add(ids=[str(n) for n in part], **of(part))
        before = self._memory()["records_bytes"]
        self.search(first)
        # In memory, beside the records.
        self._index_bytes = self._memory()["records_bytes"] - before

    def settle(self) -> None:
        """The graphs of the embeddings stand once there are some and they grow no more."""
        graph, since = -1, time.perf_counter()
        while graph <= 0 or time.perf_counter() - since < 15:
            now = self._memory()["graph_bytes"]
            if now != graph:
                graph, since = now, time.perf_counter()
            time.sleep(0.2)
        self.database.close()

    def index_bytes(self) -> int:
        return self._index_bytes

    def no_embeddings(self, part: range) -> np.ndarray:
        """A record needs one. Equal ones need no graph."""
        return np.ones((len(part), 1), np.float32)

    def where(self, below: int | None) -> dict | None:
        return None if below is None else {"share": {"$lt": below}}


class DrumlinText(Drumlin):
    def build(self) -> None:
        shares, texts = self.shares(), self.data.texts()

        def columns(part: range) -> dict:
            documents, metadatas = texts[part.start : part.stop], [{"share": shares[n]} for n in part]
            return {"embeddings": self.no_embeddings(part), "documents": documents, "metadatas": metadatas}

        self._build(columns, ["w0"])

    def search(self, query, below=None) -> list[int]:
        return [int(name) for name in self.rows.rank(" ".join(query), k=K, where=self.where(below), include=()).ids]


class DrumlinSparse(Drumlin):
    def build(self) -> None:
        shares, indices, values = self.shares(), self.data.array("indices"), self.data.array("values")

        def columns(part: range) -> dict:
            pairs = zip(indices[part.start : part.stop].tolist(), values[part.start : part.stop].tolist(), strict=True)
            vectors = [{"indices": i, "values": v} for i, v in pairs]
            metadatas = [{"share": shares[n], "splade": vector} for n, vector in zip(part, vectors, strict=True)]
            return {"embeddings": self.no_embeddings(part), "metadatas": metadatas}

        self._build(columns, ([0], [1.0]))

    def search(self, query, below=None) -> list[int]:
        sparse = {"key": "splade", "indices": query[0], "values": query[1]}
        return [int(name) for name in self.rows.rank(sparse=sparse, k=K, where=self.where(below), include=()).ids]


class DrumlinHybrid(Drumlin):
    """Words, an embedding, or both; of both, each finds 30 candidates, the default."""

    def build(self) -> None:
        texts, embeddings = self.data.texts(), self.data.array("embeddings")
        rows = lambda part: slice(part.start, part.stop)  # noqa: E731
        columns = lambda part: {"embeddings": embeddings[rows(part)], "documents": texts[rows(part)]}  # noqa: E731
        self._build(columns, {"text": "w0"})

    def search(self, query, below=None) -> list[int]:
        return [int(name) for name in self.rows.rank(**query, k=K, include=()).ids]


class Tantivy(System):
    """One segment, documents not stored: a row is its place in the segment."""

    def _schema(self):
        import tantivy

        builder = tantivy.SchemaBuilder()
        builder.add_text_field("text", stored=False, index_option="freq")
        builder.add_integer_field("share", stored=False, indexed=True, fast=True)
        return builder.build()

    def build(self) -> None:
        import tantivy

        index = tantivy.Index(self._schema(), path=str(self.folder))
        writer = index.writer(300_000_000, 1)
        for text, share in zip(self.data.texts(), self.shares(), strict=True):
            writer.add_document(tantivy.Document(text=text, share=share))
        writer.commit()
        writer.wait_merging_threads()

    def open(self) -> None:
        import tantivy

        self.index = tantivy.Index.open(str(self.folder))
        self.schema, self.searcher = self.index.schema, self.index.searcher()
        assert self.searcher.num_segments == 1

    def search(self, query, below=None) -> list[int]:
        import tantivy

        # Cheaper than parsing the words as one string.
        words = [tantivy.Query.term_query(self.schema, "text", word, "freq") for word in query]
        asked = tantivy.Query.boolean_query([(tantivy.Occur.Should, word) for word in words])
        if below is not None:
            of_share = (self.schema, "share", tantivy.FieldType.Integer)
            shares = tantivy.Query.range_query(*of_share, 0, below, include_upper=False)
            no_score = tantivy.Query.boost_query(shares, 0.0)
            asked = tantivy.Query.boolean_query([(tantivy.Occur.Must, asked), (tantivy.Occur.Must, no_score)])
        return [address.doc for _, address in self.searcher.search(asked, K, count=False).hits]


class Bm25s(System):
    """Scores are computed when the index is made; a filter is a mask of rows."""

    backend = "numpy"
    most_queries = 100

    def build(self) -> None:
        import bm25s

        index = bm25s.BM25(method="lucene", k1=1.2, b=0.75, backend=self.backend)
        index.index([text.split(" ") for text in self.data.texts()], show_progress=False)
        index.save(str(self.folder))

    def open(self) -> None:
        import bm25s

        self.index = bm25s.BM25.load(str(self.folder))
        self.masks = {None: None} | {below: self.data.array("shares") < below for below in (500, 100, 10, 1)}

    def search(self, query, below=None) -> list[int]:
        mask = self.masks[below]
        found, scores = self.index.retrieve([query], k=K, show_progress=False, n_threads=0, weight_mask=mask)
        return found[0][scores[0] > 0].tolist()


class Bm25sNumba(Bm25s):
    backend = "numba"
    most_queries = None


class Fts5(System):
    """No documents are kept (`content=''`); the whole file is in the page cache."""

    most_queries = 30

    def _connect(self) -> None:
        self.database = sqlite3.connect(self.folder / "words.db")
        self.database.execute("pragma cache_size = -800000")
        self.database.execute("pragma mmap_size = 2000000000")

    def build(self) -> None:
        self._connect()
        self.database.execute("create virtual table texts using fts5(text, content='')")
        self.database.execute("create table shares(row integer primary key, share integer)")
        self.database.executemany("insert into texts(rowid, text) values(?, ?)", enumerate(self.data.texts()))
        self.database.executemany("insert into shares values(?, ?)", enumerate(self.shares()))
        self.database.execute("create index by_share on shares(share)")
        self.database.execute("insert into texts(texts) values('optimize')")
        self.database.commit()
        self.database.close()

    def open(self) -> None:
        self._connect()

    def search(self, query, below=None) -> list[int]:
        some = "" if below is None else " and +rowid in (select row from shares where share < ?)"
        command = f"select rowid from texts where texts match ?{some} order by rank limit {K}"
        values = (" OR ".join(query),) if below is None else (" OR ".join(query), below)
        return [row for (row,) in self.database.execute(command, values)]


class LanceDb(System):
    """Without positions, as phrases are not asked for; the share has an index too."""

    most_queries = 100

    def build(self) -> None:
        import lancedb
        import pyarrow as pa
        from lancedb.index import FTS, BTree

        columns = {"row": np.arange(self.data.rows), "text": self.data.texts(), "share": self.data.array("shares")}
        table = lancedb.connect(str(self.folder)).create_table("rows", pa.table(columns))
        table.create_index("text", config=FTS(with_position=False, stem=False, remove_stop_words=False))
        table.create_index("share", config=BTree())

    def open(self) -> None:
        import lancedb

        self.table = lancedb.connect(str(self.folder)).open_table("rows")

    def search(self, query, below=None) -> list[int]:
        asked = self.table.search(" ".join(query), query_type="fts")
        asked = asked if below is None else asked.where(f"share < {below}", prefilter=True)
        return asked.select(["row", "_score"]).limit(K).to_arrow()["row"].to_pylist()

    def index_bytes(self) -> int:
        return sum(bytes_of(folder) for folder in self.folder.rglob("_indices"))


class QdrantEdge(System):
    """One shard, its sparse index in memory, with an index of the share."""

    def build(self) -> None:
        import qdrant_edge as edge

        vectors = {"splade": edge.EdgeSparseVectorParams(on_disk=False, full_scan_threshold=1)}
        shard = edge.EdgeShard.create(str(self.folder), edge.EdgeConfig(vectors={}, sparse_vectors=vectors))
        shard.update(edge.UpdateOperation.create_field_index("share", edge.PayloadSchemaType.Integer))
        shares, indices, values = self.shares(), self.data.array("indices"), self.data.array("values")
        for at in range(0, self.data.rows, 2000):
            part = range(at, min(at + 2000, self.data.rows))
            rows = zip(part, indices[at : part.stop].tolist(), values[at : part.stop].tolist(), strict=True)
            points = [edge.Point(n, {"splade": edge.SparseVector(i, v)}, {"share": shares[n]}) for n, i, v in rows]
            shard.update(edge.UpdateOperation.upsert_points(points))
        shard.optimize()
        shard.flush()

    def open(self) -> None:
        import qdrant_edge as edge

        self.shard = edge.EdgeShard.load(str(self.folder))

    def search(self, query, below=None) -> list[int]:
        import qdrant_edge as edge

        nearest = edge.Query.Nearest(edge.SparseVector(*query), using="splade")
        condition = None
        if below is not None:
            condition = edge.Filter(must=[edge.FieldCondition(key="share", range=edge.RangeFloat(lt=below))])
        found = self.shard.search(edge.SearchRequest(query=nearest, limit=K, offset=0, filter=condition))
        return [int(point.id) for point in found]

    def index_bytes(self) -> int:
        indexes = [path for path in self.folder.rglob("*") if path.is_dir() and path.name.startswith("vector_index")]
        return sum(map(bytes_of, indexes)) or bytes_of(self.folder)


class MilvusLite(System):
    most_queries = 30

    def _connect(self) -> None:
        from pymilvus import MilvusClient

        self.client = MilvusClient(str(self.folder / "rows.db"))

    def build(self) -> None:
        from pymilvus import DataType

        self._connect()
        schema = self.client.create_schema()
        schema.add_field("row", DataType.INT64, is_primary=True)
        schema.add_field("share", DataType.INT64)
        schema.add_field("splade", DataType.SPARSE_FLOAT_VECTOR)
        index = self.client.prepare_index_params()
        index.add_index("splade", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
        self.client.create_collection("rows", schema=schema, index_params=index)
        shares, indices, values = self.shares(), self.data.array("indices"), self.data.array("values")
        for at in range(0, self.data.rows, 5000):
            part = range(at, min(at + 5000, self.data.rows))
            rows = zip(part, indices[at : part.stop].tolist(), values[at : part.stop].tolist(), strict=True)
            made = [{"row": n, "share": shares[n], "splade": dict(zip(i, v, strict=True))} for n, i, v in rows]
            self.client.insert("rows", made)
        self.client.flush("rows")
        self.client.close()

    def open(self) -> None:
        self._connect()
        self.client.load_collection("rows")

    def search(self, query, below=None) -> list[int]:
        asked = {"anns_field": "splade", "limit": K, "filter": "" if below is None else f"share < {below}"}
        found = self.client.search("rows", [dict(zip(*query, strict=True))], **asked)
        return [hit["row"] for hit in found[0]]


TEXT = {
    "drumlin": DrumlinText, "tantivy": Tantivy, "bm25s": Bm25s, "bm25s-numba": Bm25sNumba, "fts5": Fts5,
    "lancedb": LanceDb,
}  # fmt: skip
SPARSE = {"drumlin": DrumlinSparse, "qdrant-edge": QdrantEdge, "milvus-lite": MilvusLite}
HYBRID = {"drumlin": DrumlinHybrid}


def emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
