"""LlamaIndex's vector store: nodes in and out, and every operator of its filters."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("llama_index.core")
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode  # noqa: E402
from llama_index.core.vector_stores.types import (  # noqa: E402
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from drumlin import InvalidArgument  # noqa: E402
from drumlin.llama_index import DrumlinVectorStore  # noqa: E402


def node(name, vector, source, **metadata):
    parent = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
    return TextNode(id_=name, text=f"text of {name}", embedding=vector, metadata=metadata, relationships=parent)


@pytest.fixture
def store(db):
    made = DrumlinVectorStore(db)
    nodes = [
        node("a", [1, 0], "first", year=2020, tags=["x", "y"], title="The Fog", note=""),
        node("b", [0, 1], "first", year=2021, tags=["y"], title="a river", deep={"not": "plain"}),
        node("c", [1, 1], "second", year=2022, tags=["z"], title="Bread"),
    ]
    assert made.add(nodes) == ["a", "b", "c"]
    return made


def found(store, *filters, condition=FilterCondition.AND):
    chosen = MetadataFilters(filters=list(filters), condition=condition)
    query = VectorStoreQuery(query_embedding=[1, 0], similarity_top_k=9, filters=chosen)
    return sorted(store.query(query).ids)


def test_nodes_come_back_as_they_went_in(store):
    result = store.query(VectorStoreQuery(query_embedding=[0, 1], similarity_top_k=2))
    assert result.ids == ["b", "c"] and result.similarities[0] == pytest.approx(1)
    assert result.nodes[0].text == "text of b" and result.nodes[0].metadata["deep"] == {"not": "plain"}
    assert result.nodes[0].ref_doc_id == "first"
    asked = asyncio.run(store.aquery(VectorStoreQuery(query_embedding=[0, 1], doc_ids=["second"])))
    assert asked.ids == ["c"]
    assert store.query(VectorStoreQuery(query_embedding=[0, 1], node_ids=["a"], similarity_top_k=5)).ids == ["a"]


OPERATORS = [
    (FilterOperator.EQ, "year", 2021, ["b"]),
    (FilterOperator.NE, "year", 2021, ["a", "c"]),
    (FilterOperator.GT, "year", 2020, ["b", "c"]),
    (FilterOperator.GTE, "year", 2021, ["b", "c"]),
    (FilterOperator.LT, "year", 2021, ["a"]),
    (FilterOperator.LTE, "year", 2021, ["a", "b"]),
    (FilterOperator.IN, "year", [2020, 2022], ["a", "c"]),
    (FilterOperator.NIN, "year", [2020, 2022], ["b"]),
    (FilterOperator.ANY, "tags", ["x", "z"], ["a", "c"]),
    (FilterOperator.ALL, "tags", ["x", "y"], ["a"]),
    (FilterOperator.CONTAINS, "tags", "y", ["a", "b"]),
    (FilterOperator.TEXT_MATCH, "title", "Fog", ["a"]),
    (FilterOperator.TEXT_MATCH_INSENSITIVE, "title", "bREAD", ["c"]),
    (FilterOperator.IS_EMPTY, "note", None, ["a", "b", "c"]),
]


def test_every_operator_is_among_these():
    assert {operator for operator, *_ in OPERATORS} == set(FilterOperator)


@pytest.mark.parametrize("operator, key, value, expected", OPERATORS)
def test_operators_select(store, operator, key, value, expected):
    assert found(store, MetadataFilter(key=key, value=value, operator=operator)) == expected


def test_conditions_combine_and_nest(store):
    early = MetadataFilter(key="year", value=2020, operator=FilterOperator.LTE)
    tagged = MetadataFilter(key="tags", value="z", operator=FilterOperator.CONTAINS)
    late = MetadataFilter(key="year", value=2022, operator=FilterOperator.GTE)
    assert found(store, early, late, condition=FilterCondition.OR) == ["a", "c"]
    assert found(store, early, tagged, condition=FilterCondition.OR) == ["a", "c"]
    assert found(store, early, condition=FilterCondition.NOT) == ["b", "c"]
    inner = MetadataFilters(filters=[early, late], condition=FilterCondition.OR)
    assert found(store, inner, tagged) == ["c"]


def test_nodes_are_read_deleted_and_cleared(store):
    assert [found.node_id for found in store.get_nodes(["b", "a"])] == ["a", "b"]
    store.delete_nodes(filters=MetadataFilters(filters=[MetadataFilter(key="year", value=2022)]))
    asyncio.run(store.adelete("second"))
    assert [found.node_id for found in store.get_nodes()] == ["a", "b"]
    store.delete("first")
    asyncio.run(store.async_add([node("d", [1, 0], "third")]))
    assert store.client.count() == 1
    store.clear()
    assert store.client.count() == 0


def test_texts_are_searched_by_words_and_by_words_and_embeddings_at_once(store):
    only_words = VectorStoreQuery(query_str="text of c", similarity_top_k=1, mode=VectorStoreQueryMode.TEXT_SEARCH)
    found = store.query(only_words)
    assert found.ids == ["c"] and found.similarities[0] > 0 and found.nodes[0].get_content() == "text of c"
    assert asyncio.run(store.aquery(only_words)).ids == ["c"]

    both = {"query_str": "text of c", "query_embedding": [1, 0], "mode": VectorStoreQueryMode.HYBRID}
    for alpha, best in [(1.0, "a"), (0.0, "c")]:
        assert store.query(VectorStoreQuery(similarity_top_k=1, alpha=alpha, **both)).ids == [best]
    found = store.query(VectorStoreQuery(similarity_top_k=1, hybrid_top_k=3, **both))
    assert sorted(found.ids) == ["a", "b", "c"] and found.similarities == sorted(found.similarities, reverse=True)
    late = MetadataFilters(filters=[MetadataFilter(key="year", value=2022, operator=FilterOperator.LT)])
    assert "c" not in store.query(VectorStoreQuery(filters=late, similarity_top_k=3, **both)).ids
    with pytest.raises(InvalidArgument, match="query_str"):
        store.query(VectorStoreQuery(query_embedding=[1, 0], mode=VectorStoreQueryMode.TEXT_SEARCH))


def test_mmr_is_a_mode_and_sparse_models_are_not(store):
    query = VectorStoreQuery(query_embedding=[1, 0], similarity_top_k=2, mode=VectorStoreQueryMode.MMR, mmr_threshold=0.1)
    assert store.query(query).ids[0] == "a" and len(store.query(query).ids) == 2
    with pytest.raises(NotImplementedError, match="TEXT_SEARCH or HYBRID, got SPARSE"):
        store.query(VectorStoreQuery(query_embedding=[1, 0], mode=VectorStoreQueryMode.SPARSE))
