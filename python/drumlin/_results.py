"""Answers: outcomes of writes, hits of searches, records, and scans of a whole collection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from ._awaiting import finished
from .errors import RaggedResult

if TYPE_CHECKING:
    from ._drumlin import Answer as _Answer
    from ._drumlin import Records as _Records
    from ._drumlin import Scan as _Scan


@dataclass(frozen=True)
class WriteResult:
    """What a write did.

    Attributes
    ----------
    applied : int
        Records inserted, changed or deleted.
    skipped : int
        Records left alone: adds of ids that exist, updates and deletes of ids that do not.
    version : int
        The version of the collection after the write; :meth:`Collection.at` reads it.
    """

    applied: int
    skipped: int
    version: int


@dataclass(frozen=True)
class BulkResult(WriteResult):
    """What :meth:`Collection.add_batches` did.

    Attributes
    ----------
    rows : int
        Rows read from the source, those of an earlier run that were passed over included.
    bad_rows : list of (int, str)
        Rows that were set aside: their numbers in the source, from 0, and why.
    seconds : float
        How long it took.
    """

    rows: int = 0
    bad_rows: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0


class _Tabular:
    """Answers that have ``__arrow_c_stream__``, as tables of the libraries that read it."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        raise NotImplementedError

    def to_arrow(self) -> Any:
        """One ``pyarrow.Table`` with a row per record. Metadata is a column of JSON text."""
        import pyarrow as pa

        return pa.table(self)

    def to_pandas(self) -> Any:
        """One ``pandas.DataFrame`` with a row per record (needs pyarrow)."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """One ``polars.DataFrame`` with a row per record."""
        import polars

        return polars.DataFrame(self)


class SearchResult(_Tabular):
    """The answer to a search.

    It iterates as hits: of one query as dicts, nearest first; of several queries as one list of dicts for each. As a
    table (``to_arrow``, ``to_pandas``, ``to_polars``) it has a row per hit, and the columns ``query``, ``id``,
    ``distance`` and the included fields.

    Examples
    --------
    >>> import drumlin
    >>> notes = drumlin.connect("memory://").collection("notes", create=True, metric="l2")
    >>> _ = notes.add(ids=["fog", "river"], embeddings=[[0, 1], [3, 1]])
    >>> for hit in notes.search([0, 1], k=2, include=()):
    ...     print(hit["id"], hit["distance"])
    fog 0.0
    river 9.0
    >>> result = notes.search([[0, 1], [3, 1]], k=2)
    >>> result.ids
    [['fog', 'river'], ['river', 'fog']]
    >>> result.distances.shape
    (2, 2)
    """

    def __init__(self, answer: _Answer, one: bool) -> None:
        self._answer, self._one = answer, one

    @property
    def version(self) -> int:
        """The version of the collection that was searched."""
        return self._answer.version

    @property
    def ids(self) -> list[list[str]]:
        """For each query the ids, nearest first: q lists of at most k."""
        return self._answer.ids

    @property
    def lengths(self) -> list[int]:
        """For each query how many hits it has: k, or fewer where fewer records match."""
        return self._answer.lengths

    @property
    def is_ragged(self) -> bool:
        """Whether the lists differ in length, so that they are no array."""
        return len(set(self.lengths)) > 1

    @property
    def distances(self) -> NDArray[np.float32]:
        """The distances, q × k, float32; smaller is nearer.

        Raises
        ------
        RaggedResult
            The lists differ in length: use ``distance_lists``, or ``padded``.
        """
        lengths = self.lengths
        if len(set(lengths)) > 1:
            raise RaggedResult(
                f"the lists have {min(lengths)} to {max(lengths)} hits, which is no array; "
                "use distance_lists, or padded(), which fills up with infinity"
            )
        return self._answer.distances.reshape(len(lengths), lengths[0] if lengths else 0)

    @property
    def distance_lists(self) -> list[NDArray[np.float32]]:
        """For each query the distances, float32."""
        lengths = self.lengths
        return np.split(self._answer.distances, np.cumsum(lengths)[:-1]) if lengths else []

    def padded(self, missing: str = "") -> tuple[list[list[str]], NDArray[np.float32]]:
        """Ids (q lists) and distances (q × k, float32): shorter lists are filled up with ``missing`` and infinity."""
        most = max(self.lengths, default=0)
        ids = [row + [missing] * (most - len(row)) for row in self.ids]
        distances = np.full((len(ids), most), np.inf, dtype=np.float32)
        for place, row in enumerate(self.distance_lists):
            distances[place, : len(row)] = row
        return ids, distances

    def to_list(self) -> list[Any]:
        """The hits as dicts: a list for one query, a list of lists for several."""
        if self._one:
            return self._answer.hits(0)
        return [self._answer.hits(query) for query in range(len(self.lengths))]

    def __len__(self) -> int:
        lengths = self.lengths
        return (lengths[0] if lengths else 0) if self._one else len(lengths)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_list())

    def __getitem__(self, place: int | slice) -> Any:
        return self.to_list()[place]

    def __repr__(self) -> str:
        lengths = self.lengths
        return f"<drumlin search result: {len(lengths)} queries, {sum(lengths)} hits, version {self.version}>"

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._answer.__arrow_c_stream__(requested_schema)


class Records(_Tabular, Sequence[dict[str, Any]]):
    """Records in insertion order: a sequence of dicts, and a table.

    Attributes
    ----------
    version : int
        The version of the collection that was read.
    """

    def __init__(self, inner: _Records) -> None:
        self._inner = inner
        self._rows: list[dict[str, Any]] | None = None

    @property
    def version(self) -> int:
        """The version of the collection that was read."""
        return self._inner.version

    @property
    def ids(self) -> list[str]:
        """The n ids."""
        return self._inner.ids

    @property
    def embeddings(self) -> NDArray[np.float32] | None:
        """n × d, float32; ``None`` where ``include`` does not name them."""
        return self._inner.embeddings

    def to_list(self) -> list[dict[str, Any]]:
        """The records as dicts."""
        if self._rows is None:
            self._rows = self._inner.rows()
        return self._rows

    def __len__(self) -> int:
        return len(self._inner)

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self.to_list()[place]

    def __repr__(self) -> str:
        return f"<{len(self)} drumlin records, version {self.version}>"

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._inner.__arrow_c_stream__(requested_schema)


class Scan(_Tabular):
    """All records of one version, in insertion order, with all fields.

    It iterates as pages (:class:`Records`). As a table it is a stream: each batch is made when it is asked for, so
    that pyarrow, DuckDB or Polars read a collection that is larger than the memory left. It keeps its version in
    memory as long as it lives, and can be read once.

    Examples
    --------
    >>> import drumlin
    >>> notes = drumlin.connect("memory://").collection("notes", create=True)
    >>> _ = notes.add(ids=["a", "b", "c"], embeddings=[[0, 1], [1, 0], [1, 1]])
    >>> [page.ids for page in notes.scan(page_size=2)]
    [['a', 'b'], ['c']]
    """

    def __init__(self, inner: _Scan, page_size: int) -> None:
        self._inner, self._page_size = inner, page_size

    @property
    def version(self) -> int:
        """The version that is read."""
        return self._inner.version

    def __len__(self) -> int:
        """How many records there are in all."""
        return len(self._inner)

    def __iter__(self) -> Iterator[Records]:
        while page := Records(self._inner.next_page(self._page_size).wait()):
            yield page

    async def __aiter__(self) -> AsyncIterator[Records]:
        while page := Records(await finished(self._inner.next_page(self._page_size))):
            yield page

    def __repr__(self) -> str:
        return f"<drumlin scan of {len(self)} records, version {self.version}>"

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._inner.__arrow_c_stream__(requested_schema)
