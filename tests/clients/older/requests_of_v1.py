"""One request of every kind to `/api/v1`, right and wrong, for both servers. `edge` names an intended difference."""

from __future__ import annotations

from typing import Any

from differential.wire import Request

API = "/api/v1"
NO_ID = "00000000-0000-4000-8000-00000000dead"
ELSEWHERE = "?tenant=gardeners&database=beds"
ALL = ["embeddings", "documents", "metadatas", "uris"]


def get(path: str, edge: str = "") -> Request:
    return Request("GET", API + path, edge=edge, headers={})


def post(path: str, body: Any = None, edge: str = "", into: str | None = None) -> Request:
    return Request("POST", API + path, body, edge, into)


def delete(path: str, edge: str = "") -> Request:
    return Request("DELETE", API + path, edge=edge, headers={})


def on(route: str, body: Any, edge: str = "") -> Request:
    return post(f"/collections/{{things}}/{route}", body, edge)


def server() -> list[Request]:
    return [
        get(""),
        get("/heartbeat"),
        get("/version"),
        get("/pre-flight-checks", "limits"),
        get("/tenants/default_tenant"),
        get("/tenants/nobody"),
        get("/databases/default_database"),
        get("/databases/nothing"),
        get("/databases/default_database?tenant=nobody"),
        post("/tenants", {"name": "gardeners"}),
        post("/tenants", {"name": "gardeners"}),
        post("/tenants", {"name": "x"}, "words"),
        post("/tenants", {}, "shape"),
        post("/databases?tenant=gardeners", {"name": "beds"}),
        post("/databases?tenant=gardeners", {"name": "beds"}),
        post("/databases?tenant=nobody", {"name": "beds"}, "database in a missing tenant"),
        get("/databases/beds?tenant=gardeners"),
    ]


def collections() -> list[Request]:
    return [
        get("/collections"),
        get("/count_collections"),
        post("/collections", {"name": "things"}, into="things"),
        post("/collections", {"name": "things"}),
        post("/collections", {"name": "things", "get_or_create": True, "metadata": {"k": 1}}),
        post("/collections", {"name": "no"}, "words"),
        post("/collections", {"name": "empty", "metadata": {}}, "empty metadata"),
        post("/collections", {"metadata": {}}, "shape"),
        post(f"/collections{ELSEWHERE}", {"name": "things"}, into="elsewhere"),
        get("/collections/things"),
        get(f"/collections/things{ELSEWHERE}"),
        get("/collections/nothing"),
        get("/collections/{things}"),
        get(f"/collections{ELSEWHERE}"),
        get(f"/count_collections{ELSEWHERE}"),
        get("/count_collections?tenant=nobody"),
        delete("/collections/nothing"),
        get(f"/collections/{NO_ID}/count"),
        get("/collections/things/count"),
        post(f"/collections/{NO_ID}/get", {}),
        get("/collections/{elsewhere}/count"),
    ]


def writes() -> list[Request]:
    return [
        on(
            "add",
            {
                "ids": ["a", "b", "c"],
                "embeddings": [[1, 0], [0, 1], [1, 1.5]],
                "metadatas": [{"k": 1, "s": "x"}, None, {"f": 1.5, "b": True, "n": None}],
                "documents": ["d1", None, ""],
                "uris": ["u", None, None],
                "increment_index": True,
            },
        ),
        on("add", {"ids": ["a"], "embeddings": [[5, 5]]}),
        on("add", {"ids": ["d"], "embeddings": [[1, 2, 3]]}, "dimension of an add"),
        on("add", {"ids": ["d"], "documents": ["x"]}, "no embedding"),
        on("add", {"ids": [1], "embeddings": [[1, 0]]}, "shape"),
        post(f"/collections/{NO_ID}/add", {"ids": ["a"], "embeddings": [[1, 0]]}),
        on("upsert", {"ids": ["a", "d"], "embeddings": [[3, 0], [4, 4]], "documents": ["u1", "u2"]}),
        on("upsert", {"ids": ["d"], "embeddings": [[1, 2, 3]]}),
        on("upsert", {"ids": ["d"], "embeddings": [[4, 5]], "metadatas": [], "documents": [], "uris": []}),
        on("update", {"ids": ["b", "nothing"], "metadatas": [{"k": 2}, {"k": 3}]}),
        on("update", {"ids": ["c"], "embeddings": [], "metadatas": [{"b": None}], "documents": []}),
        on("get", {"include": ALL}),
    ]


def reads() -> list[Request]:
    query = {"query_embeddings": [[1, 0]]}
    return [
        on("get", {}),
        on("get", {"include": []}),
        on("get", {"include": ["data", "distances", "documents"]}),
        on("get", {"include": ["bogus"]}, "shape"),
        on("get", {"ids": ["c", "nothing"], "where": None, "where_document": None, "limit": None, "sort": None}),
        on("get", {"where": {}, "where_document": {}}, "empty filter"),
        on("get", {"where": {"k": {"$gte": 2}}, "include": []}),
        on("get", {"where": {"k": {"$bogus": 2}}}, "words"),
        on("get", {"where_document": {"$contains": "u"}, "limit": 1, "offset": 1}),
        on("query", query),
        on("query", query | {"n_results": 2, "include": [*ALL, "distances", "data"]}),
        on("query", {"query_embeddings": [[1, 0], [0, 1]], "n_results": 1, "include": ["distances"]}),
        on("query", query | {"where": {"k": 99}}),
        on("query", query | {"where": {}, "where_document": {}}, "empty filter"),
        on("query", {"query_embeddings": [[1, 0, 0]]}),
        on("query", {}, "shape"),
        post(f"/collections/{NO_ID}/query", query),
        get("/collections/{things}/count"),
    ]


def changes() -> list[Request]:
    def put(path: str, body: Any, edge: str = "") -> Request:
        return Request("PUT", API + path, body, edge)

    return [
        on("delete", {"ids": ["d", "nothing"]}, "list of the deleted"),
        on("delete", {"where": {"k": 99}}, "list of the deleted"),
        on("delete", {}, "words"),
        on("delete", {"ids": ["a"], "where": {}}, "empty filter"),
        post(f"/collections/{NO_ID}/delete", {"ids": ["a"]}),
        put("/collections/{things}", {"new_metadata": {"x": 1}}),
        put("/collections/{things}", {"new_name": "renamed"}),
        put("/collections/{things}", {}),
        put("/collections/{things}", {"new_metadata": {}}),
        put("/collections/{things}", {"new_name": "no"}, "words"),
        put(f"/collections/{NO_ID}", {"new_name": "other"}),
        put("/collections/things", {"new_name": "other"}),
        get("/collections/renamed"),
        post("/collections", {"name": "taken"}, into="taken"),
        put("/collections/{things}", {"new_name": "taken"}, "taken name"),
        delete("/collections/renamed"),
        delete("/collections/renamed"),
        get("/collections/{things}/count"),
        delete(f"/collections/things{ELSEWHERE}"),
        get("/nothing", "no route"),
        delete("/collections", "no route"),
        post("/reset"),
    ]


REQUESTS = [*server(), *collections(), *writes(), *reads(), *changes()]

# What ours answers where it means to answer otherwise than Chroma 0.5.23, and why. `None`: its status, in other words.
DIFFERENCES: dict[str, tuple[int | None, str]] = {
    "limits": (200, "max_batch_size is by our limits"),
    "words": (None, "the second version's words"),
    "shape": (422, "an error with a name and a message instead of FastAPI's list of places"),
    "database in a missing tenant": (404, "theirs takes the database for one that exists"),
    "empty metadata": (200, "counts as none: some clients send it by default"),
    "dimension of an add": (400, "theirs says 500, and by every other route 400"),
    "no embedding": (422, "a record needs an embedding"),
    "empty filter": (200, "counts as none, as it did until 0.5.15: Python's and Ruby's clients send it"),
    "list of the deleted": (200, "the ids, as in 0.4: Dart's client needs a list"),
    "taken name": (409, "theirs says 500 with SQLite's words"),
    "no route": (None, "without a body"),
}
