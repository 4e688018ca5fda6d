"""A server with keys, and the ways in which Chroma's Python client shows one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import chromadb
import pytest
from chromadb.config import Settings
from chromadb.errors import ChromaError
from drumlin import Drumlin

KEY = "a-key-of-the-test-suite-0123456789"
TOKEN = "chromadb.auth.token_authn.TokenAuthClientProvider"
BASIC = "chromadb.auth.basic_authn.BasicAuthClientProvider"
WAYS = {
    "authorization": {"provider": TOKEN, "header": "Authorization"},
    "x-chroma-token": {"provider": TOKEN, "header": "X-Chroma-Token"},
    "basic": {"provider": BASIC},
    "header": {},
}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Drumlin]:
    settings = {"STORAGE_API_KEY": KEY, "DRUMLIN_DATA": str(tmp_path / "bucket")}
    server = Drumlin(tmp_path / "server", settings).start()
    yield server
    server.close()
    assert KEY not in server.output(), "the log holds a key"


def connect(server: Drumlin, way: str, key: str) -> chromadb.api.ClientAPI:
    if way == "header":
        return chromadb.HttpClient(host="127.0.0.1", port=server.port, headers={"X-API-Key": key})
    asked = WAYS[way]
    credentials = f"anybody:{key}" if asked["provider"] == BASIC else key
    settings = Settings(
        chroma_client_auth_provider=asked["provider"],
        chroma_client_auth_credentials=credentials,
        chroma_auth_token_transport_header=asked.get("header"),
    )
    return chromadb.HttpClient(host="127.0.0.1", port=server.port, settings=settings)


@pytest.mark.parametrize("way", WAYS)
def test_the_right_key_opens_the_server(guarded: Drumlin, way: str) -> None:
    client = connect(guarded, way, KEY)
    collection = client.get_or_create_collection("secrets", embedding_function=None)
    collection.add(ids=["a"], embeddings=[[1.0, 2.0]])
    assert collection.count() == 1
    assert collection.query(query_embeddings=[[1.0, 2.0]], n_results=1)["ids"] == [["a"]]


@pytest.mark.parametrize("way", WAYS)
def test_a_wrong_key_is_refused_and_tells_nothing(guarded: Drumlin, way: str) -> None:
    connect(guarded, way, KEY).create_collection("secrets", embedding_function=None)
    with pytest.raises((ChromaError, ValueError)) as refused:
        connect(guarded, way, KEY + "0").list_collections()
    assert "secrets" not in str(refused.value) and KEY not in str(refused.value)


def test_without_a_key_only_the_heartbeat_answers(guarded: Drumlin) -> None:
    assert guarded.client.get("/api/v2/heartbeat").status_code == 200
    with pytest.raises((ChromaError, ValueError)):
        chromadb.HttpClient(host="127.0.0.1", port=guarded.port)
