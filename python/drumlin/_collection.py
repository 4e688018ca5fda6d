"""Records of one collection: what Python holds as arrays, tables, lists and dicts, in and out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InvalidArgument

if TYPE_CHECKING:
    from . import Database
    from ._drumlin import Collection as _Collection

Include = Iterable[str]
_FIELDS = ("documents", "metadatas", "uris", "embeddings")


@dataclass(frozen=True)
class WriteResult:
    """What a write did: records inserted, changed or deleted; records left alone; the version at which this holds."""

    applied: int
    skipped: int
    version: int


class SearchResult:
    """The answer to a search: a sequence with one list of hits, as dicts, per query.

    Attributes
    ----------
    ids : list of list of str
        For each query the ids, nearest first. Lists may differ in length where fewer than k records match.
    distances : list of numpy.ndarray
        For each query the distances, float32; smaller is nearer.
    version : int
        The version that was searched.
    """

    def __init__(self, ids: list[list[str]], distances: np.ndarray, version: int, ipc: bytes | None) -> None:
        self.ids, self.version, self._ipc = ids, version, ipc
        ends = np.cumsum([len(row) for row in ids])
        self.distances: list[np.ndarray] = np.split(distances, ends[:-1]) if ids else []

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        return iter(self.to_list())

    def __repr__(self) -> str:
        return f"SearchResult({len(self.ids)} queries, {sum(map(len, self.ids))} hits, version {self.version})"

    def to_arrow(self) -> Any:
        """One pyarrow table with a row per hit: ``query``, ``id``, ``distance`` and the included fields."""
        import pyarrow as pa

        if self._ipc is None:
            queries = np.repeat(np.arange(len(self.ids), dtype=np.uint32), [len(row) for row in self.ids])
            flat = [name for row in self.ids for name in row]
            distances = np.concatenate(self.distances) if self.distances else np.empty(0, np.float32)
            return pa.table({"query": queries, "id": flat, "distance": distances})
        return pa.ipc.open_stream(self._ipc).read_all()

    def to_pandas(self) -> Any:
        """One pandas frame with a row per hit."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """One Polars frame with a row per hit."""
        import polars

        return polars.from_arrow(self.to_arrow())

    def to_list(self) -> list[list[dict[str, Any]]]:
        """For each query a list of dicts."""
        if self._ipc is None:
            return [
                [{"id": name, "distance": float(far)} for name, far in zip(names, row, strict=True)]
                for names, row in zip(self.ids, self.distances, strict=True)
            ]
        lists: list[list[dict[str, Any]]] = [[] for _ in self.ids]
        for row in self.to_arrow().to_pylist():
            text = row.get("metadata")
            row["metadata"] = json.loads(text) if text else None
            lists[row.pop("query")].append(row)
        return lists


def _matrix(name: str, values: Any) -> np.ndarray:
    """``values`` as an n × d array of float32, shared where it is one already."""
    if hasattr(values, "detach"):
        values = values.detach()
    if not isinstance(values, np.ndarray) and hasattr(values, "__dlpack__"):
        try:
            values = np.from_dlpack(values)
        except (BufferError, RuntimeError, TypeError):
            values = np.asarray(values.cpu() if hasattr(values, "cpu") else values)
    try:
        array = np.ascontiguousarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"{name}: expected numbers, all rows of the same length ({error})") from error
    if array.ndim == 1 and array.size:
        array = array[np.newaxis]
    if array.ndim != 2:
        raise InvalidArgument(f"{name}: expected n × d numbers, got an array of shape {array.shape}")
    return array


def _json(name: str, value: Mapping[str, Any] | None) -> str | None:
    if value is None:
        return None
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"{name}: {error}") from error


def _table(rows: Any) -> Any:
    """What has ``__arrow_c_stream__`` as it is; a list of dicts as a table."""
    if hasattr(rows, "__arrow_c_stream__"):
        return rows
    if isinstance(rows, Sequence) and rows and isinstance(rows[0], Mapping):
        import pyarrow as pa

        plain = [
            {**row, "metadata": json.dumps(row["metadata"])} if isinstance(row.get("metadata"), Mapping) else dict(row)
            for row in rows
        ]
        return pa.Table.from_pylist(plain)
    raise InvalidArgument(f"expected a table, a frame or a list of dicts, got {type(rows).__name__}")


class Collection:
    """Records of one collection. Made by :meth:`Database.collection`."""

    def __init__(self, inner: _Collection, database: Database) -> None:
        self._inner, self._database = inner, database

    def __repr__(self) -> str:
        return f"<drumlin collection {self.name!r} in {self._database!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _collection_of, (self._database, self.name)

    def __len__(self) -> int:
        return self.count()

    @property
    def name(self) -> str:
        """Its name, as this process knows it."""
        return self._inner.name

    @property
    def id(self) -> str:
        """Its identity, which stays when it is renamed."""
        return self._inner.id

    @property
    def dimension(self) -> int | None:
        """Floats of an embedding; ``None`` until the first record fixes it."""
        return self._inner.dimension

    def add(
        self,
        table: Any = None,
        *,
        ids: Sequence[str] | None = None,
        embeddings: Any = None,
        documents: Sequence[str | None] | None = None,
        metadatas: Sequence[dict[str, Any] | None] | None = None,
    ) -> WriteResult:
        """Insert records; one whose id exists already is skipped. Durable when this returns.

        Parameters
        ----------
        table
            Records as a table with the columns ``id``, ``embedding`` and, if wanted, ``document``, ``uri`` and
            ``metadata``: anything of pyarrow, Polars, pandas or DuckDB, or a list of dicts.
        ids, embeddings, documents, metadatas
            Instead of a table: n ids, n × d numbers (NumPy, PyTorch, JAX, lists), and n texts and dicts or ``None``.

        Raises
        ------
        InvalidArgument
            Something does not fit; nothing was added.
        OutcomeUnknown
            The bucket did not say whether it has them. Add them again: an id is added once.
        """
        return self._write("add", table, ids, embeddings, documents, metadatas)

    def upsert(
        self,
        table: Any = None,
        *,
        ids: Sequence[str] | None = None,
        embeddings: Any = None,
        documents: Sequence[str | None] | None = None,
        metadatas: Sequence[dict[str, Any] | None] | None = None,
    ) -> WriteResult:
        """Insert records, or replace those whose ids exist. Parameters and errors as in :meth:`add`."""
        return self._write("upsert", table, ids, embeddings, documents, metadatas)

    def _write(self, how: str, table: Any, ids: Any, embeddings: Any, documents: Any, metadatas: Any) -> WriteResult:
        if table is not None:
            if any(value is not None for value in (ids, embeddings, documents, metadatas)):
                raise InvalidArgument("expected a table or ids and embeddings, got both")
            return WriteResult(*self._inner.write_arrow(how, _table(table)))
        if ids is None or embeddings is None:
            raise InvalidArgument("expected ids and embeddings, or a table")
        texts = None if documents is None else list(documents)
        values = None if metadatas is None else list(metadatas)
        matrix = _matrix("embeddings", embeddings)
        return WriteResult(*self._inner.write_array(how, list(ids), matrix, texts, values))

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        where: Mapping[str, Any] | None = None,
        where_document: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> WriteResult:
        """Delete the records that satisfy all the given conditions."""
        names = None if ids is None else list(ids)
        if names is None and where is None and where_document is None:
            raise InvalidArgument("delete: expected ids, where or where_document")
        filters = _json("where", where), _json("where_document", where_document)
        return WriteResult(*self._inner.delete(names, *filters, limit))

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        where_document: Mapping[str, Any] | None = None,
        ids: Sequence[str] | None = None,
        include: Include = ("documents", "metadatas"),
        ef_search: int | None = None,
        exact: bool = False,
        strong: bool = False,
    ) -> SearchResult:
        """The ``k`` nearest records to each query, of those that match.

        Parameters
        ----------
        queries
            One embedding (d numbers) or several (q × d).
        where, where_document
            Filters, as over HTTP: ``{"year": {"$gte": 2020}}``, ``{"$contains": "fog"}``.
        include
            Fields to return beside id and distance: ``"documents"``, ``"metadatas"``, ``"uris"``, ``"embeddings"``.
        ef_search
            Width of the graph search: a wider one finds more of the true neighbours.
        exact
            Scan every vector instead of walking graphs.
        strong
            See every write that any process had acknowledged before.
        """
        fields = list(include)
        unknown = [field for field in fields if field not in _FIELDS]
        if unknown:
            raise InvalidArgument(f"include: expected some of {', '.join(_FIELDS)}, got {unknown[0]!r}")
        chosen = None if ids is None else list(ids)
        filters = _json("where", where), _json("where_document", where_document)
        matrix = _matrix("queries", queries)
        return SearchResult(
            *self._inner.search(matrix, k, chosen, *filters, fields, ef_search, exact, strong, bool(fields))
        )

    def get(
        self,
        ids: Sequence[str] | None = None,
        *,
        where: Mapping[str, Any] | None = None,
        where_document: Mapping[str, Any] | None = None,
        limit: int | None = None,
        offset: int = 0,
        include: Include = ("documents", "metadatas"),
        strong: bool = False,
    ) -> list[dict[str, Any]]:
        """Records as dicts, in insertion order."""
        names = None if ids is None else list(ids)
        filters = _json("where", where), _json("where_document", where_document)
        return self._inner.get(names, *filters, limit, offset, list(include), strong)[0]

    def count(
        self,
        *,
        where: Mapping[str, Any] | None = None,
        where_document: Mapping[str, Any] | None = None,
        strong: bool = False,
    ) -> int:
        """How many records there are, or match."""
        return self._inner.count(_json("where", where), _json("where_document", where_document), strong)


def _collection_of(database: Database, name: str) -> Collection:
    return database.collection(name)
