"""The official Python client, synchronous and asynchronous: what its users do with a server."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import chromadb
import numpy as np
import pytest
from chromadb.errors import ChromaError, InvalidArgumentError, NotFoundError
from conftest import Connect
from hashed_words import HashedWords, embed
from server_process import ServerProcess

PLANTS = {
    "oak": ("a tall tree with lobed leaves", {"kind": "tree", "height": 30, "evergreen": False}),
    "pine": ("a tall tree with needles", {"kind": "tree", "height": 35.5, "evergreen": True}),
    "rose": ("a shrub with thorns and red flowers", {"kind": "shrub", "height": 2, "evergreen": False}),
    "moss": ("a soft green carpet on stones", {"kind": "moss", "evergreen": True}),
    "fern": ("leaves that unroll in the shade", None),
}
EVERYTHING = ["documents", "embeddings", "metadatas", "uris"]


def plant(client, name: str = "plants"):
    """A collection of the plants above, documents embedded by the client."""
    collection = client.create_collection(name, metadata={"season": "spring"}, embedding_function=HashedWords("v1"))
    collection.add(
        ids=list(PLANTS),
        documents=[text for text, _ in PLANTS.values()],
        metadatas=[metadata for _, metadata in PLANTS.values()],
    )
    return collection


def ids_of(collection, **filters) -> set[str]:
    return set(collection.get(**filters)["ids"])


def test_a_collection_is_made_found_renamed_and_dropped(server: ServerProcess, connect: Connect) -> None:
    client = connect(server)
    made = client.create_collection("plants", metadata={"season": "spring", "year": 2024, "ratio": 1.0})
    assert client.count_collections() == 1
    assert [each.name for each in client.list_collections()] == ["plants"]

    again = client.get_or_create_collection("plants", metadata={"season": "autumn"})
    assert (again.id, again.metadata) == (made.id, {"season": "spring", "year": 2024, "ratio": 1.0})
    assert isinstance(again.metadata["ratio"], float) and isinstance(again.metadata["year"], int)

    made.modify(name="garden", metadata={"season": "summer"})
    assert client.get_collection("garden").id == made.id
    assert client.get_collection("garden").metadata == {"season": "summer"}
    with pytest.raises(NotFoundError):
        client.get_collection("plants")

    client.delete_collection("garden")
    assert (client.count_collections(), client.list_collections()) == (0, [])
    with pytest.raises(NotFoundError):
        made.count()


def test_settings_and_embedding_function_come_back_with_a_collection(server: ServerProcess, connect: Connect) -> None:
    client = connect(server)
    configuration = {"hnsw": {"space": "ip", "ef_search": 50, "max_neighbors": 24}}
    client.create_collection("set", configuration=configuration, embedding_function=HashedWords("kept"))
    found = client.get_collection("set")  # makes the embedding function from what the server remembers
    hnsw = found.configuration["hnsw"]
    assert (hnsw["space"], hnsw["ef_search"], hnsw["max_neighbors"]) == ("ip", 50, 24)
    assert found.configuration["embedding_function"].get_config() == {"note": "kept"}
    found.add(ids=["a"], documents=["a tree"])
    assert found.query(query_texts=["a tree"])["ids"] == [["a"]]

    found.modify(configuration={"hnsw": {"ef_search": 77}})
    changed = client.get_collection("set").configuration
    assert (changed["hnsw"]["ef_search"], changed["hnsw"]["space"]) == (77, "ip")
    assert changed["embedding_function"].get_config() == {"note": "kept"}

    old = client.create_collection("old", metadata={"hnsw:space": "cosine"}, embedding_function=None)
    assert old.configuration["hnsw"]["space"] == "cosine"
    old.add(ids=["a", "b"], embeddings=[[2.0, 0.0], [0.0, 3.0]])
    assert old.query(query_embeddings=[[5.0, 0.0]])["distances"][0] == pytest.approx([0, 1], abs=1e-6)


def test_records_come_back_as_they_were_given(server: ServerProcess, connect: Connect) -> None:
    collection = plant(connect(server))
    assert collection.count() == 5
    got = collection.get(include=EVERYTHING)
    assert got["ids"] == list(PLANTS)
    assert got["documents"] == [text for text, _ in PLANTS.values()]
    assert got["metadatas"] == [metadata for _, metadata in PLANTS.values()]
    assert isinstance(got["metadatas"][0]["height"], int) and isinstance(got["metadatas"][1]["height"], float)
    assert got["uris"] == [None] * 5
    assert np.allclose(got["embeddings"], [embed(text) for text, _ in PLANTS.values()], rtol=1e-6)

    some = collection.get(ids=["rose", "nobody", "oak"], include=["documents"])
    assert (some["ids"], some["metadatas"], some["embeddings"]) == (["oak", "rose"], None, None)
    assert collection.get(limit=2, offset=1)["ids"] == ["pine", "rose"]
    assert collection.peek(limit=1)["ids"] == ["oak"]

    collection.add(ids=["oak", "ivy"], documents=["ignored", "a climber"])
    assert collection.get(ids=["oak", "ivy"])["documents"] == [PLANTS["oak"][0], "a climber"]
    linked = {"ids": ["yew"], "embeddings": [embed("yew")], "metadatas": [{"kind": "tree"}], "uris": ["garden://yew"]}
    collection.upsert(**linked)
    got = collection.get(ids=["yew"], include=["uris", "metadatas", "documents"])
    assert (got["uris"], got["metadatas"], got["documents"]) == (["garden://yew"], [{"kind": "tree"}], [None])


def test_filters_choose_by_metadata_and_by_document(server: ServerProcess, connect: Connect) -> None:
    collection = plant(connect(server))
    assert ids_of(collection, where={"kind": "tree"}) == {"oak", "pine"}
    assert ids_of(collection, where={"kind": {"$ne": "tree"}}) == {"rose", "moss", "fern"}
    assert ids_of(collection, where={"height": {"$gte": 30}}) == {"oak", "pine"}
    assert ids_of(collection, where={"height": {"$lt": 31}}) == {"oak", "rose"}
    assert ids_of(collection, where={"kind": {"$in": ["moss", "shrub"]}}) == {"moss", "rose"}
    assert ids_of(collection, where={"kind": {"$nin": ["moss", "shrub"]}}) == {"oak", "pine", "fern"}
    both = {"$and": [{"evergreen": True}, {"height": {"$gt": 3}}]}
    assert ids_of(collection, where=both) == {"pine"}
    assert ids_of(collection, where={"$or": [both, {"kind": "moss"}]}) == {"pine", "moss"}
    assert ids_of(collection, where_document={"$contains": "tall tree"}) == {"oak", "pine"}
    assert ids_of(collection, where_document={"$not_contains": "leaves"}) == {"pine", "rose", "moss"}
    assert ids_of(collection, where_document={"$regex": "^a .*(needles|stones)$"}) == {"pine", "moss"}
    assert ids_of(collection, where={"evergreen": False}, where_document={"$contains": "red"}) == {"rose"}
    assert ids_of(collection, ids=["oak", "moss"], where={"evergreen": True}) == {"moss"}


def test_a_query_ranks_what_the_filter_leaves(server: ServerProcess, connect: Connect) -> None:
    collection = plant(connect(server))
    found = collection.query(query_texts=["a tall tree with needles", "red flowers"], n_results=2)
    assert [hits[0] for hits in found["ids"]] == ["pine", "rose"]
    assert found["ids"][0] == ["pine", "oak"]
    assert found["distances"][0][0] == pytest.approx(0, abs=1e-6)
    assert found["distances"][0] == sorted(found["distances"][0])
    assert found["metadatas"][1][0] == PLANTS["rose"][1]

    found = collection.query(query_texts=["a tall tree with needles"], n_results=10, where={"evergreen": False})
    assert found["ids"][0][0] == "oak" and set(found["ids"][0]) == {"oak", "rose"}
    found = collection.query(query_texts=["tree"], ids=["moss", "fern"], include=["embeddings"])
    assert set(found["ids"][0]) == {"moss", "fern"}
    assert (found["distances"], found["documents"]) == (None, None)
    assert np.array(found["embeddings"]).shape == (1, 2, 32)
    found = collection.query(query_texts=["tree"], where_document={"$contains": "no such text"})
    assert found["ids"] == [[]]


def test_update_merges_metadata_and_none_deletes_a_key(server: ServerProcess, connect: Connect) -> None:
    collection = plant(connect(server))
    collection.update(ids=["oak", "nobody"], metadatas=[{"height": None, "age": 500}, {"age": 1}])
    assert collection.get(ids=["oak"])["metadatas"] == [{"kind": "tree", "evergreen": False, "age": 500}]
    assert collection.get(ids=["oak"])["documents"] == [PLANTS["oak"][0]]
    assert collection.count() == 5

    collection.update(ids=["moss"], documents=["a tall tree, suddenly"])  # the client embeds it anew
    assert collection.query(query_texts=["a tall tree suddenly"], n_results=1)["ids"] == [["moss"]]
    collection.update(ids=["moss"], metadatas=[{"kind": None, "evergreen": None}])
    assert collection.get(ids=["moss"])["metadatas"] == [{}]

    collection.upsert(ids=["fern", "ivy"], documents=["shade", "climbs"], metadatas=[{"kind": "fern"}, {"kind": "ivy"}])
    got = collection.get(where={"kind": {"$in": ["fern", "ivy"]}})
    assert (got["ids"], got["documents"]) == (["fern", "ivy"], ["shade", "climbs"])


def test_delete_takes_ids_filters_and_a_limit(server: ServerProcess, connect: Connect) -> None:
    collection = plant(connect(server))
    collection.delete(ids=["oak", "nobody"])
    assert ids_of(collection) == {"pine", "rose", "moss", "fern"}
    assert collection.delete(where={"evergreen": True}, limit=1)["deleted"] == 1
    assert collection.count() == 3
    collection.delete(where_document={"$contains": "shade"})
    assert "fern" not in ids_of(collection)
    collection.delete(ids=["rose"], where={"kind": "moss"})
    assert "rose" in ids_of(collection)
    collection.add(ids=["oak"], documents=["planted again"])
    assert collection.get(ids=["oak"])["documents"] == ["planted again"]


def test_lists_in_metadata_are_kept_and_searched(server: ServerProcess, connect: Connect) -> None:
    collection = connect(server).create_collection("lists", embedding_function=HashedWords())
    values = [{"tags": ["red", "wild"]}, {"tags": ["red"], "sizes": [1, 2]}, {"sizes": [2.5, 3.5]}, {"flags": [True]}]
    collection.add(ids=["a", "b", "c", "d"], documents=["x"] * 4, metadatas=values)
    assert collection.get()["metadatas"] == values
    assert ids_of(collection, where={"tags": {"$contains": "red"}}) == {"a", "b"}
    assert ids_of(collection, where={"tags": {"$not_contains": "red"}}) == {"c", "d"}
    assert ids_of(collection, where={"sizes": {"$contains": 2}}) == {"b"}
    assert ids_of(collection, where={"flags": {"$contains": True}}) == {"d"}


@pytest.mark.parametrize(
    ("space", "points", "distances"),
    [
        ("l2", [[1, 2, 3], [1, 0, 1], [-1, -2, -3]], [0, 8, 56]),
        ("ip", [[2, 4, 6], [1, 2, 3], [-1, -2, -3]], [-27, -13, 15]),
        ("cosine", [[2, 4, 6], [0, 0, 5], [-1, -2, -3]], [0, 1 - 3 / 14**0.5, 2]),
    ],
)
def test_distances_are_chromas(server: ServerProcess, connect: Connect, space, points, distances) -> None:
    client = connect(server)
    collection = client.create_collection("d10", configuration={"hnsw": {"space": space}}, embedding_function=None)
    collection.add(ids=["a", "b", "c"], embeddings=points)
    found = collection.query(query_embeddings=[[1, 2, 3]])
    assert found["ids"] == [["a", "b", "c"]]
    assert found["distances"][0] == pytest.approx(distances, abs=1e-5)


def test_errors_are_the_clients_own_exceptions(server: ServerProcess, connect: Connect) -> None:
    client = connect(server)
    collection = client.create_collection("strict", embedding_function=None)
    collection.add(ids=["a"], embeddings=[[1, 2, 3]])
    with pytest.raises(ChromaError, match="already exists"):
        client.create_collection("strict")
    with pytest.raises(NotFoundError, match="nosuch"):
        client.get_collection("nosuch")
    with pytest.raises(NotFoundError):
        client.delete_collection("nosuch")
    with pytest.raises(InvalidArgumentError, match="dimension of 3, got 2"):
        collection.add(ids=["b"], embeddings=[[1, 2]])
    with pytest.raises(InvalidArgumentError, match="dimension of 3, got 2"):
        collection.query(query_embeddings=[[1, 2]])
    with pytest.raises(InvalidArgumentError, match="3-512 characters"):
        client.create_collection("ab")
    assert collection.count() == 1


@pytest.mark.parametrize(
    ("provider", "settings"),
    [
        ("token_authn.TokenAuthClientProvider", {"chroma_auth_token_transport_header": "X-Chroma-Token"}),
        ("token_authn.TokenAuthClientProvider", {"chroma_auth_token_transport_header": "Authorization"}),
        ("basic_authn.BasicAuthClientProvider", {}),
    ],
)
def test_credentials_are_no_obstacle_where_none_are_asked_for(server: ServerProcess, provider, settings) -> None:
    credentials = {
        "chroma_client_auth_provider": f"chromadb.auth.{provider}",
        "chroma_client_auth_credentials": "me:key",
    }
    if "token" in provider:
        credentials["chroma_client_auth_credentials"] = "some-key"
    client = chromadb.HttpClient(
        host="127.0.0.1", port=server.port, settings=chromadb.Settings(**credentials, **settings)
    )
    assert client.create_collection("open").count() == 0


def test_tenants_and_databases_keep_collections_apart(server: ServerProcess) -> None:
    admin = chromadb.AdminClient(
        chromadb.Settings(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host="127.0.0.1",
            chroma_server_http_port=server.port,
        )
    )
    admin.create_tenant("acme")
    admin.create_database("main", tenant="acme")
    admin.create_database("archive", tenant="acme")
    assert [each["name"] for each in admin.list_databases(tenant="acme")] == ["archive", "main"]

    def client(database: str):
        return chromadb.HttpClient(host="127.0.0.1", port=server.port, tenant="acme", database=database)

    main, archive = client("main"), client("archive")
    assert main.create_collection("same").id != archive.create_collection("same").id
    main.get_collection("same").add(ids=["a"], embeddings=[[1.0]])
    assert (main.get_collection("same").count(), archive.get_collection("same").count()) == (1, 0)
    admin.delete_database("archive", tenant="acme")
    with pytest.raises(NotFoundError, match="archive"):
        client("archive")
    assert main.get_collection("same").count() == 1
    with pytest.raises((NotFoundError, ValueError), match="nosuch"):
        chromadb.HttpClient(host="127.0.0.1", port=server.port, tenant="nosuch")


def test_a_name_wanted_by_eight_threads_gets_one_collection(server: ServerProcess, connect: Connect) -> None:
    clients = [connect(server) for _ in range(8)]
    barrier = threading.Barrier(len(clients))

    def get_or_create(client) -> str:
        barrier.wait()
        return str(client.get_or_create_collection("wanted", embedding_function=HashedWords()).id)

    with ThreadPoolExecutor(len(clients)) as pool:
        assert len(set(pool.map(get_or_create, clients))) == 1
    assert clients[0].count_collections() == 1


def test_writes_of_eight_threads_are_all_there(server: ServerProcess, connect: Connect) -> None:
    collection = connect(server).create_collection("shared", embedding_function=None)

    def add(writer: int) -> None:
        for number in range(5):
            ids = [f"{writer}-{number}-{row}" for row in range(10)]
            collection.add(ids=ids, embeddings=[[writer, number, row] for row in range(10)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    assert collection.count() == 400
    assert collection.query(query_embeddings=[[7, 4, 9]], n_results=1)["ids"] == [["7-4-9"]]


def test_everything_is_there_after_kill_9(server: ServerProcess, connect: Connect) -> None:
    client = connect(server)
    collection = plant(client)
    collection.update(ids=["oak"], metadatas=[{"height": None, "tags": ["old", "wide"]}])
    collection.delete(ids=["fern"])
    client.create_collection("dropped")
    client.delete_collection("dropped")
    rows = np.random.default_rng(7).random((2_000, 16), dtype=np.float32)
    many = client.create_collection("many", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None)
    numbers = range(len(rows))
    many.add(ids=[str(n) for n in numbers], embeddings=rows, metadatas=[{"n": n} for n in numbers])

    def state(client) -> list:
        plants, many = client.get_collection("plants"), client.get_collection("many")
        kept = plants.get(include=EVERYTHING)
        kept["embeddings"] = np.array(kept["embeddings"]).tolist()
        found = many.query(query_embeddings=rows[:5], n_results=3, where={"n": {"$lt": 100}})
        names = sorted(each.name for each in client.list_collections())
        return [names, plants.id, plants.metadata, str(plants.configuration["hnsw"]), kept, many.count(), found["ids"]]

    before = state(client)
    assert before[0] == ["many", "plants"]
    server.kill()
    server.start()
    assert state(connect(server)) == before
    collection.add(ids=["ivy"], documents=["the old handle still works"])  # its connections were cut
    assert collection.query(query_texts=["the old handle still works"], n_results=1)["ids"] == [["ivy"]]
