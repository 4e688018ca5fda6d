"""LlamaIndex's Chroma vector store, over HTTP."""

from __future__ import annotations

import math

import chromadb
import pytest
from hashed_words import embed
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.vector_stores.chroma import ChromaVectorStore
from server_process import ServerProcess

TEXTS = {
    "roof": ("the cat sleeps on the warm roof", "pets", {"animal": "cat", "year": 2021}),
    "beach": ("a dog runs along the beach", "pets", {"animal": "dog", "year": 2022}),
    "night": ("the owl hunts at night", "wild", {"animal": "owl", "year": 2023}),
}


def node(name: str) -> TextNode:
    text, source, metadata = TEXTS[name]
    source_of = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
    return TextNode(id_=name, text=text, metadata=metadata, embedding=embed(text), relationships=source_of)


def store(server: ServerProcess) -> ChromaVectorStore:
    client = chromadb.HttpClient(host="127.0.0.1", port=server.port)
    return ChromaVectorStore(chroma_collection=client.get_or_create_collection("nodes", embedding_function=None))


def query(text: str, *filters: MetadataFilter, condition: FilterCondition = FilterCondition.AND) -> VectorStoreQuery:
    chosen = MetadataFilters(filters=list(filters), condition=condition) if filters else None
    return VectorStoreQuery(query_embedding=embed(text), similarity_top_k=3, filters=chosen)


def test_nodes_are_added_queried_and_deleted(server: ServerProcess) -> None:
    nodes = store(server)
    assert nodes.add([node(name) for name in TEXTS]) == list(TEXTS)
    found = nodes.query(query("the owl hunts at night"))
    assert found.ids[0] == "night" and len(found.ids) == 3
    assert found.similarities[0] == pytest.approx(1, abs=1e-5)
    squared = sum((a - b) ** 2 for a, b in zip(embed(TEXTS["roof"][0]), embed("the owl hunts at night"), strict=True))
    assert found.similarities[found.ids.index("roof")] == pytest.approx(math.exp(-squared), rel=1e-4)
    assert found.nodes[0].get_content() == TEXTS["night"][0]
    assert found.nodes[0].metadata == TEXTS["night"][2]
    assert found.nodes[0].ref_doc_id == "wild"

    nodes.delete("pets")  # all nodes of a source
    assert [each.node_id for each in nodes.get_nodes(node_ids=None, filters=None)] == ["night"]
    nodes.delete_nodes(["night"])
    assert nodes.query(query("owl")).ids == []
    nodes.add([node("roof")])
    nodes.clear()
    assert nodes.client.count() == 0


def test_filters_choose_nodes(server: ServerProcess) -> None:
    nodes = store(server)
    nodes.add([node(name) for name in TEXTS])
    cat = MetadataFilter(key="animal", value="cat")
    late = MetadataFilter(key="year", value=2022, operator=FilterOperator.GTE)
    not_owl = MetadataFilter(key="animal", value="owl", operator=FilterOperator.NE)
    pets = MetadataFilter(key="animal", value=["cat", "dog"], operator=FilterOperator.IN)
    assert nodes.query(query("night", cat)).ids == ["roof"]
    assert nodes.query(query("night", late, not_owl)).ids == ["beach"]
    assert set(nodes.query(query("night", cat, late, condition=FilterCondition.OR)).ids) == set(TEXTS)
    assert set(nodes.query(query("night", pets)).ids) == {"roof", "beach"}


def test_nodes_are_there_after_kill_9(server: ServerProcess) -> None:
    nodes = store(server)
    nodes.add([node(name) for name in TEXTS])
    before = nodes.query(query("the cat"))
    server.kill()
    server.start()
    after = store(server).query(query("the cat"))
    assert (after.ids, after.similarities) == (before.ids, before.similarities)
    assert [each.get_content() for each in after.nodes] == [each.get_content() for each in before.nodes]
