"""Records of one collection, written from arrays, tables, lists and dicts, and read back as these."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import _bulk, _ranked
from ._awaiting import finished
from ._columns import Include, arrow, as_json, included, is_rows, listed, listed_ids, pairs, rows_of
from ._ranked import RankedResult
from ._results import BulkResult, Records, Scan, SearchResult, WriteResult
from ._vectors import is_one, matrix, some, texts_of
from .errors import InvalidArgument, Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ._database import Database
    from ._drumlin import Collection as _Collection
    from ._drumlin import Pending
    from ._drumlin import View as _View

Where = Mapping[str, Any]
_DEFAULT = ("documents", "metadatas")


class _Reads:
    """The reads that a collection, and a collection at one version, have in common."""

    @property
    def _inner(self) -> _Collection | _View:
        raise NotImplementedError

    def _embedding(self, texts: list[str], role: str) -> Pending:
        raise NotImplementedError

    def _search(
        self,
        queries: Any,
        k: int,
        ids: Any,
        filters: tuple[Where | None, Where | None],
        include: Include | str | None,
        plan: tuple[int | None, bool, bool],
    ) -> Pending:
        where, where_document = as_json("where", filters[0]), as_json("where_document", filters[1])
        return self._inner.search(
            matrix("queries", queries), k, listed_ids(ids), where, where_document, included(include), *plan
        )

    def search(
        self,
        queries: Any,
        k: int = 10,
        where: Where | None = None,
        *,
        where_document: Where | None = None,
        ids: Any = None,
        include: Include | str | None = _DEFAULT,
        ef_search: int | None = None,
        exact: bool = False,
        strong: bool = False,
    ) -> SearchResult:
        """Find the nearest records to one or several embeddings, or texts.

        Parameters
        ----------
        queries : array_like, str or sequence of str
            One embedding (d numbers) or several (q × d), at most 1,000. Or one text or several, of which the
            collection's embedder makes embeddings; :meth:`rank` searches by the words of a text, too.
        k : int
            How many neighbours of each query, at most 10,000.
        where : mapping, optional
            Only records whose metadata matches, as ``{"year": {"$gte": 2020}}``: the k nearest *of these*. Operators
            are ``$eq $ne $gt $gte $lt $lte $in $nin $contains $not_contains $startsWith $not_startsWith $exists $and
            $or``; without case ``$ieq $ine $icontains $not_icontains $istartsWith $not_istartsWith``. The value
            ``{"$date": "2024-05-01T00:00:00Z"}`` compares strings as times.
        where_document : mapping, optional
            Only records whose document matches: ``$contains``, ``$startsWith``, ``$icontains``, ``$istartsWith``,
            ``$regex``, their negations, ``$and`` and ``$or``.
        ids : sequence of str, optional
            Only these.
        include : sequence of str
            Fields to return beside id and distance: ``"documents"``, ``"metadatas"``, ``"uris"``, ``"embeddings"``.
        ef_search : int, optional
            Width of the graph search: a wider one finds more of the true neighbours, and takes longer.
        exact : bool
            Compare with every vector instead of walking graphs.
        strong : bool
            See every write that any process had acknowledged before. Otherwise this process's own writes are seen at
            once, and others' within ``sync_interval``.

        Returns
        -------
        SearchResult
            Iterates as hits; also ``.ids``, ``.distances`` (q × k, float32, smaller is nearer), and as tables.

        Raises
        ------
        InvalidArgument
            An argument does not fit, such as an embedding of another length than the collection's, or a text where the
            collection has no embedder.
        LimitExceeded
            There are too many queries, ``k`` or ids; the message names the limit.

        Examples
        --------
        >>> import drumlin
        >>> notes = drumlin.connect("memory://").collection("notes", create=True, metric="l2")
        >>> _ = notes.add(ids=["a", "b"], embeddings=[[0, 0], [3, 4]], metadatas=[{"n": 1}, {"n": 2}])
        >>> notes.search([0, 0], k=1, where={"n": {"$gt": 1}}).to_list()
        [{'id': 'b', 'distance': 25.0, 'document': None, 'metadata': {'n': 2}}]
        """
        texts = texts_of(queries)
        vectors = queries if texts is None else self._embedding(texts, "query").wait()
        pending = self._search(vectors, k, ids, (where, where_document), include, (ef_search, exact, strong))
        return SearchResult(pending.wait(), is_one(queries))

    async def asearch(
        self,
        queries: Any,
        k: int = 10,
        where: Where | None = None,
        *,
        where_document: Where | None = None,
        ids: Any = None,
        include: Include | str | None = _DEFAULT,
        ef_search: int | None = None,
        exact: bool = False,
        strong: bool = False,
    ) -> SearchResult:
        """:meth:`search` for ``await``."""
        texts = texts_of(queries)
        vectors = queries if texts is None else await finished(self._embedding(texts, "query"))
        pending = self._search(vectors, k, ids, (where, where_document), include, (ef_search, exact, strong))
        return SearchResult(await finished(pending), is_one(queries))

    def _get(
        self,
        ids: Any,
        filters: tuple[Where | None, Where | None],
        page: tuple[int | None, int],
        include: Include | str | None,
        strong: bool,
    ) -> Pending:
        where, where_document = as_json("where", filters[0]), as_json("where_document", filters[1])
        return self._inner.get(listed_ids(ids), where, where_document, *page, included(include), strong)

    def get(
        self,
        ids: Any = None,
        *,
        where: Where | None = None,
        where_document: Where | None = None,
        limit: int | None = None,
        offset: int = 0,
        include: Include | str | None = _DEFAULT,
        strong: bool = False,
    ) -> Records:
        """Read records in insertion order, whatever the order of ``ids``; unknown ids are left out.

        Parameters
        ----------
        ids, where, where_document, include, strong
            As in :meth:`search`. Without ids and filters: all records.
        limit : int, optional
            At most this many.
        offset : int
            How many to leave out first.

        Returns
        -------
        Records
            A sequence of dicts; also ``.ids``, ``.embeddings`` (n × d, float32), and as a table.

        Examples
        --------
        >>> import drumlin
        >>> notes = drumlin.connect("memory://").collection("notes", create=True)
        >>> _ = notes.add(ids=["a", "b"], embeddings=[[0, 1], [1, 0]])
        >>> records = notes.get(include=["embeddings"])
        >>> records.ids, records.embeddings.shape
        (['a', 'b'], (2, 2))
        """
        return Records(self._get(ids, (where, where_document), (limit, offset), include, strong).wait())

    async def aget(
        self,
        ids: Any = None,
        *,
        where: Where | None = None,
        where_document: Where | None = None,
        limit: int | None = None,
        offset: int = 0,
        include: Include | str | None = _DEFAULT,
        strong: bool = False,
    ) -> Records:
        """:meth:`get` for ``await``."""
        return Records(await finished(self._get(ids, (where, where_document), (limit, offset), include, strong)))

    def count(
        self, *, where: Where | None = None, where_document: Where | None = None, strong: bool = False
    ) -> int:
        """How many records there are, or match."""
        filters = as_json("where", where), as_json("where_document", where_document)
        count: int = self._inner.count(*filters, strong).wait()
        return count

    async def acount(
        self, *, where: Where | None = None, where_document: Where | None = None, strong: bool = False
    ) -> int:
        """:meth:`count` for ``await``."""
        filters = as_json("where", where), as_json("where_document", where_document)
        count: int = await finished(self._inner.count(*filters, strong))
        return count

    def scan(self, *, page_size: int = 1000, strong: bool = False) -> Scan:
        """Read all records of one version with all fields, page by page, while others write.

        Parameters
        ----------
        page_size : int
            Records of a page.
        strong : bool
            As in :meth:`search`.

        Returns
        -------
        Scan
            Iterates as pages, with ``for`` or ``async for``; also a stream for Arrow's readers, as in
            ``duckdb.sql("select … from scan")``.
        """
        return Scan(self._inner.scan(strong).wait(), page_size)


class Collection(_Reads):
    """Records of one collection. Made by :meth:`Database.collection`.

    ``add``, ``upsert``, ``update``, ``delete``, ``search``, ``embed``, ``get`` and ``count`` have async twins with the
    prefix ``a``. Several threads may call at once: the interpreter's lock is free while a call searches, encodes or
    waits.

    Examples
    --------
    >>> import drumlin
    >>> notes = drumlin.connect("memory://").collection("notes", create=True)
    >>> notes.add(ids=["fog"], embeddings=[[0.9, 0.1]], documents=["The fog lifted."], metadatas=[{"year": 2024}])
    WriteResult(applied=1, skipped=0, version=1)
    >>> notes.search([1, 0], k=1)[0]["document"]
    'The fog lifted.'
    """

    def __init__(self, inner: _Collection, database: Database) -> None:
        self._opened, self._process, self._database, self._id = inner, os.getpid(), database, inner.id

    @property
    def _inner(self) -> _Collection:
        # A forked process has none of the threads: it opens the store anew.
        if self._process != os.getpid():
            self._opened, self._process = self._database._store.collection_by_id(self._id).wait(), os.getpid()
        return self._opened

    def _embedding(self, texts: list[str], role: str) -> Pending:
        return self._inner.embed(texts, role)

    def __repr__(self) -> str:
        return f"<drumlin collection {self.name!r} in {self._database!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _collection_of, (self._database, self._id)

    def __len__(self) -> int:
        return self.count()

    @property
    def database(self) -> Database:
        """The database that it belongs to."""
        return self._database

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

    def info(self) -> dict[str, Any]:
        """What this process knows of the collection, without asking the bucket.

        Returns
        -------
        dict
            ``name``, ``id``, ``tenant``, ``database``, ``metric``, ``dimension``, ``count``, ``version``,
            ``metadata``, ``index`` (the settings of graphs), ``embedder`` and ``state``.
        """
        return _info(self._inner.info())

    # Embeddings of texts

    def embed(self, texts: Any, *, role: str = "passage") -> NDArray[np.float32]:
        """Make embeddings of texts by the collection's embedder. Nothing is stored.

        Parameters
        ----------
        texts : str or sequence of str
            n texts.
        role : {"passage", "query"}
            Whether they are documents, or are searched for: some models want another prefix before each.

        Returns
        -------
        ndarray
            n × d, float32.

        Raises
        ------
        InvalidArgument
            The collection has no embedder, or an argument does not fit.
        NotFound
            The embedder's model is not in the bucket.
        OutOfMemory
            There is no memory for the model.
        """
        made: NDArray[np.float32] = self._embedding(listed(texts) or [], role).wait()
        return made

    async def aembed(self, texts: Any, *, role: str = "passage") -> NDArray[np.float32]:
        """:meth:`embed` for ``await``."""
        made: NDArray[np.float32] = await finished(self._embedding(listed(texts) or [], role))
        return made

    # Ranked searches

    def _rank(self, options: dict[str, Any], include: Include | str | None, strong: bool) -> Pending:
        return self._inner.rank(_ranked.fields(options, include), strong)

    def rank(
        self,
        text: str | Mapping[str, Any] | None = None,
        *,
        embedding: Any = None,
        sparse: Mapping[str, Any] | None = None,
        k: int = 10,
        where: Where | None = None,
        where_document: Where | None = None,
        ids: Any = None,
        include: Include | str | None = _DEFAULT,
        fusion: Mapping[str, Any] | None = None,
        candidates: int | None = None,
        highlight: bool | Mapping[str, Any] | None = None,
        mode: str | None = None,
        rerank: Mapping[str, Any] | None = None,
        strong: bool = False,
        **more: Any,
    ) -> RankedResult:
        """Find records by a text, by sparse vectors, or by these and an embedding at once.

        Parameters
        ----------
        text : str or mapping, optional
            What documents are to be like, or have: words, ``"phrases"``, ``+must`` and ``-not``; or a dict of
            ``query``, ``minimum_match``, ``prefix`` and ``typos``.
        embedding : array_like, optional
            d numbers. Its nearest records are fused with what the other searches find.
        sparse : mapping, optional
            ``key``, ``indices`` and ``values``, and perhaps ``idf``.
        k : int
            How many records, at most 10,000.
        where, where_document, ids, include, strong
            As in :meth:`search`.
        fusion : mapping, optional
            ``{"weighted_sum": {"weights": […], "normalisation": "theoretical_min_max"}}``, the default, or
            ``{"rrf": {"k": 60, "weights": […]}}``; weights are in the order embedding, sparse, text. Other
            normalisations are ``min_max`` and ``distribution``.
        candidates : int, optional
            Records that each search finds before they are fused.
        highlight : bool or mapping, optional
            Whether, or how, hits show the words in their document.
        mode : {"meaning", "words", "both"}, optional
            Whether the text is searched for by the embedding that the collection's embedder makes of it, by its words,
            or by both, fused. By default by both where the collection has an embedder and no embedding is given, else
            by words.
        rerank : mapping, optional
            ``{"model": …, "candidates": …}``: a cross-encoder in the bucket reads the text beside each document that
            was found, and puts them into its own order.
        **more
            What else a search takes over HTTP: ``group_by``, ``facets``, ``like``, ``unlike``, ``diversity``,
            ``max_distance``.

        Returns
        -------
        RankedResult
            A sequence of hits, best first; also ``.ids``, ``.groups`` and ``.facets``.

        Raises
        ------
        InvalidArgument
            An argument does not fit; the message names it.

        Examples
        --------
        >>> import drumlin
        >>> notes = drumlin.connect("memory://").collection("notes", create=True)
        >>> documents = ["The quick brown fox", "A lazy dog"]
        >>> _ = notes.add(ids=["fox", "dog"], embeddings=[[1, 0], [0, 1]], documents=documents)
        >>> notes.rank("foxes").ids
        ['fox']
        >>> notes.rank("dog", embedding=[0, 1], include=())[0]["parts"]["text"]
        {'rank': 1, 'score': 0.7549128}
        """
        options = {"text": text, "embedding": embedding, "sparse": sparse, "k": k, "ids": listed_ids(ids), **more}
        options |= {"where": where or None, "where_document": where_document or None, "fusion": fusion}
        options |= {"candidates": candidates, "highlight": highlight, "mode": mode, "rerank": rerank}
        return _ranked.result(self._rank(options, include, strong).wait())

    async def arank(self, text: str | Mapping[str, Any] | None = None, **options: Any) -> RankedResult:
        """:meth:`rank` for ``await``."""
        include, strong = options.pop("include", _DEFAULT), options.pop("strong", False)
        options = {"text": text, "k": 10, **options, "ids": listed_ids(options.get("ids"))}
        options |= {name: options.get(name) or None for name in ("where", "where_document")}
        return _ranked.result(await finished(self._rank(options, include, strong)))

    # Writes

    def _write(self, way: str, table: Any, columns: dict[str, Any], naming: Mapping[str, str] | None) -> Pending:
        if table is not None:
            if any(value is not None for value in columns.values()):
                raise InvalidArgument("expected a table, or ids and embeddings, got both")
            if not is_rows(table):
                return self._inner.write_arrow(way, arrow(table), pairs(naming), "metadata", 0, False)
            columns = rows_of(table, naming, texts=self._inner.takes_texts)
            if not columns["ids"]:
                columns["embeddings"] = _nothing(self.dimension)
        ids = listed_ids(columns["ids"])
        if ids is None or (columns["embeddings"] is None and not self._inner.takes_texts):
            raise InvalidArgument(
                "expected ids and embeddings, or a table of records; texts alone are for collections with an embedder"
            )
        beside = (listed(columns[name]) for name in ("documents", "uris", "metadatas"))
        return self._inner.write_rows(way, ids, *some("embeddings", columns["embeddings"]), *beside)

    def add(
        self,
        table: Any = None,
        *,
        ids: Any = None,
        embeddings: Any = None,
        documents: Any = None,
        uris: Any = None,
        metadatas: Any = None,
        columns: Mapping[str, str] | None = None,
    ) -> WriteResult:
        """Insert records; one whose id exists already is skipped. They are durable when this returns.

        A call of more than 50,000 records or about 32 MiB becomes several commits, one after the other. If one fails,
        the message says how many records were written before. A smaller call is applied whole or not at all.

        Parameters
        ----------
        table : Arrow table or stream, frame, or list of dicts, optional
            Records as rows: anything with ``__arrow_c_stream__`` (pyarrow, Polars, pandas, DuckDB) or dicts.
            Columns are ``id``, ``embedding`` (or ``vector``), ``document`` (or ``text``), ``uri`` and ``metadata``;
            values of all other columns become values of metadata. In a table other common names are found as well.
            Where the collection has an embedder, the embedding may be missing, for all rows or for some.
        ids : sequence of str, optional
            Instead of a table: n ids. Integers and UUIDs become text.
        embeddings : array_like, optional
            n × d numbers: NumPy, PyTorch, JAX, CuPy, lists. float32 in C order is read in place, everything else is
            converted to it once. Where the collection has an embedder, it makes those that are not given, or are
            ``None`` in a list, of the documents. A collection of dimension 0 has none.
        documents : sequence of str or None, optional
            n texts.
        uris : sequence of str or None, optional
            n addresses of the originals.
        metadatas : sequence of dict or None, optional
            n dicts of bool, int, float, str, lists of one of them, or sparse vectors: dicts of ``indices`` and ``values``.
        columns : mapping of str to str, optional
            Names of a table's columns, or of the keys of dicts, as ``{"embedding": "vector_768"}``.

        Returns
        -------
        WriteResult
            How many were inserted and skipped, and at which version.

        Raises
        ------
        InvalidArgument, LimitExceeded
            A value does not fit, or is beyond a limit; its commit was not written.
        Unavailable, OutOfMemory
            The bucket refuses or does not answer, or memory is short; the commit was not written.
        OutcomeUnknown
            The bucket did not say whether it has them. Add them again: an id is added once.

        Examples
        --------
        >>> import drumlin, numpy as np
        >>> notes = drumlin.connect("memory://").collection("notes", create=True)
        >>> notes.add(ids=["a", "b"], embeddings=np.eye(2, dtype=np.float32)).applied
        2
        >>> notes.add([{"id": "b", "vector": [1, 1]}, {"id": "c", "vector": [0, 1], "year": 2025}])
        WriteResult(applied=1, skipped=1, version=2)
        """
        given = {"ids": ids, "embeddings": embeddings, "documents": documents, "uris": uris, "metadatas": metadatas}
        return _written(self._write("add", table, given, columns).wait())

    async def aadd(
        self,
        table: Any = None,
        *,
        ids: Any = None,
        embeddings: Any = None,
        documents: Any = None,
        uris: Any = None,
        metadatas: Any = None,
        columns: Mapping[str, str] | None = None,
    ) -> WriteResult:
        """:meth:`add` for ``await``."""
        given = {"ids": ids, "embeddings": embeddings, "documents": documents, "uris": uris, "metadatas": metadatas}
        return _written(await finished(self._write("add", table, given, columns)))

    def upsert(
        self,
        table: Any = None,
        *,
        ids: Any = None,
        embeddings: Any = None,
        documents: Any = None,
        uris: Any = None,
        metadatas: Any = None,
        columns: Mapping[str, str] | None = None,
    ) -> WriteResult:
        """Insert records, or replace those whose ids exist. Parameters and errors as in :meth:`add`."""
        given = {"ids": ids, "embeddings": embeddings, "documents": documents, "uris": uris, "metadatas": metadatas}
        return _written(self._write("upsert", table, given, columns).wait())

    async def aupsert(
        self,
        table: Any = None,
        *,
        ids: Any = None,
        embeddings: Any = None,
        documents: Any = None,
        uris: Any = None,
        metadatas: Any = None,
        columns: Mapping[str, str] | None = None,
    ) -> WriteResult:
        """:meth:`upsert` for ``await``."""
        given = {"ids": ids, "embeddings": embeddings, "documents": documents, "uris": uris, "metadatas": metadatas}
        return _written(await finished(self._write("upsert", table, given, columns)))

    def _update(self, ids: Any, embeddings: Any, documents: Any, uris: Any, metadatas: Any) -> Pending:
        beside = (listed(values) for values in (documents, uris, metadatas))
        return self._inner.update(listed_ids(ids) or [], *some("embeddings", embeddings), *beside)

    def update(
        self,
        ids: Any,
        *,
        embeddings: Any = None,
        documents: Any = None,
        uris: Any = None,
        metadatas: Any = None,
    ) -> WriteResult:
        """Change existing records; ids that do not exist are skipped. What is ``None`` stays as it is.

        Parameters
        ----------
        ids : sequence of str
            n ids.
        embeddings : array_like, optional
            n × d numbers. A new document without one gets one of the collection's embedder, if there is one.
        documents, uris : sequence of str or None, optional
            n texts.
        metadatas : sequence of dict or None, optional
            n dicts. A key is set to its value, or removed where the value is ``None``; all other keys stay.

        Examples
        --------
        >>> import drumlin
        >>> notes = drumlin.connect("memory://").collection("notes", create=True)
        >>> _ = notes.add(ids=["a"], embeddings=[[0, 1]], metadatas=[{"year": 2024, "draft": True}])
        >>> notes.update(["a"], metadatas=[{"year": 2025, "draft": None}]).applied
        1
        >>> notes.get("a")[0]["metadata"]
        {'year': 2025}
        """
        return _written(self._update(ids, embeddings, documents, uris, metadatas).wait())

    async def aupdate(
        self,
        ids: Any,
        *,
        embeddings: Any = None,
        documents: Any = None,
        uris: Any = None,
        metadatas: Any = None,
    ) -> WriteResult:
        """:meth:`update` for ``await``."""
        return _written(await finished(self._update(ids, embeddings, documents, uris, metadatas)))

    def _delete(self, ids: Any, where: Where | None, where_document: Where | None, limit: int | None) -> Pending:
        if ids is None and not where and not where_document:
            raise InvalidArgument("delete: expected ids, where or where_document; drop the collection to delete all")
        filters = as_json("where", where), as_json("where_document", where_document)
        return self._inner.delete(listed_ids(ids), *filters, limit)

    def delete(
        self,
        ids: Any = None,
        *,
        where: Where | None = None,
        where_document: Where | None = None,
        limit: int | None = None,
    ) -> WriteResult:
        """Delete the records that satisfy all the given conditions; see :meth:`search` for the filters. At least one of
        ``ids``, ``where`` and ``where_document`` must be given.

        Parameters
        ----------
        ids : sequence of str, optional
            Only these.
        where, where_document : mapping, optional
            Only those that match.
        limit : int, optional
            At most this many, in insertion order.
        """
        return _written(self._delete(ids, where, where_document, limit).wait())

    async def adelete(
        self,
        ids: Any = None,
        *,
        where: Where | None = None,
        where_document: Where | None = None,
        limit: int | None = None,
    ) -> WriteResult:
        """:meth:`delete` for ``await``."""
        return _written(await finished(self._delete(ids, where, where_document, limit)))

    def add_batches(
        self,
        source: Any,
        *,
        columns: Mapping[str, str] | None = None,
        others: str = "metadata",
        upsert: bool = False,
        batch_rows: int = 20_000,
        in_flight: int = 4,
        progress: bool | Callable[[int, int], None] = False,
        resume: str | None = None,
        bad_rows: str = "refuse",
    ) -> BulkResult:
        """Insert the rows of a large source in large commits, several under way at once. Needs pyarrow.

        Parameters
        ----------
        source
            An iterable of tables, frames, record batches or lists of dicts; a path or glob of Parquet files; a pyarrow
            dataset or reader; a Polars ``LazyFrame``; a Hugging Face ``Dataset``.
        columns, others
            Which column is what, as in :meth:`add`; and what becomes of other columns: ``"metadata"``, ``"ignore"`` or
            ``"refuse"``.
        upsert : bool
            Replace records whose ids exist instead of skipping them. Where an id comes twice in the source, either row
            may be the one that stays.
        batch_rows : int
            Most rows of one commit.
        in_flight : int
            Commits under way at once: while one is sent, others are encoded.
        progress : bool or callable
            A bar of tqdm, or lines on standard error where tqdm is missing; or a function that is called with the
            rows and bytes so far.
        resume : str, optional
            A name for this import. How far it came is kept in the collection's metadata, under ``"import:"`` and the
            name; a later call with the same name and source passes over those rows.
        bad_rows : {"refuse", "set aside"}
            Whether a row that cannot be a record ends the import, or is listed in the result with its number.

        Returns
        -------
        BulkResult

        Raises
        ------
        InvalidArgument
            There is no such file, or a row does not fit; the message has the row's number, from 0. Other rows may have
            been added.
        """
        return _bulk.add_batches(
            self,
            source,
            _bulk.Options(columns, others, upsert, batch_rows, in_flight, progress, resume, bad_rows),
        )

    # Itself

    def rename(self, name: str) -> None:
        """Rename the collection, for every process."""
        self._database._store.modify(self._id, name=name).wait()

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Replace the collection's metadata with these values."""
        self._database._store.modify(self._id, metadata=dict(metadata)).wait()

    def update_metadata(self, values: Mapping[str, Any]) -> None:
        """Set values of the collection's metadata, ``None`` to remove a key. The other keys stay, also those that
        another process sets at the same time.
        """
        self._database._store.modify(self._id, values=dict(values)).wait()

    def at(self, version: int | None = None) -> CollectionVersion:
        """The collection at one version, for reads that all see the same records, whatever is written meanwhile.

        Parameters
        ----------
        version : int, optional
            By default the newest that any process has acknowledged. An earlier one is loaded from the bucket, as long
            as it can be restored (:meth:`Database.past` says which), and takes as much memory again.

        Raises
        ------
        NotFound
            The version is out of reach, or not there yet.
        OutOfMemory
            There is no room for an earlier version within the memory limit.

        Examples
        --------
        >>> import drumlin
        >>> notes = drumlin.connect("memory://").collection("notes", create=True)
        >>> first = notes.add(ids=["a"], embeddings=[[0, 1]]).version
        >>> _ = notes.add(ids=["b"], embeddings=[[1, 0]])
        >>> notes.at(first).get().ids, notes.at().count()
        (['a'], 2)
        """
        return CollectionVersion(self, version)

    def sql_view(self, name: str | None = None, *, version: int | None = None) -> str:
        """A view in SQL with which DuckDB reads the live records out of the bucket, without this process.

        The view leaves out replaced and deleted rows. Its columns are ``id``, ``document``, ``uri``, ``metadata``
        (JSON) and ``embedding`` (``FLOAT[d]``); its rows are in no order. DuckDB opens the bucket with its own
        credentials; comments in the text say how. The view stays at its version. Objects that it names are deleted
        some time after merges replaced them, by default an hour: then make a new view.

        Parameters
        ----------
        name : str, optional
            What the view is called; by default as the collection.
        version : int, optional
            By default the newest that any process has acknowledged. An earlier one works as long as it can be
            restored (:meth:`Database.past` says which).

        Returns
        -------
        str
            One statement, ``CREATE OR REPLACE VIEW``, with comments in front.

        Raises
        ------
        NotFound
            The version is out of reach, or not there yet.
        InvalidArgument
            DuckDB cannot open this kind of bucket: memory, Dropbox.
        LimitExceeded
            The version lies in more than 10,000 objects.

        Examples
        --------
        >>> import drumlin, tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> notes = drumlin.connect(folder.name).collection("notes", create=True)
        >>> _ = notes.add(ids=["a"], embeddings=[[0, 1]])
        >>> print(notes.sql_view().splitlines()[0])
        -- Collection "notes" at version 1, for DuckDB. Segments: 0, commits: 1.
        """
        view: str = self._database._store.sql_view(self.name, version, name).wait()
        return view

    def reembed(
        self,
        embedder: str | Mapping[str, Any],
        *,
        metric: str | None = None,
        progress: bool | Callable[[int, int], None] = False,
    ) -> dict[str, Any]:
        """Make new embeddings of all documents with another embedder, and wait until the collection has them.

        The collection is read and written as before meanwhile. It then is a new collection of the same name, which this
        object stands for from then on. What was interrupted goes on when it is asked for again, here or in another
        process. Ctrl-C ends the wait, not the work; :meth:`stop_reembedding` ends the work.

        Parameters
        ----------
        embedder : str or mapping
            As in :meth:`Database.collection`.
        metric : {"cosine", "l2", "ip"}, optional
            How distance is measured then; by default as before.
        progress : bool or callable
            True prints how far it is. A callable is called with the records that are done, and with all.

        Returns
        -------
        dict
            As :meth:`reembedding`.

        Raises
        ------
        InvalidArgument
            Records have no document, or the embedder cannot be used.
        Conflict
            Another embedder's work was begun: stop it first.
        """
        fields = {"model": embedder} if isinstance(embedder, str) else embedder
        store, name = self._database._store, self.name
        store.reembed(self._id, as_json("embedder", fields) or "{}", metric).wait()
        shown = 0.0
        while (status := self.reembedding())["state"] == "running":
            done, of = status["embedded"], status["of"]
            if callable(progress):
                progress(done, of)
            elif progress and time.monotonic() - shown > 1:
                shown = time.monotonic()
                print(f"{done:,} of {of:,} records, {status['texts_per_s']:,} texts/s", file=sys.stderr)
            time.sleep(0.1)
        if status["state"] != "done":
            raise Unavailable(f"collection {name!r} was not embedded anew: {status.get('error', status['state'])}")
        made = store.collection(name).wait()
        self._opened, self._process, self._id = made, os.getpid(), made.id
        return status

    def reembedding(self) -> dict[str, Any]:
        """How the new embedding of the collection is doing.

        Returns
        -------
        dict
            ``state`` (``none``, ``running``, ``elsewhere``, ``done`` or ``failed``), ``embedded`` and ``of`` (records),
            ``texts_per_s``, and where there is one ``embedder`` and ``error``.
        """
        status: dict[str, Any] = json.loads(self._database._store.reembedding(self._id).wait())
        return status

    def stop_reembedding(self) -> None:
        """Stop the new embedding of the collection, and drop what it has made.

        Raises
        ------
        NotFound
            There is none.
        """
        self._database._store.stop_reembedding(self._id).wait()

    def fork(self, name: str) -> Collection:
        """A copy of the collection under another name; the two share no object. See :meth:`Database.fork`."""
        return self._database.fork(self.name, name)


class CollectionVersion(_Reads):
    """A collection at one version, for :meth:`search`, :meth:`get`, :meth:`count` and :meth:`scan`. Made by
    :meth:`Collection.at`.

    It keeps that version in memory as long as it lives. It can be pickled: another process loads the same version.
    ``strong`` has no effect here.
    """

    def __init__(self, collection: Collection, version: int | None) -> None:
        self._collection = collection
        self._opened: _View = collection._database._store.collection_at(collection.name, version).wait()
        self._process = os.getpid()
        self._version: int = self._opened.version

    @property
    def _inner(self) -> _View:
        if self._process != os.getpid():
            store = self._collection._database._store
            self._opened = store.collection_at(self._collection.name, self._version).wait()
            self._process = os.getpid()
        return self._opened

    def _embedding(self, texts: list[str], role: str) -> Pending:
        return self._collection._embedding(texts, role)

    @property
    def version(self) -> int:
        """The version."""
        return self._version

    @property
    def collection(self) -> Collection:
        """The collection, which may have moved on."""
        return self._collection

    def __len__(self) -> int:
        return self.count()

    def __repr__(self) -> str:
        return f"<version {self._version} of {self._collection!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return CollectionVersion, (self._collection, self._version)


def _collection_of(database: Database, identity: str) -> Collection:
    return Collection(database._store.collection_by_id(identity).wait(), database)


def _written(answer: Any) -> WriteResult:
    applied, skipped, version = answer[:3]
    return WriteResult(applied, skipped, version)


def _info(text: str) -> dict[str, Any]:
    info: dict[str, Any] = json.loads(text)
    return info


def _nothing(dimension: int | None) -> Any:
    import numpy as np

    return np.empty((0, dimension or 1), dtype=np.float32)
