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

import atexit
import os
from typing import Any

from . import errors
from ._collection import Collection, CollectionVersion
from ._database import Database, open_database, open_database_async
from ._drumlin import __version__
from ._drumlin import end_callbacks as _end_callbacks
from ._models import Models
from ._ranked import RankedResult
from ._results import BulkResult, Records, Scan, SearchResult, WriteResult
from .errors import (
    AlreadyExists,
    Conflict,
    Corrupted,
    DrumlinError,
    ForkedProcess,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    OutcomeUnknown,
    OutOfMemory,
    RaggedResult,
    Unauthorized,
    Unavailable,
)

__all__ = [
    "AlreadyExists",
    "BulkResult",
    "Collection",
    "CollectionVersion",
    "Conflict",
    "Corrupted",
    "Database",
    "DrumlinError",
    "ForkedProcess",
    "InvalidArgument",
    "LimitExceeded",
    "Models",
    "NotFound",
    "OutOfMemory",
    "OutcomeUnknown",
    "RaggedResult",
    "RankedResult",
    "Records",
    "Scan",
    "SearchResult",
    "Unauthorized",
    "Unavailable",
    "WriteResult",
    "__version__",
    "aconnect",
    "connect",
    "errors",
]

# A thread that tells a result while the interpreter is taken down would crash it.
atexit.register(_end_callbacks)


def connect(url: str | os.PathLike[str] | None = None, **settings: Any) -> Database:
    """Open the store at ``url``.

    Parameters
    ----------
    url : str or path, optional
        ``"s3://bucket/prefix"``, ``"gs://…"``, ``"az://…"``, ``"dropbox://…"``, ``"memory://"`` or a folder's path.
        Credentials are found as the cloud's own tools find them. Without a URL, the variables of the environment say
        where the store is, as for ``drumlin serve``. Settings that are not given then come from their variables.
    memory_limit : int, optional
        Bytes that the store may hold; no limit by default. What does not fit is refused with ``OutOfMemory``.
    search_threads, index_threads : int, optional
        Searches computed at once, and threads that build graphs; by default as many as the cores allow.
    sync_interval : float, optional
        Seconds between two looks for other processes' writes; 60 by default.
    start_timeout : float, optional
        Seconds that the opening waits for a bucket that is away; 60 by default.
    create : bool, optional
        Whether a store is made where there is none; true by default.
    load_at_start : bool, optional
        Whether all collections are loaded at once, or each at its first use; true by default.
    maintenance : bool, optional
        Whether this process flushes, merges, builds graphs and collects garbage; true by default.

    Returns
    -------
    Database

    Raises
    ------
    InvalidArgument
        The URL names no place, or the bucket does not keep conditional writes.
    NotFound
        The bucket holds no store, or the folder is missing, and ``create`` is false.
    TypeError
        There is no such setting.
    Unauthorized
        The bucket refuses the credentials, or there are none. Wrong ones are refused at once; rights that are missing
        are waited for until ``start_timeout``, as new ones take time to be known.
    Unavailable
        The bucket does not answer, or there is no such bucket; the message says which.
    """
    return open_database(url, settings)


async def aconnect(url: str | os.PathLike[str] | None = None, **settings: Any) -> Database:
    """:func:`connect` for ``await``."""
    return await open_database_async(url, settings)
