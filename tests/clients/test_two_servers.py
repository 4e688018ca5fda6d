"""Two servers on one bucket behind one client whose requests alternate between them, as behind a load balancer.
Chroma has no such thing; `consistency=strong` is Drumlin's own query parameter."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import chromadb
import httpx
import pytest
from chromadb.errors import ChromaError, NotFoundError
from drumlin import Drumlin
from hashed_words import HashedWords

Servers = tuple[Drumlin, Drumlin]
# What a client of a load balancer does not know: which of the two creates, and when.
ROUNDS = 10


class Alternating(httpx.BaseTransport):
    """Sends each request to the next server, and asks for strong consistency."""

    def __init__(self, servers: Servers) -> None:
        self.transport = httpx.HTTPTransport()
        self.ports = itertools.cycle(server.port for server in servers)
        self.asked: list[int] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        port = next(self.ports)
        self.asked.append(port)
        request.url = request.url.copy_with(port=port).copy_merge_params({"consistency": "strong"})
        return self.transport.handle_request(request)


def client_of(server: Drumlin):
    return chromadb.HttpClient(host="127.0.0.1", port=server.port)


def alternating_client(servers: Servers):
    client = client_of(servers[0])
    transport = Alternating(servers)
    client._server._session = httpx.Client(transport=transport, timeout=60)
    return client, transport


def test_every_write_is_read_on_the_other_server(two_servers: Servers) -> None:
    client, transport = alternating_client(two_servers)
    collection = client.create_collection("shared", embedding_function=HashedWords())
    for number in range(20):
        name = f"record-{number}"
        collection.add(ids=[name], documents=[f"text {number}"], metadatas=[{"n": number, "even": number % 2 == 0}])
        # An odd number of reads, so that each kind of request goes to either server in turn.
        assert collection.get(ids=[name])["documents"] == [f"text {number}"]
        assert collection.count() == number + 1
        assert collection.query(query_texts=[f"text {number}"], n_results=1)["ids"] == [[name]]
        collection.update(ids=[name], metadatas=[{"even": None, "seen": True}])
        assert collection.get(ids=[name])["metadatas"] == [{"n": number, "seen": True}]
    collection.delete(where={"n": {"$lt": 5}})
    assert collection.count() == 15
    assert len(set(transport.asked)) == 2


def test_collections_follow_from_one_server_to_the_other(two_servers: Servers) -> None:
    client, _ = alternating_client(two_servers)
    for number in range(6):
        made = client.create_collection(f"made-{number}", metadata={"n": number}, embedding_function=None)
        assert client.get_collection(f"made-{number}").id == made.id
        assert client.get_or_create_collection(f"made-{number}").id == made.id
        made.modify(name=f"renamed-{number}")
        assert client.get_collection(f"renamed-{number}").metadata == {"n": number}
    client.delete_collection("renamed-0")
    with pytest.raises(NotFoundError):
        client.delete_collection("renamed-0")
    assert client.create_collection("renamed-0").count() == 0


def test_a_name_created_on_both_at_once_is_one_collection(two_servers: Servers) -> None:
    clients = [client_of(server) for server in two_servers for _ in range(2)]
    for round_number in range(ROUNDS):
        name = f"wanted-{round_number}"
        barrier = threading.Barrier(len(clients))

        def get_or_create(client, name: str = name, barrier: threading.Barrier = barrier) -> str:
            barrier.wait()
            return str(client.get_or_create_collection(name, embedding_function=None).id)

        with ThreadPoolExecutor(len(clients)) as pool:
            ids = set(pool.map(get_or_create, clients))
        assert len(ids) == 1, f"{name} became {len(ids)} collections"


def test_a_name_created_exclusively_on_both_at_once_has_one_winner(two_servers: Servers) -> None:
    clients = [client_of(server) for server in two_servers]
    for round_number in range(ROUNDS):
        name = f"exclusive-{round_number}"
        barrier = threading.Barrier(len(clients))

        def create(client, name: str = name, barrier: threading.Barrier = barrier) -> str | None:
            barrier.wait()
            try:
                return str(client.create_collection(name, embedding_function=None).id)
            except ChromaError as error:
                assert "already exists" in str(error), error
                return None

        with ThreadPoolExecutor(len(clients)) as pool:
            made = [each for each in pool.map(create, clients) if each is not None]
        assert len(made) == 1, f"{name}: {made}"
        assert {str(client.get_collection(name).id) for client in clients} == set(made)


def test_two_servers_and_their_successors_agree_after_kill_9(two_servers: Servers) -> None:
    client, _ = alternating_client(two_servers)
    collection = client.create_collection("shared", embedding_function=HashedWords())
    for number in range(10):
        collection.upsert(ids=[str(number)], documents=[f"text {number}"])
    for server in two_servers:
        server.kill()
    for server in two_servers:
        server.start()
        found = client_of(server).get_collection("shared", embedding_function=HashedWords())
        assert (found.id, found.count()) == (collection.id, 10)
        assert found.get()["documents"] == [f"text {number}" for number in range(10)]
