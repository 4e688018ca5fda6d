"""Chroma's own client searches: schema, words by chroma_bm25, hand-made sparse vectors, hybrid, groups."""

from __future__ import annotations

from typing import Any

import chromadb
import pytest
from chromadb import K, Knn, Rrf, Schema, Search, SparseVectorIndexConfig, VectorIndexConfig
from chromadb.api.types import SparseVector
from chromadb.execution.expression import GroupBy, MinK
from chromadb.utils.embedding_functions import ChromaBm25EmbeddingFunction
from conftest import TARGET
from hashed_words import HashedWords
from server_process import ServerProcess

pytestmark = pytest.mark.skipif(TARGET == "chroma", reason="its local server does not search")

DOCUMENTS = {
    "roof": ("the cat sleeps on the warm roof", {"animal": "cat", "year": 2021}),
    "beach": ("a dog runs along the beach", {"animal": "dog", "year": 2022}),
    "fish": ("two cats fight over a fish", {"animal": "cat", "year": 2023}),
    "night": ("the owl hunts at night", {"animal": "owl", "year": 2023}),
}


def filled(server: ServerProcess) -> Any:
    """A collection whose schema makes embeddings and words of documents."""
    schema = Schema()
    schema.create_index(config=VectorIndexConfig(space="cosine", embedding_function=HashedWords("py")))
    words = SparseVectorIndexConfig(embedding_function=ChromaBm25EmbeddingFunction(), source_key=K.DOCUMENT, bm25=True)
    schema.create_index(config=words, key="words")
    client = chromadb.HttpClient(host="127.0.0.1", port=server.port)
    animals = client.create_collection("animals", schema=schema)
    metadatas = [dict(metadata) for _, metadata in DOCUMENTS.values()]
    animals.add(ids=list(DOCUMENTS), documents=[text for text, _ in DOCUMENTS.values()], metadatas=metadatas)
    return client.get_collection("animals")


def ids(animals: Any, search: Search) -> list[str]:
    return [row["id"] for row in animals.search(search).rows()[0]]


def by_words(text: str, **options: Any) -> Knn:
    return Knn(query=text, key="words", **options)


def test_words_hybrid_and_groups_through_a_schema(server: ServerProcess) -> None:
    animals = filled(server)
    server.kill()
    server.start()
    assert ids(animals, Search(rank=by_words("cats"), limit=4)) == ["roof", "fish"]  # stems agree, and so do scores
    assert ids(animals, Search(rank=by_words("cats"), where=K("year") < 2023)) == ["roof"]
    text = "the owl hunts a dog"
    hybrid = Rrf([Knn(query=text, return_rank=True), by_words(text, return_rank=True, default=100)], weights=[1, 2])
    assert set(ids(animals, Search(rank=hybrid, limit=2))) == {"night", "beach"}
    grouped = GroupBy(keys=K("animal"), aggregate=MinK(keys=K.SCORE, k=1))
    best = ids(animals, Search(rank=Knn(query="cats fight over fish"), group_by=grouped, limit=9))
    assert best[0] == "fish" and len(best) == 3 and "roof" not in best

    animals.update(ids=["roof"], documents=["the owl sleeps"])
    assert ids(animals, Search(rank=by_words("owl"), limit=4)) == ["roof", "night"]
    animals.delete(ids=["night"])
    both = animals.search([Search(rank=by_words("owl"), limit=4), Search(rank=by_words("dog"), limit=4)])
    assert [[row["id"] for row in rows] for rows in both.rows()] == [["roof"], ["beach"]]


def test_sparse_vectors_made_by_hand(server: ServerProcess) -> None:
    schema = Schema().create_index(config=SparseVectorIndexConfig(), key="by_hand")
    client = chromadb.HttpClient(host="127.0.0.1", port=server.port)
    made = client.create_collection("made", schema=schema, embedding_function=None)
    vectors = [SparseVector(indices=[1, 7], values=[1.0, 0.5]), SparseVector(indices=[7], values=[3.0]), None]
    metadatas: list[Any] = [{"by_hand": vector} if vector else {"by": "nobody"} for vector in vectors]
    made.add(ids=["a", "b", "c"], embeddings=[[1, 0], [0, 1], [1, 1]], metadatas=metadatas)
    by_hand = Knn(query={"indices": [7], "values": [1.0]}, key="by_hand")
    assert ids(made, Search(rank=by_hand, limit=4)) == ["b", "a"]
    row = made.search(Search(rank=by_hand, limit=1).select(K.SCORE, "by_hand")).rows()[0][0]
    assert row["score"] == pytest.approx(-2) and row["metadata"]["by_hand"] == vectors[1]
    fused = Search(rank=Knn(query=[1.0, 1.0], default=9) * 0.5 + by_hand, limit=4)
    assert ids(made, fused)[0] == "b"
    made.update(ids=["b"], metadatas=[{"by_hand": SparseVector(indices=[1], values=[9.0])}])
    assert ids(made, Search(rank=by_hand, limit=4)) == ["a"]


def test_langchain_searches_hybrid(server: ServerProcess) -> None:
    from hashed_words import LangChainHashedWords
    from langchain_chroma import Chroma

    filled(server)
    client = chromadb.HttpClient(host="127.0.0.1", port=server.port)
    store = Chroma("animals", embedding_function=LangChainHashedWords(), client=client)
    rank = Rrf([Knn(query="a dog runs", return_rank=True), by_words("owl hunts", return_rank=True, default=100)])
    found = store.hybrid_search(Search(rank=rank, limit=2).select(K.DOCUMENT, K.METADATA, K.SCORE))
    assert {document.id for document in found} == {"beach", "night"}
