"""Searches by words and by sparse vectors, alone and fused with an embedding."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path

import drumlin
import numpy as np
import pytest

DOCUMENTS = ["The quick brown fox jumps over the lazy dog", "Foxes are quick and clever", "A dog sleeps in the sun"]


def notes_in(db: drumlin.Database) -> drumlin.Collection:
    notes = db.collection("notes", create=True)
    terms = {"indices": [3, 17], "values": [0.5, 2.0]}
    metadatas = [{"n": 1, "author": "ann"}, {"n": 2, "author": "bob"}, {"n": 1, "author": "ann", "terms": terms}]
    notes.add(
        ids=["fox", "foxes", "dog"], embeddings=[[1, 0], [0, 1], [1, 1]], documents=DOCUMENTS, metadatas=metadatas
    )
    return notes


@pytest.fixture
def notes() -> drumlin.Collection:
    return notes_in(drumlin.connect("memory://"))


def test_words_phrases_and_signs_find_documents(notes: drumlin.Collection) -> None:
    assert notes.rank("fox").ids == ["foxes", "fox"]
    assert notes.rank('"lazy dog"').ids == ["fox"]
    assert notes.rank("+dog -lazy").ids == ["dog"]
    assert notes.rank("fox", where={"n": 1}).ids == ["fox"]
    assert notes.rank("fox", ids=["foxes"], k=1).ids == ["foxes"]
    assert notes.rank({"query": "quikc", "typos": "auto"}).ids == ["foxes", "fox"]
    assert notes.rank("nothing of it").hits == []


def test_hits_have_the_included_fields_and_show_the_words(notes: drumlin.Collection) -> None:
    hit = notes.rank("sun", include=("documents", "embeddings"), highlight=True)[0]
    assert (hit["document"], hit["embedding"]) == (DOCUMENTS[2], [1.0, 1.0])
    assert hit["highlights"] == ["A dog sleeps in the <mark>sun</mark>"]
    assert "metadata" not in hit
    bare = notes.rank("sun", include=())[0]
    assert set(bare) == {"id", "score"}


def test_an_embedding_and_words_are_fused_and_each_part_is_shown(notes: drumlin.Collection) -> None:
    result = notes.rank("dog", embedding=np.array([0, 1], dtype=np.float32), fusion={"rrf": {"weights": [1, 3]}})
    assert result.ids[0] == "dog"
    assert result[0]["parts"]["text"]["rank"] == 1
    assert len(result) == 3 and [hit["id"] for hit in result] == result.ids and result[:1][0]["id"] == "dog"


def test_sparse_vectors_come_back_as_they_were_and_are_searched(notes: drumlin.Collection) -> None:
    stored = notes.get(ids=["dog"])[0]["metadata"]["terms"]
    assert (stored["indices"], stored["values"]) == ([3, 17], [0.5, 2.0])
    notes.update(ids=["fox"], metadatas=[{"terms": {"indices": np.array([17]), "values": np.array([1.0])}}])
    result = notes.rank(sparse={"key": "terms", "indices": [17], "values": [2]})
    assert [(hit["id"], hit["score"]) for hit in result] == [("dog", 4.0), ("fox", 2.0)]
    with pytest.raises(drumlin.InvalidArgument, match="strictly ascending"):
        notes.update(ids=["fox"], metadatas=[{"terms": {"indices": [2, 1], "values": [1, 1]}}])


def test_groups_and_facets_are_part_of_the_result(notes: drumlin.Collection) -> None:
    grouped = notes.rank(embedding=[1, 0], group_by={"key": "author", "groups": 2, "records": 1})
    assert [group["value"] for group in grouped.groups] == ["ann", "bob"]
    counted = notes.rank("quick dog", facets={"author": {"values": 10}})
    assert counted.facets["author"]["distinct"] == 2


def test_what_is_wrong_is_an_exception_of_its_kind(notes: drumlin.Collection) -> None:
    for wrong, words in [
        ({"text": 5}, "text"),
        ({"text": {"query": "a", "typos": 9}}, "typos"),
        ({"embedding": [1, 0], "text": "a", "fusion": {"rrf": {"k": -1}}}, "fusion.rrf.k"),
        ({"text": "a", "where": {"n": {"$near": 1}}}, "near"),
        ({"text": "a", "include": ("everything",)}, "include"),
        ({"text": "a", "unheard_of": 1}, "unheard_of"),
    ]:
        with pytest.raises(drumlin.InvalidArgument, match=words):
            notes.rank(**wrong)
    with pytest.raises(drumlin.NotFound, match="no such id|no record"):
        notes.rank(like=["nobody"])


def test_a_pickled_collection_and_await_find_the_same(tmp_path: Path) -> None:
    notes = notes_in(drumlin.connect(tmp_path / "data"))
    again = pickle.loads(pickle.dumps(notes))
    assert again.rank("fox").ids == ["foxes", "fox"]
    found = asyncio.run(notes.arank("fox", where={"n": 1}))
    assert found.ids == ["fox"] and found.version == notes.rank("fox").version
