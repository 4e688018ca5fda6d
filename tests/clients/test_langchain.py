"""LangChain's Chroma vector store, over HTTP."""

from __future__ import annotations

import chromadb
import pytest
from hashed_words import LangChainHashedWords
from langchain_chroma import Chroma
from langchain_core.documents import Document
from server_process import ServerProcess

DOCUMENTS = [
    Document("the cat sleeps on the warm roof", metadata={"animal": "cat", "year": 2021}),
    Document("a dog runs along the beach", metadata={"animal": "dog", "year": 2022}),
    Document("two cats fight over a fish", metadata={"animal": "cat", "year": 2023}),
    Document("the owl hunts at night", metadata={"animal": "owl", "year": 2023}),
]
IDS = ["roof", "beach", "fish", "night"]


def store(server: ServerProcess, **options) -> Chroma:
    client = chromadb.HttpClient(host="127.0.0.1", port=server.port)
    return Chroma("animals", embedding_function=LangChainHashedWords(), client=client, **options)


def test_documents_are_added_searched_updated_and_deleted(server: ServerProcess) -> None:
    animals = store(server)
    assert animals.add_documents(DOCUMENTS, ids=IDS) == IDS
    found = animals.similarity_search("the cat sleeps", k=2)
    assert found[0].page_content == DOCUMENTS[0].page_content
    assert found[0].metadata == {"animal": "cat", "year": 2021}
    assert {each.id for each in animals.similarity_search("fish", k=4, filter={"animal": "cat"})} == {"roof", "fish"}
    newer = {"$and": [{"animal": "cat"}, {"year": {"$gt": 2021}}]}
    assert [each.id for each in animals.similarity_search("roof", filter=newer)] == ["fish"]
    owls = animals.similarity_search("the", where_document={"$contains": "owl"})
    assert [each.id for each in owls] == ["night"]

    animals.update_document("beach", Document("a dog swims in the lake", metadata={"animal": "dog"}))
    best, distance = animals.similarity_search_with_score("a dog swims in the lake", k=1)[0]
    assert (best.id, best.metadata["year"]) == ("beach", 2022)  # metadata is merged
    assert distance == pytest.approx(0, abs=1e-6)
    animals.delete(["beach"])
    assert animals.get()["ids"] == ["roof", "fish", "night"]
    assert [each.id for each in animals.get_by_ids(["night"])] == ["night"]


def test_the_space_of_collection_metadata_and_relevance_scores(server: ServerProcess) -> None:
    animals = store(server, collection_metadata={"hnsw:space": "cosine"})
    animals.add_documents(DOCUMENTS, ids=IDS)
    scores = animals.similarity_search_with_relevance_scores("the owl hunts at night", k=4)
    assert scores[0][0].id == "night" and scores[0][1] == pytest.approx(1, abs=1e-6)
    assert all(-1e-6 <= score <= 1 + 1e-6 for _, score in scores)
    diverse = animals.max_marginal_relevance_search("the cat", k=3, fetch_k=4)
    assert len({each.id for each in diverse}) == 3
    retriever = animals.as_retriever(search_kwargs={"k": 1})
    assert retriever.invoke("two cats fight")[0].id == "fish"


def test_the_store_is_whole_after_kill_9(server: ServerProcess) -> None:
    animals = store(server)
    animals.add_documents(DOCUMENTS, ids=IDS)
    before = animals.get(include=["embeddings", "documents", "metadatas"])
    server.kill()
    server.start()
    animals = store(server)
    after = animals.get(include=["embeddings", "documents", "metadatas"])
    assert after["ids"] == IDS
    assert (after["documents"], after["metadatas"]) == (before["documents"], before["metadatas"])
    assert (after["embeddings"] == before["embeddings"]).all()
    assert animals.similarity_search("the owl hunts", k=1)[0].id == "night"
    animals.delete_collection()
    assert chromadb.HttpClient(host="127.0.0.1", port=server.port).list_collections() == []
