"""Records in and out, one call at a time."""

from __future__ import annotations

import pickle
import uuid

import numpy as np
import pytest

import drumlin


def test_what_is_added_is_found_with_its_fields(notes):
    done = notes.add(
        ids=["fog", "river"],
        embeddings=[[0, 1], [3, 1]],
        documents=["a fog", None],
        uris=[None, "s3://texts/river"],
        metadatas=[None, {"year": 2025}],
    )
    assert (done.applied, done.skipped, done.version) == (2, 0, 1)
    hits = notes.search([0, 1], k=2, include=["documents", "uris", "metadatas", "embeddings"]).to_list()
    assert [(hit["id"], hit["distance"]) for hit in hits] == [("fog", 0.0), ("river", 9.0)]
    assert hits[0]["document"] == "a fog" and hits[0]["metadata"] is None and hits[1]["document"] is None
    assert hits[1]["metadata"] == {"year": 2025} and hits[1]["uri"] == "s3://texts/river"
    assert hits[1]["embedding"].tolist() == [3.0, 1.0]
    assert notes.search([[0, 1], [3, 1]], k=1, include=()).ids == [["fog"], ["river"]]
    assert notes.count(where={"year": {"$gte": 2020}}) == 1 and len(notes) == 2


def test_only_the_fields_asked_for_are_returned(notes):
    notes.add(ids=["a"], embeddings=[[1, 0]], documents=["text"], metadatas=[{"n": 1}])
    assert notes.search([1, 0], include=()).to_list() == [{"id": "a", "distance": 0.0}]
    assert notes.get(include="documents").to_list() == [{"id": "a", "document": "text"}]
    with pytest.raises(drumlin.InvalidArgument, match="documents, metadatas"):
        notes.get(include=["document"])


def test_values_of_metadata_come_back_as_they_went_in(notes):
    value = {
        "flag": True, "whole": 3, "real": 3.0, "text": "x", "whole list": [1, 2], "texts": ["a", "b"], "flags": [False],
        "numpy": np.int64(7), "numpy real": np.float32(0.5), "numpy flag": np.bool_(True),
    }  # fmt: skip
    notes.add(ids=["a"], embeddings=[[1, 0]], metadatas=[value])
    found = notes.get("a")[0]["metadata"]
    assert found == {**value, "numpy": 7, "numpy real": 0.5, "numpy flag": True}
    kinds = {key: type(found[key]) for key in ("flag", "whole", "real", "numpy", "numpy flag")}
    assert kinds == {"flag": bool, "whole": int, "real": float, "numpy": int, "numpy flag": bool}


@pytest.mark.parametrize("value", [{"nested": 1}, [1, "a"], float("nan"), 1 << 70, object()])
def test_a_value_that_metadata_cannot_hold_is_refused_by_its_key(notes, value):
    with pytest.raises(drumlin.InvalidArgument, match="key of it"):
        notes.add(ids=["a"], embeddings=[[1, 0]], metadatas=[{"key of it": value}])
    assert notes.count() == 0


def test_updates_change_what_they_name_and_nothing_else(notes):
    notes.add(ids=["a"], embeddings=[[1, 0]], documents=["text"], metadatas=[{"n": 1, "gone": True}])
    done = notes.update(["a", "b"], metadatas=[{"n": 2, "gone": None}, None])
    assert (done.applied, done.skipped) == (1, 1)
    notes.update("a", embeddings=[2, 0])
    assert notes.get("a", include=["documents", "metadatas", "embeddings"])[0]["metadata"] == {"n": 2}
    assert notes.search([2, 0], k=1)[0] == {"id": "a", "distance": 0.0, "document": "text", "metadata": {"n": 2}}


def test_upserts_replace_and_deletes_delete(notes):
    notes.add(ids=["a", "b"], embeddings=[[1, 0], [0, 1]], metadatas=[{"n": 1}, {"n": 2}])
    assert notes.upsert(ids=["b", "c"], embeddings=[[0, 2], [0, 3]]).applied == 2
    assert notes.get("b")[0]["metadata"] is None
    assert notes.delete(where={"n": 1}).applied == 1
    assert notes.delete(["b", "nothing"]).skipped == 1
    assert notes.get().ids == ["c"]
    with pytest.raises(ValueError, match="expected ids, where or where_document"):
        notes.delete()


def test_ids_may_be_numbers_and_uuids_and_nothing_else(notes):
    name = uuid.UUID(int=5)
    notes.add(ids=np.arange(2), embeddings=[[1, 0], [0, 1]])
    notes.add(ids=[name], embeddings=[[1, 1]])
    assert notes.get().ids == ["0", "1", str(name)]
    with pytest.raises(ValueError, match=r"ids\[1\]: expected str"):
        notes.add(ids=["x", None], embeddings=[[1, 0], [0, 1]])


def test_filters_take_numbers_of_numpy(notes):
    notes.add(ids=["a", "b"], embeddings=[[1, 0], [0, 1]], metadatas=[{"n": 1}, {"n": 5}])
    assert notes.count(where={"n": {"$gte": np.int64(3)}}) == 1
    assert notes.count(where={"n": {"$in": np.array([1, 5])}}) == 2
    assert notes.count(where={}) == 2
    with pytest.raises(ValueError, match="where: expected text"):
        notes.count(where={"n": {1, 2}})
    with pytest.raises(ValueError, match=r"\$near"):
        notes.count(where={"n": {"$near": 3}})


def test_errors_are_of_the_kinds_that_python_knows(db, notes):
    with pytest.raises(KeyError) as caught:
        db.collection("nothing")
    assert str(caught.value) == "there is no collection \"nothing\"" or "nothing" in str(caught.value)
    with pytest.raises(drumlin.InvalidArgument, match="got 1 ids|for 1 ids"):
        notes.add(ids=["a"], embeddings=[[1, 2], [3, 4]])
    notes.add(ids=["a"], embeddings=[[1, 2]])
    with pytest.raises(ValueError, match="numbers|dimension"):
        notes.search([1, 2, 3])
    with pytest.raises(ValueError):
        notes.search([1, 2], k=0)
    with pytest.raises(ValueError, match="expected one of cosine, l2, ip"):
        db.collection("other", create=True, metric="manhattan")
    with pytest.raises(drumlin.AlreadyExists):
        notes.fork("notes")


def test_an_add_larger_than_a_commit_becomes_several(notes):
    count = 60_000
    vectors = np.random.default_rng(1).normal(size=(count, 4)).astype(np.float32)
    done = notes.add(ids=[str(n) for n in range(count)], embeddings=vectors)
    assert (done.applied, done.version) == (count, 2)
    vectors[55_000] = np.nan
    with pytest.raises(ValueError, match="the first 50000 records of this call were written"):
        notes.upsert(ids=[str(n) for n in range(count)], embeddings=vectors)


def test_a_result_that_is_no_array_says_so(notes):
    notes.add(ids=["a", "b", "c"], embeddings=[[0, 0], [1, 0], [2, 0]])
    result = notes.search([[0, 0], [2, 0]], k=2)
    assert result.distances.dtype == np.float32 and result.distances.tolist() == [[0, 1], [0, 1]]
    assert not result.is_ragged and len(result) == 2 and [len(hits) for hits in result] == [2, 2]
    assert notes.search([[0, 0]], k=9).distances.shape == (1, 3)


def test_ragged_results_are_stated_and_padded_on_request(notes):
    result = notes.search([[0, 0], [2, 0]], k=2)
    assert result.ids == [[], []] and result.distances.shape == (2, 0) and result.to_list() == [[], []]
    ragged = drumlin.SearchResult(_Ragged(), one=False)
    assert ragged.is_ragged
    with pytest.raises(drumlin.RaggedResult, match="1 to 2 hits"):
        ragged.distances
    assert [row.tolist() for row in ragged.distance_lists] == [[1.0, 2.0], [3.0]]
    ids, distances = ragged.padded()
    assert ids == [["a", "b"], ["c", ""]] and distances.tolist() == [[1.0, 2.0], [3.0, float("inf")]]


class _Ragged:
    """An answer whose lists differ in length, as a filter and a graph together may make them."""

    lengths = [2, 1]
    ids = [["a", "b"], ["c"]]
    distances = np.array([1, 2, 3], np.float32)


def test_a_scan_shows_one_version_whatever_is_written_meanwhile(notes):
    notes.add(ids=list("abcde"), embeddings=np.eye(5))
    scan = notes.scan(page_size=2)
    pages = iter(scan)
    first = next(pages)
    notes.delete(["d"])
    assert first.ids == ["a", "b"] and first.embeddings.tolist() == np.eye(5)[:2].tolist()
    assert [page.ids for page in pages] == [["c", "d"], ["e"]]
    assert len(scan) == 5 and scan.version == 1


def test_a_collection_tells_about_itself(db, notes):
    notes.add(ids=["a"], embeddings=[[1, 0]])
    info = notes.info()
    assert (info["name"], info["metric"], info["dimension"], info["count"], info["version"]) == ("notes", "l2", 2, 1, 1)
    notes.set_metadata({"about": "weather"})
    assert notes.info()["metadata"] == {"about": "weather"}
    notes.rename("letters")
    assert notes.name == "letters" and db.collections() == ["letters"]


@pytest.mark.parametrize("flushed", [False, True])
def test_a_collection_at_a_version_shows_that_version_alone(folder, flushed):
    with drumlin.connect(folder) as db:
        notes = db.collection("notes", create=True, metric="l2")
        notes.add(ids=["a", "b"], embeddings=[[1, 0], [0, 1]], metadatas=[{"n": 1}, None])
        notes.upsert(ids=["b"], embeddings=[[0, 5]], documents=["new"])
        if flushed:
            db.sync()
        notes.add(ids=["c"], embeddings=[[1, 1]])
        newest = notes.at()
        notes.delete(["a", "b"])
        before = notes.at(1)
        assert before.get(include=["documents", "embeddings"]).embeddings.tolist() == [[1, 0], [0, 1]]
        assert before.search([0, 5], k=1, include=()).to_list() == [{"id": "b", "distance": 16.0}]
        assert before.count(where={"n": 1}) == 1 and len(before) == 2 and before.version == 1
        assert notes.at(2).get("b")[0]["document"] == "new"
        assert newest.get().ids == ["a", "b", "c"] and [page.ids for page in newest.scan(page_size=2)] == [["a", "b"], ["c"]]
        assert pickle.loads(pickle.dumps(newest)).count() == 3
        with pytest.raises(drumlin.NotFound, match="not there yet"):
            notes.at(99)
        assert notes.get().ids == ["c"]
