"""Stores and their databases: how they are opened, here and in other processes, and the collections in them."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ._awaiting import finished
from ._collection import Collection, _info
from ._columns import as_json
from ._drumlin import Store as _Store
from ._models import Models
from .errors import AlreadyExists, DrumlinError, ForkedProcess, InvalidArgument

if TYPE_CHECKING:
    from ._drumlin import Pending


class _Home:
    """A store with its address and settings. Each process that uses it has opened it itself."""

    def __init__(self, url: str | None, settings: dict[str, Any]) -> None:
        self.url, self.settings = url, settings
        self.opened: _Store | None = None
        self.process = 0
        self.in_memory = False

    def pending(self) -> Pending:
        return _Store.open(self.url, **self.settings)

    def take(self, store: _Store) -> None:
        self.opened, self.process, self.in_memory = store, os.getpid(), store.in_memory

    def store(self) -> _Store:
        if self.opened is not None and self.process == os.getpid():
            return self.opened
        if self.opened is not None and self.in_memory:
            raise ForkedProcess("a store in memory is not in a forked process; use a folder or a bucket to share it")
        store: _Store = self.pending().wait()
        self.take(store)
        return store

    @property
    def key(self) -> tuple[str | None, str]:
        return self.url, json.dumps(self.settings, sort_keys=True)


# Stores that were opened by unpickling: several collections of one store must not open it several times.
_UNPICKLED: weakref.WeakValueDictionary[tuple[str | None, str], _Home] = weakref.WeakValueDictionary()


def _address(url: str | os.PathLike[str] | None) -> str | None:
    """A folder as an absolute path, so that another process finds it."""
    if url is None:
        return None
    text = os.fspath(url)
    return os.path.abspath(text) if text and "://" not in text else text


def open_database(url: str | os.PathLike[str] | None, settings: dict[str, Any]) -> Database:
    home = _Home(_address(url), settings)
    home.store()
    return Database(home)


async def open_database_async(url: str | os.PathLike[str] | None, settings: dict[str, Any]) -> Database:
    home = _Home(_address(url), settings)
    home.take(await finished(home.pending()))
    return Database(home)


def _reopened(url: str | None, settings: dict[str, Any], scope: tuple[str, str] | None) -> Database:
    made = _Home(url, settings)
    home = _UNPICKLED.setdefault(made.key, made)
    home.store()
    return Database(home, scope)


class Database:
    """The collections of one database in a bucket. Made by :func:`drumlin.connect`. As a context manager it closes the
    store at the end.

    It can be pickled, unless the store is in memory: the process that unpickles it opens the store by itself, with its
    own credentials. A forked process opens it anew at its first use.

    Examples
    --------
    >>> import drumlin
    >>> with drumlin.connect("memory://") as db:
    ...     notes = db.collection("notes", create=True)
    ...     db.collections()
    ['notes']
    """

    def __init__(self, home: _Home, scope: tuple[str, str] | None = None) -> None:
        self._home, self._scope = home, scope
        self._scoped: tuple[int, _Store] | None = None

    @property
    def _store(self) -> _Store:
        if self._scope is None:
            return self._home.store()
        if self._scoped is None or self._scoped[0] != os.getpid():
            self._scoped = os.getpid(), self._home.store().with_scope(*self._scope)
        return self._scoped[1]

    def __repr__(self) -> str:
        return f"drumlin.connect({self._home.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._home.in_memory:
            raise DrumlinError("a store in memory is in this process alone; use a folder or a bucket to share it")
        # No secret is among these: credentials are read from the environment, here and there.
        return _reopened, (self._home.url, self._home.settings, self._scope)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Database:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def url(self) -> str | None:
        """Where the store is; ``None`` where the environment says it."""
        return self._home.url

    def with_scope(self, tenant: str, database: str, *, create: bool = False) -> Database:
        """The same store, with its collections named in another database.

        Parameters
        ----------
        tenant, database : str
            Their names.
        create : bool
            Make them where they are not there.
        """
        if create:
            self._store.create_database(tenant, database).wait()
        return Database(self._home, (tenant, database))

    @property
    def models(self) -> Models:
        """The sentence models in the bucket."""
        return Models(self)

    # Collections

    def _create(
        self,
        name: str,
        metric: str,
        dimension: int | None,
        metadata: Mapping[str, Any] | None,
        index: tuple[int | None, int | None, int | None],
        texts: tuple[str | Mapping[str, Any] | None, Mapping[str, Any] | None],
    ) -> Pending:
        embedder, chunk = texts
        fields = {"model": embedder} if isinstance(embedder, str) else embedder
        described = None if fields is None else as_json("embedder", fields) or "{}"
        values = dict(metadata) if metadata else None
        split = None if chunk is None else as_json("chunk", chunk) or "{}"
        return self._store.create_collection(name, metric, dimension, values, *index, described, split)

    def collection(
        self,
        name: str,
        *,
        create: bool = False,
        metric: str = "cosine",
        dimension: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        m: int | None = None,
        ef_construction: int | None = None,
        ef_search: int | None = None,
        embedder: str | Mapping[str, Any] | None = None,
        chunk: Mapping[str, Any] | None = None,
    ) -> Collection:
        """The collection called ``name``.

        Parameters
        ----------
        name : str
            Unique in its database.
        create : bool
            Make it where it is not there. The parameters below are for that; of a collection that exists they change
            nothing.
        metric : {"cosine", "l2", "ip"}
            ``1 − cos(a, b)``, the *squared* Euclidean distance, or ``1 − a·b``.
        dimension : int, optional
            Floats of an embedding; by default the embedder or the first record fixes it. With 0, records have none, and
            are searched by words and by sparse vectors.
        metadata : mapping, optional
            Values to remember with the collection: bool, int, float, str, or lists of one of them.
        m, ef_construction, ef_search : int, optional
            Neighbours per node of the graphs, width of the search while they are built, and at query time. Larger
            values find more of the true neighbours, and take more time or memory.
        embedder : str or mapping, optional
            What makes embeddings of documents that come without one, and of texts that are searched for: the name of a
            model in the bucket (see :attr:`models`), or a dict of ``model``, ``query_prefix``, ``passage_prefix`` and
            ``optional``.
        chunk : mapping, optional
            How documents are split into parts, each a record with an embedding of its own: ``by`` ("sentences" or
            "tokens"), ``size`` and ``overlap``. Writes and deletes then name documents; :meth:`Collection.rank` finds
            documents by their best parts, :meth:`Collection.search` parts.

        Raises
        ------
        NotFound
            There is no such collection, and ``create`` is false.
        InvalidArgument
            The name, the metric or another value does not fit, or the embedder's model is not in the bucket.
        """
        if create:
            try:
                made = self._create(name, metric, dimension, metadata, (m, ef_construction, ef_search), (embedder, chunk))
                return Collection(made.wait(), self)
            except AlreadyExists:
                pass
        return Collection(self._store.collection(name).wait(), self)

    async def acollection(
        self,
        name: str,
        *,
        create: bool = False,
        metric: str = "cosine",
        dimension: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        m: int | None = None,
        ef_construction: int | None = None,
        ef_search: int | None = None,
        embedder: str | Mapping[str, Any] | None = None,
        chunk: Mapping[str, Any] | None = None,
    ) -> Collection:
        """:meth:`collection` for ``await``."""
        if create:
            try:
                made = self._create(name, metric, dimension, metadata, (m, ef_construction, ef_search), (embedder, chunk))
                return Collection(await finished(made), self)
            except AlreadyExists:
                pass
        return Collection(await finished(self._store.collection(name)), self)

    def collections(self, *, strong: bool = False) -> list[str]:
        """The names of the collections, sorted. ``strong`` first asks the bucket what others created and dropped."""
        return sorted(info["name"] for info in self.infos(strong=strong))

    def infos(self, *, strong: bool = False) -> list[dict[str, Any]]:
        """A dict for each collection, as :meth:`Collection.info` has it."""
        return [_info(text) for text in self._store.collections(strong).wait()]

    def __contains__(self, name: object) -> bool:
        return name in self.collections(strong=True)

    def drop(self, name: str) -> None:
        """Drop a collection, for every process. It can be restored as long as its objects are kept."""
        self._store.drop_collection(name).wait()

    def fork(self, name: str, new_name: str) -> Collection:
        """A copy of a collection under another name. The two share no object.

        Raises
        ------
        AlreadyExists
            The new name is taken.
        """
        return Collection(self._store.fork(name, new_name).wait(), self)

    def restore(
        self, name: str, new_name: str, *, version: int | None = None, at: datetime | float | None = None
    ) -> Collection:
        """An earlier state of a collection, as a new collection. The old one may be damaged, or dropped.

        Parameters
        ----------
        name, new_name : str
            The collection, and the name of the new one.
        version : int, optional
            As it was at this version.
        at : datetime or float, optional
            As it was at this time (seconds since 1970, or a datetime with a time zone), by the bucket's clock. With
            neither: the last state before any damage.

        Raises
        ------
        NotFound
            There is no such collection, or the moment is out of reach; the message says how far back it goes.
        """
        if isinstance(at, datetime):
            if at.tzinfo is None:
                raise InvalidArgument("at: expected a datetime with a time zone, got one without")
            at = at.timestamp()
        time_ms = None if at is None else round(at * 1000)
        made, _ = self._store.restore(name, new_name, version, time_ms).wait()
        return Collection(made, self)

    def past(self, name: str) -> dict[str, Any] | None:
        """Which versions of a collection can be restored: all from ``oldest`` to ``newest``, and those in ``also``.
        ``None`` where nothing of its past can be read."""
        past: dict[str, Any] | None = json.loads(self._store.past(name).wait())
        return past

    # The whole store

    def sync(self) -> dict[str, Any]:
        """Read other processes' writes now, and flush. Returns a report with an entry per collection."""
        report: dict[str, Any] = json.loads(self._store.sync().wait())
        return report

    def verify(self, collection: str | None = None) -> dict[str, Any]:
        """Check every object in the bucket, or those of one collection; writes nothing.

        Returns
        -------
        dict
            The report of ``drumlin verify --json``: what was checked, and findings with object, fault and remedy.
        """
        report: dict[str, Any] = json.loads(self._store.verify(collection).wait())
        return report

    def health(self) -> dict[str, Any]:
        """The state of the store: its bucket, its memory, and how far its collections are loaded."""
        report: dict[str, Any] = json.loads(self._store.health().wait())
        return report

    def wait_until_loaded(self) -> None:
        """Wait until every collection that there was at the opening is in memory, or has failed to load."""
        self._store.wait_until_loaded().wait()

    def close(self, timeout: float = 10.0) -> None:
        """Flush, and end the work in the background.

        What was acknowledged is safe in any case; the next opening only reads more small objects.

        Parameters
        ----------
        timeout : float
            Seconds after which flushing is given up; nothing is lost by it.
        """
        self._store.close(timeout).wait()

    async def aclose(self, timeout: float = 10.0) -> None:
        """:meth:`close` for ``await``."""
        await finished(self._store.close(timeout))
