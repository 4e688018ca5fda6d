"""A vector store for LangChain. Needs ``langchain-core`` (``pip install './python[langchain]'``).

    from drumlin.langchain import DrumlinVectorStore

    store = DrumlinVectorStore(embeddings, "s3://bucket/prefix", collection="notes")
    store.add_texts(["The fog lifted."], metadatas=[{"year": 2024}])
    store.similarity_search("weather", k=1, filter={"year": {"$gte": 2020}})
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from . import connect
from ._collection import Collection
from ._database import Database
from ._diverse import diverse
from .errors import InvalidArgument

__all__ = ["DrumlinVectorStore"]

Filter = Mapping[str, Any]


class DrumlinVectorStore(VectorStore):
    """Documents in a collection of Drumlin.

    Parameters
    ----------
    embedding : Embeddings or None
        The model that makes vectors of texts; ``None`` for the collection's embedder.
    db : Database, Collection, str or path
        A store, or where it is; or a collection.
    collection : str
        The collection's name. It is created if it does not exist.
    metric : {"cosine", "l2", "ip"}
        How distance is measured, for a collection that is made. Relevance is ``1 − distance``; under ``l2`` it is
        ``1 / (1 + distance)``.
    embedder : str or mapping, optional
        The embedder of a collection that is made, as :meth:`drumlin.Database.collection` takes it.
    """

    def __init__(
        self,
        embedding: Embeddings | None,
        db: Database | Collection | str | os.PathLike[str],
        collection: str = "langchain",
        *,
        metric: str = "cosine",
        embedder: str | Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(db, Collection):
            self.collection = db
        else:
            opened = db if isinstance(db, Database) else connect(db)
            self.collection = opened.collection(collection, create=True, metric=metric, embedder=embedder)
        self._embedding = _CollectionEmbeddings(self.collection) if embedding is None else embedding
        self._metric = str(self.collection.info()["metric"])

    @property
    def embeddings(self) -> Embeddings:
        """What makes vectors of texts."""
        return self._embedding

    # Writes

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **_: Any,
    ) -> list[str]:
        """Embed and store texts. One whose id exists already is replaced; a missing id is made."""
        listed = list(texts)
        chosen = _ids(ids, len(listed))
        if listed:
            vectors = self._embedding.embed_documents(listed)
            self.collection.upsert(ids=chosen, embeddings=vectors, documents=listed, metadatas=metadatas)
        return chosen

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **_: Any,
    ) -> list[str]:
        """:meth:`add_texts` for ``await``."""
        listed = list(texts)
        chosen = _ids(ids, len(listed))
        if listed:
            vectors = await self._embedding.aembed_documents(listed)
            await self.collection.aupsert(ids=chosen, embeddings=vectors, documents=listed, metadatas=metadatas)
        return chosen

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Embed and store documents; see :meth:`add_texts`."""
        ids = kwargs.pop("ids", None) or [document.id for document in documents]
        texts, metadatas = _parts(documents)
        return self.add_texts(texts, metadatas, ids=ids, **kwargs)

    async def aadd_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """:meth:`add_documents` for ``await``."""
        ids = kwargs.pop("ids", None) or [document.id for document in documents]
        texts, metadatas = _parts(documents)
        return await self.aadd_texts(texts, metadatas, ids=ids, **kwargs)

    def delete(self, ids: list[str] | None = None, *, filter: Filter | None = None, **_: Any) -> bool | None:
        """Delete documents by id or filter; ids that do not exist are passed over."""
        if ids is None and filter is None:
            raise InvalidArgument("delete: expected ids or a filter; drop the collection to delete all")
        self.collection.delete(ids, where=filter)
        return True

    async def adelete(self, ids: list[str] | None = None, *, filter: Filter | None = None, **_: Any) -> bool | None:
        """:meth:`delete` for ``await``."""
        if ids is None and filter is None:
            raise InvalidArgument("delete: expected ids or a filter; drop the collection to delete all")
        await self.collection.adelete(ids, where=filter)
        return True

    # Reads

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Documents in the order of their ids; ids that do not exist are passed over."""
        return _in_order(ids, self.collection.get(list(ids)).to_list())

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """:meth:`get_by_ids` for ``await``."""
        return _in_order(ids, (await self.collection.aget(list(ids))).to_list())

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The ``k`` documents nearest to a text.

        ``filter`` and ``where_document`` are ``where`` and ``where_document`` of :meth:`drumlin.Collection.search`.
        """
        return self.similarity_search_by_vector(self._embedding.embed_query(query), k, **kwargs)

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """:meth:`similarity_search` for ``await``."""
        return await self.asimilarity_search_by_vector(await self._embedding.aembed_query(query), k, **kwargs)

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """The ``k`` documents nearest to a vector."""
        return [document for document, _ in self.similarity_search_with_score_by_vector(embedding, k, **kwargs)]

    async def asimilarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """:meth:`similarity_search_by_vector` for ``await``."""
        result = await self.collection.asearch(embedding, k, **_conditions(kwargs))
        return [_document(hit) for hit in result]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """The ``k`` documents nearest to a text, with their distances: smaller is nearer."""
        return self.similarity_search_with_score_by_vector(self._embedding.embed_query(query), k, **kwargs)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """:meth:`similarity_search_with_score` for ``await``."""
        vector = await self._embedding.aembed_query(query)
        result = await self.collection.asearch(vector, k, **_conditions(kwargs))
        return [(_document(hit), hit["distance"]) for hit in result]

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """The ``k`` documents nearest to a vector, with their distances."""
        result = self.collection.search(embedding, k, **_conditions(kwargs))
        return [(_document(hit), hit["distance"]) for hit in result]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        if self._metric == "l2":
            # The distance is squared.
            return lambda distance: 1.0 / (1.0 + distance)
        return lambda distance: 1.0 - distance

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Documents near a text and unlike each other: ``k`` of the nearest ``fetch_k``.

        With a ``lambda_mult`` of 1 only nearness counts, with 0 only difference.
        """
        vector = self._embedding.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, **kwargs)

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """:meth:`max_marginal_relevance_search` for ``await``."""
        vector = await self._embedding.aembed_query(query)
        return await self.amax_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Documents near a vector and unlike each other."""
        hits = self.collection.search(embedding, max(fetch_k, k), include=_ALL, **_conditions(kwargs)).to_list()
        return _diverse(embedding, hits, k, lambda_mult)

    async def amax_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """:meth:`max_marginal_relevance_search_by_vector` for ``await``."""
        result = await self.collection.asearch(embedding, max(fetch_k, k), include=_ALL, **_conditions(kwargs))
        return _diverse(embedding, result.to_list(), k, lambda_mult)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> DrumlinVectorStore:
        """A store with these texts. Other arguments are those of the class, such as ``db``."""
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> DrumlinVectorStore:
        """:meth:`from_texts` for ``await``."""
        store = cls(embedding, **kwargs)
        await store.aadd_texts(texts, metadatas, ids=ids)
        return store


class _CollectionEmbeddings(Embeddings):
    """What a collection's embedder makes of texts."""

    def __init__(self, collection: Collection) -> None:
        if collection.info()["embedder"] is None:
            raise InvalidArgument("embedding: expected a model, as the collection has no embedder; got None")
        self._collection = collection

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        made: list[list[float]] = self._collection.embed(texts).tolist()
        return made

    def embed_query(self, text: str) -> list[float]:
        made: list[float] = self._collection.embed(text, role="query")[0].tolist()
        return made

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        made: list[list[float]] = (await self._collection.aembed(texts)).tolist()
        return made

    async def aembed_query(self, text: str) -> list[float]:
        made: list[float] = (await self._collection.aembed(text, role="query"))[0].tolist()
        return made


_ALL = ("documents", "metadatas", "embeddings")


def _ids(ids: Sequence[str | None] | None, count: int) -> list[str]:
    if ids is not None and len(ids) != count:
        raise InvalidArgument(f"ids: expected one per text, got {len(ids)} for {count} texts")
    return [name or str(uuid.uuid4()) for name in (ids or [None] * count)]


def _parts(documents: list[Document]) -> tuple[list[str], list[dict[str, Any]]]:
    return [document.page_content for document in documents], [document.metadata for document in documents]


def _conditions(given: dict[str, Any]) -> dict[str, Any]:
    """LangChain's ``filter`` as ``where``; other conditions go by their own names."""
    known = {"where_document", "ids", "ef_search", "exact", "strong"}
    conditions = {name: value for name, value in given.items() if name in known}
    return {**conditions, "where": given.get("filter") or given.get("where")}


def _document(row: Mapping[str, Any]) -> Document:
    return Document(id=row["id"], page_content=row["document"] or "", metadata=row["metadata"] or {})


def _in_order(ids: Sequence[str], rows: list[dict[str, Any]]) -> list[Document]:
    found = {row["id"]: row for row in rows}
    return [_document(found[name]) for name in ids if name in found]


def _diverse(embedding: list[float], hits: list[dict[str, Any]], k: int, weight: float) -> list[Document]:
    if not hits:
        return []
    candidates = np.stack([hit["embedding"] for hit in hits])
    places = diverse(np.asarray(embedding, dtype=np.float32), candidates, k, weight)
    return [_document(hits[place]) for place in places]
