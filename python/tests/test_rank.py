"""Searches by words and by sparse vectors, alone and fused with an embedding."""

from __future__ import annotations

import asyncio
import json
import pickle
import re
from pathlib import Path
from typing import Any

import drumlin
import numpy as np
import pytest
from drumlin._drumlin import Routes

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


def over_http(notes: drumlin.Collection, options: dict[str, Any]) -> dict[str, Any]:
    """What the route of the server answers to the same search."""
    headers = [(b"content-type", b"application/json")]
    body = json.dumps({"include": ["document", "metadata"]} | options).encode()
    call = Routes(notes.database._store, False).call("POST", f"/api/collections/{notes.name}/search", headers, body)
    answer: dict[str, Any] = json.loads(call.wait()[2])
    return answer


def test_a_search_is_answered_as_the_route_of_the_server_answers_it(notes: drumlin.Collection) -> None:
    sparse = {"key": "terms", "indices": [3, 17], "values": [0.25, 1.5], "idf": True}
    for options in [
        {"text": "fox", "highlight": True},
        {"text": {"query": "quikc fx", "typos": "auto", "minimum_match": 1}, "k": 2},
        {"sparse": sparse},
        {"text": "dog sun", "embedding": [0.3, 0.7]},
        {"text": "dog", "sparse": sparse, "embedding": [1, 0], "fusion": {"rrf": {"weights": [1, 0.5, 2]}}},
        {"text": "dog", "embedding": [1, 0], "fusion": {"weighted_sum": {"normalisation": "min_max"}}},
        {"embedding": [0.1, 0.2], "where": {"$or": [{"n": {"$in": [1, 5]}}, {"author": "bob"}]}},
        {"embedding": [0.1, 0.2], "max_distance": 0.2, "exact": True},
        {"id": "fox", "k": 1},
        {"like": ["fox"], "unlike": ["dog"]},
        {"text": "quick dog", "facets": {"author": {"values": 10}, "n": {"range": True, "quantiles": [0.5]}}},
        {"embedding": [1, 0], "group_by": {"key": "author", "groups": 2, "records": 2}},
        {"text": "the", "where_document": {"$contains": "sun"}, "candidates": 7},
    ]:
        told, ranked = over_http(notes, options), notes.rank(**options)
        if "groups" in told:
            assert (ranked.hits, ranked.groups) == ([], told["groups"]), options
        else:
            assert ranked.hits == told["results"][0] and [*map(list, ranked)] == [*map(list, ranked.hits)], options
        assert (ranked.facets, ranked.version) == (told.get("facets", {}), told["version"]), options


def test_what_is_wrong_is_told_in_the_words_of_the_route(notes: drumlin.Collection) -> None:
    for options in [
        {"text": 5},
        {"text": {"query": "a", "typos": 9}},
        {"text": "a", "k": -1},
        {"text": "a", "k": 10_001},
        {"text": "a", "k": 2.5},
        {"text": "a", "unheard_of": 1},
        {"text": "a", "where": {"n": {"$near": 1}}},
        {"text": "a", "fusion": {"rrf": {"k": -1}}},
        {"text": "a", "fusion": {"unheard_of": {}}},
        {"embedding": [1, "x"], "text": "a"},
        {"embedding": [1, 0, 0], "text": "a"},
        {"embedding": [1e300, 0], "text": "a"},
        {"sparse": {"key": "terms", "indices": [2, 1], "values": [1, 1]}},
        {"id": "fox", "text": "a"},
        {"like": ["fox"] * 101},
        {},
    ]:
        told = over_http(notes, options)["error"]["message"]
        with pytest.raises(drumlin.DrumlinError) as raised:
            notes.rank(**options)
        # JSON has lines.
        assert str(raised.value) == re.sub(r" at line \d+ column \d+", "", told), options


def test_values_of_numpy_and_other_sequences_are_taken_and_what_json_cannot_say_is_refused(
    notes: drumlin.Collection,
) -> None:
    plain = notes.rank("dog", embedding=[0.5, 0.25], where={"n": {"$in": [1, 2]}}, k=2)
    for embedding in (np.array([0.5, 0.25]), np.array([0.5, 0.25], np.float32), (0.5, 0.25)):
        for numbers in ({1, 2}, (1, 2), range(1, 3), np.array([1, 2]), [np.int64(1), np.int32(2)]):
            found = notes.rank("dog", embedding=embedding, where={"n": {"$in": numbers}}, k=np.int64(2))
            assert found == plain, (embedding, numbers)
    endless: list[Any] = []
    endless.append(endless)
    for where, words in [
        ({"n": float("nan")}, "finite"),
        ({"n": {"$in": [float("inf")]}}, "finite"),
        ({"n": endless}, "127 lists"),
        ({"n": object()}, "JSON can say, got object"),
        ({1: 1}, "str as keys, got int"),
    ]:
        with pytest.raises(drumlin.InvalidArgument, match=words):
            notes.rank("dog", where=where)


def test_a_pickled_collection_and_await_find_the_same(tmp_path: Path) -> None:
    notes = notes_in(drumlin.connect(tmp_path / "data"))
    again = pickle.loads(pickle.dumps(notes))
    assert again.rank("fox").ids == ["foxes", "fox"]
    found = asyncio.run(notes.arank("fox", where={"n": 1}))
    assert found.ids == ["fox"] and found.version == notes.rank("fox").version
