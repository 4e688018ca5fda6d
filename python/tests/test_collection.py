import pickle
import signal
import threading
import time

import numpy as np
import pytest

import drumlin


@pytest.fixture
def notes():
    with drumlin.connect("memory://") as db:
        yield db.collection("notes", create=True, metric="l2")


def test_what_is_added_is_found_with_its_fields(notes):
    done = notes.add(
        ids=["fog", "river"], embeddings=[[0, 1], [3, 1]], documents=["a fog", None], metadatas=[None, {"year": 2025}]
    )
    assert (done.applied, done.skipped) == (2, 0)
    hits = notes.search([0, 1], k=2).to_list()[0]
    assert [(hit["id"], hit["distance"]) for hit in hits] == [("fog", 0.0), ("river", 9.0)]
    assert hits[0]["document"] == "a fog" and hits[1]["metadata"] == {"year": 2025}
    assert notes.search([[0, 1], [3, 1]], k=1, include=()).ids == [["fog"], ["river"]]
    assert notes.count(where={"year": {"$gte": 2020}}) == 1


def test_arrays_of_every_float_go_in_as_they_are_meant(notes):
    rows = np.arange(12, dtype=np.float64).reshape(4, 3)[:, ::-1]
    notes.add(ids=list("abcd"), embeddings=rows)
    notes.upsert(ids=["e"], embeddings=np.ones((1, 3), np.float16))
    stored = notes.get(include=["embeddings"])
    assert np.array_equal(np.stack([record["embedding"] for record in stored[:4]]), rows.astype(np.float32))
    assert stored[4]["embedding"].dtype == np.float32


def test_tables_go_in_and_come_out(notes):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"id": ["a", "b"], "embedding": [[1.0, 0.0], [0.0, 1.0]], "document": ["one", None]})
    assert notes.add(table).applied == 2
    assert notes.add([{"id": "c", "embedding": [1.0, 1.0], "metadata": {"n": 1}}]).applied == 1
    out = notes.search([1, 0], k=2).to_arrow()
    assert out.column("id").to_pylist() == ["a", "c"]


def test_errors_are_of_the_kinds_that_python_knows(notes):
    with pytest.raises(KeyError):
        notes._database.collection("nothing")
    with pytest.raises(drumlin.InvalidArgument):
        notes.add(ids=["a"], embeddings=[[1, 2], [3, 4]])
    notes.add(ids=["a"], embeddings=[[1, 2]])
    with pytest.raises(ValueError, match="numbers"):
        notes.search([1, 2, 3])


def test_a_pickled_collection_opens_the_store_anew(tmp_path):
    db = drumlin.connect(tmp_path)
    notes = db.collection("notes", create=True)
    notes.add(ids=["a"], embeddings=[[1, 2]])
    assert pickle.loads(pickle.dumps(notes)).count(strong=True) == 1


def test_another_thread_goes_on_while_one_searches(notes):
    vectors = np.random.default_rng(1).normal(size=(20_000, 64)).astype(np.float32)
    notes.add(ids=[str(n) for n in range(len(vectors))], embeddings=vectors)
    ticks, done = 0, threading.Event()

    def tick():
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.monotonic()
    notes.search(vectors[:500], k=10, exact=True, include=())
    took = time.monotonic() - began
    done.set()
    thread.join()
    assert ticks > took * 100


def test_ctrl_c_ends_a_long_call_within_a_second(tmp_path):
    vectors = np.random.default_rng(1).normal(size=(50_000, 128)).astype(np.float32)
    with drumlin.connect(tmp_path) as db:
        notes = db.collection("notes", create=True)
        notes.add(ids=[str(n) for n in range(len(vectors))], embeddings=vectors)
        threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            while True:
                notes.search(vectors[:1000], k=100, exact=True, include=())
        assert time.monotonic() - began < 2
