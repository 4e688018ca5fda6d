"""A vector store for LlamaIndex. Needs ``llama-index-core`` (``pip install './python[llama-index]'``).

    from drumlin.llama_index import DrumlinVectorStore
    from llama_index.core import StorageContext, VectorStoreIndex

    store = DrumlinVectorStore("s3://bucket/prefix", collection="notes")
    index = VectorStoreIndex(nodes, storage_context=StorageContext.from_defaults(vector_store=store))
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import (
    build_metadata_filter_fn,
    metadata_dict_to_node,
    node_to_metadata_dict,
)

from . import connect
from ._collection import Collection
from ._database import Database
from ._diverse import diverse
from ._ranked import RankedResult
from .errors import InvalidArgument

__all__ = ["DrumlinVectorStore"]

# Operators of filters that the store answers by itself, by their names there.
_OPERATORS = {
    FilterOperator.EQ: "$eq",
    FilterOperator.NE: "$ne",
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
    FilterOperator.IN: "$in",
    FilterOperator.NIN: "$nin",
}


_WITH_WORDS = (VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.HYBRID)


class DrumlinVectorStore(BasePydanticVectorStore):
    """Nodes in a collection of Drumlin.

    The modes are DEFAULT, MMR, TEXT_SEARCH and HYBRID. Search by text needs no embedding: it finds the words of
    ``query_str`` by BM25. HYBRID fuses both; ``alpha`` weighs the embedding, 1 − ``alpha`` the words. All operators of filters work. The store answers ``== != > >= < <= in nin`` by
    itself; for the others, and for NOT, the metadata of all nodes is read and compared here first.

    Parameters
    ----------
    db : Database, Collection, str or path
        A store, or where it is; or a collection.
    collection : str
        The collection's name. It is created if it does not exist.
    metric : {"cosine", "l2", "ip"}
        How distance is measured, for a collection that is made.
    """

    stores_text: bool = True
    flat_metadata: bool = False

    _collection: Collection = PrivateAttr()
    _metric: str = PrivateAttr()

    def __init__(
        self,
        db: Database | Collection | str | os.PathLike[str],
        collection: str = "llama_index",
        *,
        metric: str = "cosine",
    ) -> None:
        super().__init__(stores_text=True)
        if isinstance(db, Collection):
            self._collection = db
        else:
            opened = db if isinstance(db, Database) else connect(db)
            self._collection = opened.collection(collection, create=True, metric=metric)
        self._metric = str(self._collection.info()["metric"])

    @classmethod
    def class_name(cls) -> str:
        """The class's name, for LlamaIndex."""
        return "DrumlinVectorStore"

    @property
    def client(self) -> Collection:
        """The collection."""
        return self._collection

    # Writes

    def add(self, nodes: Sequence[BaseNode], **_: Any) -> list[str]:
        """Store nodes with their embeddings. One whose id exists already is replaced."""
        if nodes:
            self._collection.upsert(**_columns(nodes))
        return [node.node_id for node in nodes]

    async def async_add(self, nodes: Sequence[BaseNode], **_: Any) -> list[str]:
        """:meth:`add` for ``await``."""
        if nodes:
            await self._collection.aupsert(**_columns(nodes))
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **_: Any) -> None:
        """Delete the nodes of a document."""
        self._collection.delete(where={"ref_doc_id": ref_doc_id})

    async def adelete(self, ref_doc_id: str, **_: Any) -> None:
        """:meth:`delete` for ``await``."""
        await self._collection.adelete(where={"ref_doc_id": ref_doc_id})

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **_: Any
    ) -> None:
        """Delete nodes by id, by filter, or by both."""
        if node_ids is None and not (filters and filters.filters):
            raise InvalidArgument("delete_nodes: expected node_ids or filters; clear() deletes all")
        ids, where = self._selected(node_ids, filters, None)
        self._collection.delete(ids, where=where)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **_: Any
    ) -> None:
        """:meth:`delete_nodes` for ``await``."""
        self.delete_nodes(node_ids, filters)

    def clear(self) -> None:
        """Delete all nodes."""
        ids = self._collection.get(include=()).ids
        if ids:
            self._collection.delete(ids)

    # Reads

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Nodes by id, by filter, or by both, in insertion order."""
        ids, where = self._selected(node_ids, filters, None)
        return [_node(row) for row in self._collection.get(ids, where=where)]

    def query(self, query: VectorStoreQuery, **_: Any) -> VectorStoreQueryResult:
        """The nodes nearest to an embedding, or those that have the words of a text, or both fused.

        Similarities are ``1 − distance``, under ``l2`` ``1 / (1 + distance)``: larger is nearer. With words they are the
        scores of :meth:`Collection.rank`.
        """
        ids, where = self._selected(query.node_ids, query.filters, query.doc_ids)
        if query.mode in _WITH_WORDS:
            return _ranked(self._collection.rank(**_rank(query, ids, where)))
        return self._answer(query, self._collection.search(**_search(query, ids, where)).to_list())

    async def aquery(self, query: VectorStoreQuery, **_: Any) -> VectorStoreQueryResult:
        """:meth:`query` for ``await``."""
        ids, where = self._selected(query.node_ids, query.filters, query.doc_ids)
        if query.mode in _WITH_WORDS:
            return _ranked(await self._collection.arank(**_rank(query, ids, where)))
        result = await self._collection.asearch(**_search(query, ids, where))
        return self._answer(query, result.to_list())

    def _answer(self, query: VectorStoreQuery, hits: list[dict[str, Any]]) -> VectorStoreQueryResult:
        if query.mode == VectorStoreQueryMode.MMR and hits:
            weight = 0.5 if query.mmr_threshold is None else query.mmr_threshold
            candidates = np.stack([hit["embedding"] for hit in hits])
            vector = np.asarray(query.query_embedding, dtype=np.float32)
            hits = [hits[place] for place in diverse(vector, candidates, query.similarity_top_k, weight)]
        return VectorStoreQueryResult(
            nodes=[_node(hit) for hit in hits],
            similarities=[self._likeness(hit["distance"]) for hit in hits],
            ids=[hit["id"] for hit in hits],
        )

    def _likeness(self, distance: float) -> float:
        return 1.0 / (1.0 + distance) if self._metric == "l2" else 1.0 - distance

    def _selected(
        self, ids: list[str] | None, filters: MetadataFilters | None, doc_ids: list[str] | None
    ) -> tuple[list[str] | None, dict[str, Any] | None]:
        """The ids and the filter that stand for all conditions."""
        documents = [{"ref_doc_id": {"$in": list(doc_ids)}}] if doc_ids else []
        if filters is None or not filters.filters:
            return ids, documents[0] if documents else None
        where = _where(filters)
        if where is not None:
            conditions = [*documents, where]
            return ids, conditions[0] if len(conditions) == 1 else {"$and": conditions}
        rows = self._collection.get(ids, where=documents[0] if documents else None, include=("metadatas",))
        metadatas = {row["id"]: row["metadata"] or {} for row in rows}
        return [name for name in metadatas if _matches(name, metadatas, filters)], None


def _where(filters: MetadataFilters) -> dict[str, Any] | None:
    """The filter in the store's language; ``None`` where it has no word for it."""
    if filters.condition == FilterCondition.NOT:
        return None
    parts = [_where(part) if isinstance(part, MetadataFilters) else _condition(part) for part in filters.filters]
    if any(part is None for part in parts):
        return None
    if len(parts) == 1:
        return parts[0]
    return {"$or" if filters.condition == FilterCondition.OR else "$and": parts}


def _condition(part: MetadataFilter) -> dict[str, Any] | None:
    operator = _OPERATORS.get(part.operator)
    if operator is None or part.value is None:
        return None
    return {part.key: {operator: part.value}}


def _matches(name: str, metadatas: dict[str, dict[str, Any]], filters: MetadataFilters) -> bool:
    """Whether a node matches, by LlamaIndex's own comparison. Filters within filters are taken apart here."""
    outcomes = []
    for part in filters.filters:
        if isinstance(part, MetadataFilters):
            outcomes.append(_matches(name, metadatas, part))
        else:
            alone = MetadataFilters(filters=[part], condition=FilterCondition.AND)
            outcomes.append(build_metadata_filter_fn(lambda node: metadatas[node], alone)(name))
    if filters.condition == FilterCondition.NOT:
        return not any(outcomes)
    return any(outcomes) if filters.condition == FilterCondition.OR else all(outcomes)


def _search(query: VectorStoreQuery, ids: list[str] | None, where: dict[str, Any] | None) -> dict[str, Any]:
    """The arguments of the search."""
    if query.mode not in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
        raise NotImplementedError(f"mode: expected DEFAULT, MMR, TEXT_SEARCH or HYBRID, got {query.mode.name}")
    if query.query_embedding is None:
        raise InvalidArgument("query: expected an embedding, got none")
    is_mmr = query.mode == VectorStoreQueryMode.MMR
    return {
        "queries": query.query_embedding,
        "k": query.similarity_top_k * (4 if is_mmr else 1),
        "ids": ids,
        "where": where,
        "include": ("documents", "metadatas", "embeddings") if is_mmr else ("documents", "metadatas"),
    }


def _rank(query: VectorStoreQuery, ids: list[str] | None, where: dict[str, Any] | None) -> dict[str, Any]:
    """The arguments of a search for words."""
    if not query.query_str:
        raise InvalidArgument("query: expected query_str, got none")
    options = {
        "text": query.query_str,
        "k": query.similarity_top_k,
        "ids": ids,
        "where": where,
        "include": ("documents", "metadatas"),
    }
    if query.mode != VectorStoreQueryMode.HYBRID:
        return options
    if query.query_embedding is None:
        raise InvalidArgument("query: expected an embedding, got none")
    options |= {"k": query.hybrid_top_k or query.similarity_top_k, "embedding": query.query_embedding}
    if query.sparse_top_k:
        options["candidates"] = max(query.sparse_top_k, options["k"])
    if query.alpha is not None:
        options["fusion"] = {"weighted_sum": {"weights": [query.alpha, 1.0 - query.alpha]}}
    return options


def _ranked(found: RankedResult) -> VectorStoreQueryResult:
    hits = list(found)
    return VectorStoreQueryResult(
        nodes=[_node(hit) for hit in hits], similarities=[hit["score"] for hit in hits], ids=found.ids
    )


def _columns(nodes: Sequence[BaseNode]) -> dict[str, Any]:
    """Nodes as the columns of an upsert."""
    return {
        "ids": [node.node_id for node in nodes],
        "embeddings": [node.get_embedding() for node in nodes],
        "documents": [node.get_content(metadata_mode=MetadataMode.NONE) for node in nodes],
        "metadatas": [_metadata(node) for node in nodes],
    }


def _metadata(node: BaseNode) -> dict[str, Any]:
    """What filters can test. The node itself, with any other value, is in ``_node_content``."""
    return {key: value for key, value in node_to_metadata_dict(node, remove_text=True).items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    kinds = (bool, int, float, str)
    if isinstance(value, list):
        return all(isinstance(item, kinds) for item in value) and len({type(item) for item in value}) <= 1
    return isinstance(value, kinds)


def _node(row: dict[str, Any]) -> BaseNode:
    return metadata_dict_to_node(row["metadata"] or {}, text=row["document"])
