"""Edges of the root routes, of tenants and databases, and of HTTP itself."""

from __future__ import annotations

from .routes import API, COLLECTIONS, DATABASE, TENANT, create, delete, filled, get, on, post
from .wire import Request

TEXT = {"Content-Type": "text/plain"}


def roots() -> list[Request]:
    return [
        get(API),
        get(f"{API}/heartbeat"),
        get(f"{API}/healthcheck"),
        get(f"{API}/version"),
        get(f"{API}/auth/identity"),
        get(f"{API}/pre-flight-checks", "max_batch_size"),
        get(f"{API}/nosuch"),
        get("/nosuch", "outside of the API"),
        get(f"{DATABASE}/nosuch"),
        get("/api/v1/collections", "first version"),
        Request("OPTIONS", COLLECTIONS, headers={}),
        Request("PATCH", COLLECTIONS, {}),
        Request("POST", f"{API}/heartbeat", {}),
        delete(f"{API}/version"),
        get(f"{API}/reset"),
        get(f"{API}/collections/bad", "crn without colons"),
        get(f"{API}/collections/a:b:c", "crn"),
    ]


def bodies() -> list[Request]:
    """Content types, broken JSON, shapes."""

    def create_with(headers: dict[str, str], body: bytes) -> Request:
        return Request("POST", COLLECTIONS, body, headers=headers)

    named = b'{"name":"by-type"}'
    return [
        create_with(TEXT, named),
        create_with({"Content-Type": "application/x-www-form-urlencoded"}, named),
        create_with({"Content-Type": "application/json; charset=utf-8"}, named),
        create_with({}, b'{"name":"no-type"}'),
        create_with(TEXT, b"{broken"),
        *(
            post(COLLECTIONS, body)
            for body in (
                b"",
                b"{",
                b"nonsense",
                b'{"name":"abc",}',
                b'{"name":"abc"} trailing',
                b"\xff\xfe",
                b'{"name":NaN}',
            )
        ),
        *(post(COLLECTIONS, body) for body in ([], "abc", 5, True, {}, {"name": None}, {"name": 5}, {"name": ["abc"]})),
        post(COLLECTIONS, {"name": "unknown-fields", "nosuch": 1, "another": {"a": []}}),
        post(COLLECTIONS, b"null"),
        get(f"{COLLECTIONS}?limit=-1"),
        get(f"{COLLECTIONS}?limit=x"),
        get(f"{COLLECTIONS}?offset=1.5"),
        get(f"{COLLECTIONS}?limit=5&nosuch=1"),
        get(f"{COLLECTIONS}?limit="),
    ]


def order_of_checks() -> list[Request]:
    """Content type, syntax, shape, uuid, collection, content: in this order."""
    unknown = f"{COLLECTIONS}/11111111-1111-4111-8111-111111111111"
    requests = filled("order", "c")
    for route in ("add", "upsert", "update", "get", "query", "delete"):
        for base in (f"{COLLECTIONS}/not-a-uuid", unknown, f"{COLLECTIONS}/{{c}}"):
            requests += [
                Request("POST", f"{base}/{route}", b"{broken", headers=TEXT),
                post(f"{base}/{route}", b"{broken"),
                post(f"{base}/{route}", {"ids": 5, "query_embeddings": 5}),
                post(
                    f"{base}/{route}",
                    {"where": {"$bad": 1}, "ids": ["x"], "embeddings": [[1, 2]], "query_embeddings": [[1]]},
                ),
                post(f"{base}/{route}", {"ids": [], "embeddings": [], "query_embeddings": []}),
            ]
    for base in ("not-a-uuid", "11111111-1111-4111-8111-111111111111"):
        requests += [
            get(f"{COLLECTIONS}/{base}/count"),
            get(f"{COLLECTIONS}/by-id/{base}"),
            get(f"{COLLECTIONS}/{base}"),
        ]
        requests += [Request("PUT", f"{COLLECTIONS}/{base}", {"new_name": "x"}), delete(f"{COLLECTIONS}/{base}")]
    return requests


def tenants() -> list[Request]:
    return [
        get(TENANT),
        get(f"{API}/tenants/nosuch"),
        post(f"{API}/tenants", {"name": "acme"}),
        get(f"{API}/tenants/acme"),
        post(f"{API}/tenants", {"name": "acme"}),
        post(f"{API}/tenants", {"name": "default_tenant"}),
        *(post(f"{API}/tenants", body) for body in ({"name": "ab"}, {"name": ""}, {}, {"name": 5}, {"name": None})),
        post(f"{API}/tenants", {"name": "с пробелом"}),
        get(f"{API}/tenants/%D1%81%20%D0%BF%D1%80%D0%BE%D0%B1%D0%B5%D0%BB%D0%BE%D0%BC"),
        post(f"{API}/tenants", {"name": "slash/and?more"}),
        get(f"{API}/tenants/slash%2Fand%3Fmore"),
        Request("PATCH", f"{API}/tenants/acme", {"resource_name": "named"}),
        get(f"{API}/tenants/acme", "resource_name"),
        Request("PATCH", f"{API}/tenants/acme", {}),
        Request("PATCH", f"{API}/tenants/nosuch", {"resource_name": "named"}, "patch of a missing tenant"),
        get(f"{API}/tenants/acme/databases"),
        get(f"{API}/tenants/nosuch/databases"),
    ]


def databases() -> list[Request]:
    databases = f"{TENANT}/databases"
    names = ("zeta", "alpha", "mid.dle", "a-b_c")
    bad = ("ab", "", "-abc", "abc-", "a..b", "10.0.0.1", "with space", "ümlaut", "x" * 513)
    inside = f"{databases}/alpha/collections"
    return [
        *(post(databases, {"name": name}) for name in names),
        post(databases, {"name": "alpha"}),
        *(post(databases, {"name": name}) for name in bad),
        *(post(databases, body) for body in ({}, {"name": 5}, {"name": None})),
        get(databases),
        *(
            get(f"{databases}?{page}")
            for page in ("limit=2", "limit=2&offset=1", "offset=3", "limit=0", "limit=100&offset=0")
        ),
        get(f"{databases}?limit=-1"),
        get(f"{databases}/alpha"),
        get(f"{databases}/nosuch"),
        get(DATABASE),
        post(inside, {"name": "same"}, into="in_alpha"),
        create("same", "in_default"),
        get(inside),
        get(f"{databases}/alpha/collections_count"),
        get(f"{inside}/same"),
        post(f"{inside}/{{in_alpha}}/add", {"ids": ["a"], "embeddings": [[1, 2]]}),
        get(f"{inside}/{{in_alpha}}/count"),
        get(f"{COLLECTIONS}/{{in_alpha}}/count", "record route of another database"),
        delete(f"{databases}/alpha"),
        delete(f"{databases}/alpha"),
        get(f"{databases}/alpha"),
        post(f"{inside}/{{in_alpha}}/get", {}, "record route of a dropped database"),
        on("in_default", "get", {}),
        post(databases, {"name": "alpha"}),
        get(inside),
        get(f"{databases}/alpha/collections_count"),
        get(f"{databases}/nosuch/collections"),
        get(f"{databases}/nosuch/collections_count"),
        get(f"{databases}/nosuch/collections/abc"),
        post(f"{databases}/nosuch/collections", {"name": "orphan"}),
        delete(f"{databases}/nosuch/collections/abc"),
        delete(f"{databases}/nosuch"),
        post(f"{API}/tenants/nosuch/databases", {"name": "lost"}, "database in a missing tenant"),
    ]


def reset() -> list[Request]:
    return [
        *filled("kept", "c"),
        post(f"{API}/tenants", {"name": "acme"}),
        post(f"{API}/tenants/acme/databases", {"name": "main"}),
        post(f"{API}/reset"),
        get(COLLECTIONS),
        get(f"{COLLECTIONS}/{{c}}/count"),
        get(f"{API}/tenants/acme"),
        get(f"{API}/tenants/acme/databases"),
        get(TENANT),
        get(DATABASE),
        create("kept", "again"),
        get(f"{COLLECTIONS}/{{again}}/count"),
    ]


STORIES = [roots, bodies, order_of_checks, tenants, databases, reset]
