"""Drumlin: a vector database whose only disk is a bucket, in this process.

>>> import drumlin
>>> db = drumlin.connect("memory://")
>>> notes = db.collection("notes", create=True)
>>> notes.add(ids=["fog", "river"], embeddings=[[0.9, 0.1], [0.7, 0.7]]).applied
2
>>> notes.search([1.0, 0.0], k=1).ids
[['fog']]
"""

from __future__ import annotations

import os
from typing import Any

from . import errors
from ._collection import Collection, SearchResult, WriteResult
from ._drumlin import Store as _Store
from ._drumlin import __version__
from .errors import (
    AlreadyExists,
    Conflict,
    Corrupted,
    DrumlinError,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    OutcomeUnknown,
    OutOfMemory,
    Unavailable,
)

__all__ = [
    "AlreadyExists",
    "Collection",
    "Conflict",
    "Corrupted",
    "Database",
    "DrumlinError",
    "InvalidArgument",
    "LimitExceeded",
    "NotFound",
    "OutOfMemory",
    "OutcomeUnknown",
    "SearchResult",
    "Unavailable",
    "WriteResult",
    "__version__",
    "connect",
    "errors",
]


def connect(url: str | os.PathLike[str] = "./drumlin-data", **settings: Any) -> Database:
    """Open the store at ``url``.

    Parameters
    ----------
    url
        ``"s3://bucket/prefix"``, ``"gs://…"``, ``"az://…"``, ``"dropbox://…"``, ``"memory://"`` or the path of a folder.
        Credentials are found as the cloud's own tools find them.
    memory_limit : int, optional
        Bytes that the store may hold; no limit by default.
    search_threads, index_threads : int, optional
        Searches computed at once, and threads that build graphs; by default as many as the cores allow.
    sync_interval : float, optional
        Seconds between two looks for other processes' writes; 60 by default.
    create : bool, optional
        Whether a store is made where there is none; true by default.

    Raises
    ------
    InvalidArgument
        The URL names no place, or the bucket lacks what Drumlin needs.
    Unavailable
        The bucket does not answer.
    """
    return Database(_Store(os.fspath(url), **settings), settings)


def _reopen(url: str, settings: dict[str, Any], scope: tuple[str, str] | None) -> Database:
    database = connect(url, **settings)
    return database.with_scope(*scope) if scope else database


class Database:
    """All collections of one bucket. Made by :func:`connect`. A context manager that closes it."""

    def __init__(self, store: _Store, settings: dict[str, Any], scope: tuple[str, str] | None = None) -> None:
        self._store, self._settings, self._scope = store, settings, scope

    def __repr__(self) -> str:
        return f"drumlin.connect({self._store.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Address and settings: the process that unpickles it opens the store by itself, with its own credentials.
        return _reopen, (self._store.url, self._settings, self._scope)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def with_scope(self, tenant: str, database: str) -> Database:
        """The same store, with its collections named in another database."""
        return Database(self._store.with_scope(tenant, database), self._settings, (tenant, database))

    def collection(
        self,
        name: str,
        *,
        create: bool = False,
        metric: str = "cosine",
        dimension: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Collection:
        """The collection called ``name``.

        Parameters
        ----------
        create
            Make it where it is not there; the other parameters are for that.
        metric
            ``"cosine"``, ``"l2"`` or ``"ip"``.
        dimension
            Floats of an embedding; by default the first record fixes it.

        Raises
        ------
        NotFound
            There is no such collection, and ``create`` is false.
        """
        if create:
            try:
                return Collection(self._store.create_collection(name, metric, dimension, metadata), self)
            except AlreadyExists:
                pass
        return Collection(self._store.collection(name), self)

    def collections(self, *, strong: bool = False) -> list[str]:
        """The names of the collections. ``strong`` shows what other processes created and dropped before."""
        return self._store.collections(strong)

    def drop(self, name: str) -> None:
        """Drop a collection, for every process."""
        self._store.drop_collection(name)

    def sync(self) -> None:
        """Read other processes' writes now."""
        self._store.sync()

    def close(self, timeout: float = 10.0) -> None:
        """Flush, and end the work in the background. What was acknowledged is safe in any case."""
        self._store.close(timeout)
