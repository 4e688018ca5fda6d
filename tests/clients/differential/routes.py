"""Short ways to write requests of Chroma's v2 API, and the records that most stories begin with."""

from __future__ import annotations

from typing import Any

from .wire import Request

API = "/api/v2"
TENANT = f"{API}/tenants/default_tenant"
DATABASE = f"{TENANT}/databases/default_database"
COLLECTIONS = f"{DATABASE}/collections"
COLUMNS = ["documents", "embeddings", "metadatas", "uris"]


def get(path: str, edge: str = "") -> Request:
    return Request("GET", path, edge=edge, headers={})


def post(path: str, body: Any = None, edge: str = "", into: str | None = None) -> Request:
    return Request("POST", path, body, edge, into)


def put(path: str, body: Any, edge: str = "") -> Request:
    return Request("PUT", path, body, edge)


def delete(path: str, edge: str = "") -> Request:
    return Request("DELETE", path, edge=edge, headers={})


def create(name: Any, slot: str | None = None, edge: str = "", **more: Any) -> Request:
    return post(COLLECTIONS, {"name": name, **more}, edge, slot)


def on(slot: str, route: str, body: Any, edge: str = "") -> Request:
    """A request on the records of a slot's collection."""
    return post(f"{COLLECTIONS}/{{{slot}}}/{route}", body, edge)


def everything(slot: str) -> Request:
    return on(slot, "get", {"include": COLUMNS})


def count(slot: str) -> Request:
    return get(f"{COLLECTIONS}/{{{slot}}}/count")


def shown(name: str) -> Request:
    return get(f"{COLLECTIONS}/{name}")


# Every type of metadata, lists, numbers that a double cannot hold, absent and empty documents, texts that a careless
# LIKE or regex would get wrong. Only records with metadata have a uri (see differences.py, "uri alone").
RECORDS: list[tuple[str, list[float], dict[str, Any] | None, str | None, str | None]] = [
    (
        "r0",
        [1.0, 0.5, -0.25],
        {"s": "red", "i": 1, "f": 1.5, "b": True, "tags": ["p", "q"]},
        "The quick brown fox",
        "u0",
    ),
    ("r1", [0.3, 2.0, 1.1], {"s": "blue", "i": 2, "f": 2.0, "b": False}, "jumps over the lazy dog", None),
    ("r2", [-1.7, 0.2, 0.9], {"s": "red", "i": -3, "f": -2.5, "tags": ["q"]}, "Привет, мир", "u2"),
    ("r3", [0.0, 0.0, 3.5], None, "100% _sure_ *star* [x] fox", None),
    ("r4", [5.0, -4.0, 0.1], {"i": 9007199254740993}, None, None),
    ("r5", [0.11, 0.12, 0.13], {"i": 2, "mixed": "2"}, "", None),
    ("r6", [-0.5, -0.6, -0.7], {"mixed": 2}, "line one\nline two", None),
    ("r7", [2.2, 3.3, -4.4], {"mixed": 2.0}, "日本語のテキスト", None),
    ("r8", [1e-3, 7.0, 1.0], {"mixed": True}, None, None),
    ("r9", [9.5, 0.4, 0.3], {"mixed": [2, 3]}, "Fox", None),
    ("r10", [0.9, 0.8, 0.7], {"fl": [1.5, 2.5], "bs": [True, False], "nums": [1, 2]}, "fox", None),
    ("r11", [-3.0, 1.0, -1.0], {"s": "", "i": 7, "nums": [2]}, "The end.", "u11"),
]


def columns(records: list[tuple]) -> dict[str, Any]:
    ids, embeddings, metadatas, documents, uris = (list(column) for column in zip(*records, strict=True))
    return {"ids": ids, "embeddings": embeddings, "metadatas": metadatas, "documents": documents, "uris": uris}


def filled(name: str, slot: str, **more: Any) -> list[Request]:
    """A collection with the records above."""
    return [create(name, slot, **more), on(slot, "add", columns(RECORDS))]
