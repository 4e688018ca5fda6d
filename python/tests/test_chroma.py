"""Chroma's client within this process, by itself and under the frameworks that take one."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import drumlin

chromadb = pytest.importorskip("chromadb")
chroma = pytest.importorskip("drumlin.chroma")


@pytest.fixture
def client(db):
    with chroma.Client(db, allow_reset=True) as made:
        yield made


def test_the_client_works_as_over_http(client, db):
    assert client.heartbeat() > 0 and client.get_max_batch_size() > 100
    notes = client.get_or_create_collection("notes", metadata={"about": "weather"}, embedding_function=None)
    notes.add(
        ids=["a", "b"], embeddings=np.eye(2), documents=["the fog", "a river"], metadatas=[{"n": 1}, {"n": 2}]
    )
    found = notes.query(query_embeddings=[[1, 0]], n_results=1, where={"n": {"$lt": 2}})
    assert found["ids"] == [["a"]] and found["documents"] == [["the fog"]]
    assert notes.get(where_document={"$contains": "river"})["ids"] == ["b"]
    notes.update(ids=["a"], metadatas=[{"n": 5}])
    notes.upsert(ids=["c"], embeddings=[[1, 1]], documents=["c"])
    notes.delete(ids=["b"])
    assert notes.count() == 2 and notes.peek()["ids"] == ["a", "c"]
    assert notes.get(ids=["a"])["metadatas"] == [{"n": 5}]
    notes.modify(name="letters")
    assert [collection.name for collection in client.list_collections()] == ["letters"]
    assert db.collection("letters").get("c")[0]["document"] == "c"
    client.delete_collection("letters")
    assert client.count_collections() == 0 and client.reset()


def test_errors_are_those_of_chroma(client):
    from chromadb.errors import NotFoundError

    with pytest.raises(NotFoundError):
        client.get_collection("nothing")
    notes = client.create_collection("notes", embedding_function=None)
    notes.add(ids=["a"], embeddings=[[1, 2]])
    with pytest.raises(Exception, match="dimension"):
        notes.add(ids=["b"], embeddings=[[1, 2, 3]])
    with pytest.raises(Exception, match="nowhere"):
        chroma.Client(drumlin.connect("memory://"), database="nowhere")


def test_a_client_opens_a_store_by_its_address(folder):
    with chroma.Client(folder) as client:
        client.create_collection("notes", embedding_function=None).add(ids=["a"], embeddings=[[1, 2]])
    with chroma.Client(str(folder)) as again:
        assert again.get_collection("notes", embedding_function=None).count() == 1


def test_a_collection_that_others_drop_at_once_is_made_again_or_the_race_is_named(client):
    def work(number):
        try:
            client.get_or_create_collection("contended", embedding_function=None)
        except chromadb.errors.ChromaError as error:
            assert "concurrent" in error.message(), error.message()
        if number % 2:
            try:
                client.delete_collection("contended")
            except chromadb.errors.ChromaError as error:
                assert "Collection [contended] does not exist" in error.message()

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(work, range(1000)))


def test_langchains_chroma_takes_the_client(client):
    langchain_chroma = pytest.importorskip("langchain_chroma")
    from langchain_core.embeddings import DeterministicFakeEmbedding

    store = langchain_chroma.Chroma("notes", DeterministicFakeEmbedding(size=6), client=client)
    ids = store.add_texts(["foo", "bar"], metadatas=[{"n": 1}, {"n": 2}])
    assert [document.page_content for document in store.similarity_search("bar", k=1)] == ["bar"]
    assert store.similarity_search("bar", k=2, filter={"n": 1})[0].id == ids[0]
    assert len(store.max_marginal_relevance_search("bar", k=2)) == 2


def test_llama_indexs_chroma_takes_the_client(client):
    stores = pytest.importorskip("llama_index.vector_stores.chroma")
    from llama_index.core.schema import TextNode
    from llama_index.core.vector_stores.types import VectorStoreQuery

    store = stores.ChromaVectorStore(client.get_or_create_collection("notes", embedding_function=None))
    store.add([TextNode(id_="a", text="foo", embedding=[1, 0]), TextNode(id_="b", text="bar", embedding=[0, 1])])
    assert store.query(VectorStoreQuery(query_embedding=[0, 1], similarity_top_k=1)).ids == ["b"]


def client_tests():
    """The tests of `tests/clients` that are about a client rather than a server process."""
    folder = Path(__file__).resolve().parents[2] / "tests" / "clients"
    if not folder.exists():
        return []
    stand_ins = {
        "conftest": {"Connect": object, "BUCKET": ""},
        "server_process": {"ServerProcess": object},
    }
    kept = {name: sys.modules.get(name) for name in stand_ins}
    sys.path.append(str(folder))
    try:
        for name, values in stand_ins.items():
            sys.modules[name] = types.ModuleType(name)
            vars(sys.modules[name]).update(values)
        specification = importlib.util.spec_from_file_location("clients_test_chromadb", folder / "test_chromadb.py")
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
    finally:
        for name, before in kept.items():
            sys.modules.pop(name)
            if before is not None:
                sys.modules[name] = before
    found = [value for name, value in vars(module).items() if name.startswith("test_")]
    wanted = {"server", "connect"}
    return [test for test in found if set(inspect.signature(test).parameters) == wanted and is_about_clients(test)]


def is_about_clients(test) -> bool:
    return not re.search(r"\bserver\.", inspect.getsource(test))


@pytest.mark.parametrize("test", client_tests(), ids=lambda test: test.__name__)
def test_what_holds_over_http_holds_within_the_process(test, db):
    made = []

    def connect(_server):
        made.append(chroma.Client(db, allow_reset=True))
        return made[-1]

    test(None, connect)
    for client in made:
        client.close()
