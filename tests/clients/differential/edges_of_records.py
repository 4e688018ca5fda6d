"""Edges of add, upsert, update, delete, get, query and count. After each write all records are read."""

from __future__ import annotations

import base64
import struct
from dataclasses import replace
from typing import Any

from .routes import COLLECTIONS, RECORDS, count, create, everything, filled, get, on, post, shown
from .wire import JSON, Request

NAN = float("nan")
INFINITY = float("inf")


def encoded(*values: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def seen(slot: str, writes: list[Request]) -> list[Request]:
    """Each write, and what it left."""
    return [request for write in writes for request in (write, replace(everything(slot), edge=write.edge))]


def shapes_of_writes() -> list[Request]:
    """Columns of wrong length, type or content; none of them may leave anything behind."""
    one = [[1.0, 2.0, 3.0]]
    bodies: list[Any] = [
        {},
        {"ids": ["x"]},
        {"ids": ["x"], "embeddings": None},
        {"ids": ["x"], "embeddings": [None]},
        {"ids": ["x"], "embeddings": []},
        {"embeddings": one},
        {"ids": None, "embeddings": one},
        {"ids": "x", "embeddings": one},
        {"ids": [5], "embeddings": one},
        {"ids": [None], "embeddings": one},
        {"ids": [""], "embeddings": one},
        {"ids": [], "embeddings": []},
        {"ids": [], "embeddings": one},
        {"ids": ["x", "y"], "embeddings": one},
        *({"ids": ["x"], "embeddings": one, column: []} for column in ("metadatas", "documents", "uris")),
        *({"ids": ["x"], "embeddings": one, column: [None, None]} for column in ("metadatas", "documents", "uris")),
        *({"ids": ["x"], "embeddings": one, column: "text"} for column in ("metadatas", "documents", "uris")),
        *({"ids": ["x"], "embeddings": one, column: [5]} for column in ("metadatas", "documents", "uris")),
        {"ids": ["x", "y"], "embeddings": [[1.0, 2.0, 3.0], [1.0, 2.0]]},
        {"ids": ["x", "y"], "embeddings": [[1.0, 2.0, 3.0], []]},
    ]
    vectors: list[Any] = [[], [1.0, 2.0], [1, 2, 3, 4], ["1", "2", "3"], [True, 1, 2], [None, 1, 2], [[1], [2], [3]]]
    vectors += [[1e40, 0, 0], [-1e40, 0, 0], "text", {"a": 1}, 5]
    vectors += [
        "",
        "!!!!",
        "AAAA",
        "AACAPw==",
        encoded(1, 2),
        encoded(1, 2, 3)[:-1],
        encoded(NAN, 1, 2),
        encoded(1, INFINITY, 2),
    ]
    bodies += [{"ids": ["x"], "embeddings": [vector]} for vector in vectors]
    bodies += [{"ids": ["x", "y"], "embeddings": [[1.0, 2.0, 3.0], encoded(1, 2, 3)]}]
    requests = [*filled("shapes", "c")]
    for route in ("add", "upsert", "update"):
        for body in bodies:
            requests.append(on("c", route, body))
        requests.append(on("c", route, b'{"ids":["x"],"embeddings":[[NaN,1,2]]}'))
        requests.append(on("c", route, b'{"ids":["x"],"embeddings":[[Infinity,1,2]]}'))
        requests += [everything("c"), count("c")]
    return requests


def embeddings_of_writes() -> list[Request]:
    writes = [
        {"ids": ["ints"], "embeddings": [[1, 2, 3]]},
        {"ids": ["tiny"], "embeddings": [[1e-45, 1e-30, 0.1]]},
        {"ids": ["huge"], "embeddings": [[3.4e38, -3.4e38, 1.17549435e-38]]},
        {"ids": ["below"], "embeddings": [[1e-60, 0.0, -0.0]]},
        {"ids": ["digits"], "embeddings": [[0.1, 0.123456789012345, 16777217]]},
        {"ids": ["b64"], "embeddings": [encoded(1.5, -2.5, 0.1)]},
        {"ids": ["b64-1", "b64-2"], "embeddings": [encoded(0.1, 0.2, 0.3), encoded(9, 8, 7)]},
        {"ids": ["exp"], "embeddings": [[1e0, 2e-1, 3e1]]},
        {"ids": ["long" * 750], "embeddings": [[5, 5, 6]]},
        {"ids": ["ключ \U0001f511", "with\nnewline", "with\u0000nul"], "embeddings": [[1, 0, 6], [1, 9, 6], [2, 2, 6]]},
    ]
    requests = [create("vectors", "c")]
    for body in writes:
        requests += seen("c", [on("c", "add", body)])
    partly = {"ids": ["ints", "tiny"], "embeddings": [None, [4, 5, 6]]}
    partly_encoded = {"ids": ["ints", "tiny"], "embeddings": [None, encoded(6, 5, 4)]}
    requests += seen("c", [on("c", "update", partly), on("c", "update", partly_encoded)])
    for space in ("cosine", "ip"):
        requests += [create(f"of-{space}", space, configuration={"hnsw": {"space": space}})]
        requests += seen(
            space, [on(space, "add", {"ids": ["a", "b", "z"], "embeddings": [[3, 4], [0.1, 0.2], [0, 0]]})]
        )
    return requests


def metadata_of_writes() -> list[Request]:
    good: list[Any] = [
        None,
        {},
        {"s": "x", "i": 5, "f": 1.0, "b": False, "e": ""},
        {"big": 9223372036854775807, "small": -9223372036854775808, "over": 9223372036854775808, "f": 1e300},
        {"f": 0.1, "g": -0.0, "h": 1e-7, "n": 123456789.123},
        {"list": ["a", "b"], "ints": [1, 2], "floats": [1.5, 2.0], "bools": [True, False], "mixed": [1, 2.5]},
        {"empty": []},
        {"empty": [], "kept": 1},
        {"key with space": 1, "ключ": "значение", "dotted.key": 1, "quote\"'": 2},
        {"hnsw:space": "ip"},
    ]
    bad: list[Any] = [
        {"a": {"b": 1}},
        {"a": [1, "x"]},
        {"a": [[1]]},
        {"a": [None]},
        {"a": [{"b": 1}]},
        {"": 1},
        {"#a": 1},
        {"$a": 1},
        "text",
        [1],
        {"v": {"#type": "nosuch", "indices": [], "values": []}},
        {"v": {"#type": "sparse_vector", "indices": [2, 1], "values": [1.0, 2.0]}},
        {"v": {"#type": "sparse_vector", "indices": [1], "values": [1.0, 2.0]}},
    ]
    # Sound sparse vectors are not among these: theirs refuses them on one machine (501), ours keeps them.
    requests = [create("metadata", "c")]
    for route in ("add", "upsert", "update"):
        for i, metadata in enumerate([*good, *bad, {"a": None}, {"a": None, "k": 1}]):
            body = {"ids": [f"{route}-{i}"], "embeddings": [[1.0, float(i)]], "metadatas": [metadata]}
            requests.append(on("c", route, body))
        requests.append(everything("c"))
    return requests


def reserved_keys() -> list[Request]:
    """Metadata under the names by which Chroma's tables hold documents and uris."""
    hidden = {"ids": ["hidden"], "embeddings": [[7.0, 7.0]], "metadatas": [{"chroma:document": "hidden"}]}
    other = {"ids": ["other"], "embeddings": [[7.0, 8.0]], "metadatas": [{"chroma:x": 1, "kept": 1}]}
    by_document = on("c", "get", {"where": {"chroma:document": "hidden"}, "include": []}, "reserved key")
    return [
        create("reserved", "c"),
        on("c", "add", hidden),
        replace(everything("c"), edge="reserved key"),
        by_document,
        on("c", "delete", {"ids": ["hidden"]}),
        *seen("c", [on("c", "add", other)]),
    ]


def adds_and_upserts() -> list[Request]:
    twice = {
        "ids": ["d", "d", "e"],
        "embeddings": [[1, 1, 1], [2, 2, 2], [3, 3, 3]],
        "documents": ["one", "two", "three"],
    }
    clash = {
        "ids": ["r0", "n1"],
        "embeddings": [[9, 9, 9], [8, 8, 8]],
        "documents": ["lost", "new"],
        "metadatas": [{"s": "lost"}, {"s": "new"}],
    }
    ups = {
        "ids": ["r1", "n2"],
        "embeddings": [[7, 7, 1], [6, 6, 1]],
        "documents": [None, "fresh"],
        "metadatas": [{"i": None, "new": 1}, {"gone": None}],
    }
    order = {
        "ids": ["u", "u"],
        "embeddings": [[1, 1, 2], [2, 2, 1]],
        "metadatas": [{"a": 1, "b": 1}, {"a": None, "c": 2}],
        "documents": ["first", None],
    }
    writes = [
        on("c", "add", twice),
        on("c", "add", clash),
        on("c", "upsert", ups),
        on("c", "upsert", order),
        on("c", "upsert", {"ids": ["r2"], "embeddings": [[1, 2, 3]]}),
        on("c", "upsert", {"ids": ["r2"], "embeddings": [[1, 2, 3]], "documents": [""], "uris": ["changed"]}),
        on("c", "upsert", {"ids": ["r3"], "embeddings": [[1, 2, 4]], "metadatas": [None]}),
        on("c", "upsert", {"ids": ["r3"], "embeddings": [[1, 2, 4]], "metadatas": [{}]}),
        on("c", "upsert", {"ids": ["nulls"], "embeddings": [[1, 2, 5]], "metadatas": [{"a": None}]}),
        on("c", "add", {"ids": ["lone-uri"], "embeddings": [[1, 2, 6]], "uris": ["u"]}),
        on("c", "delete", {"ids": ["lone-uri"]}),
        on("c", "delete", {"ids": ["r0"]}),
        on("c", "add", {"ids": ["r0"], "embeddings": [[1, 2, 7]], "documents": ["back"]}),
    ]
    return [*filled("writes", "c"), *seen("c", writes)]


def updates() -> list[Request]:
    changes: list[dict[str, Any]] = [
        {"ids": ["r0"]},
        {"ids": []},
        {"ids": ["nosuch"], "documents": ["x"]},
        {"ids": ["r0", "nosuch", "r1"], "documents": ["zero", "none", "one"]},
        {"ids": ["r0"], "documents": [None], "metadatas": [None], "embeddings": [None], "uris": [None]},
        {"ids": ["r0"], "documents": None, "metadatas": None, "embeddings": None, "uris": None},
        {"ids": ["r0"], "metadatas": [{}]},
        {"ids": ["r0"], "metadatas": [{"i": None}]},
        {"ids": ["r0"], "metadatas": [{"s": 5, "f": "text", "tags": "scalar"}]},
        {"ids": ["r0"], "metadatas": [{"s": ["now", "list"], "tags": None}]},
        {"ids": ["r0"], "metadatas": [{"s": []}]},
        {"ids": ["r2"], "metadatas": [{"s": None, "i": None, "f": None, "tags": None}]},
        {"ids": ["r6"], "metadatas": [{"mixed": None}]},
        {"ids": ["r3"], "metadatas": [{"brand": "new"}]},
        {"ids": ["r3"], "metadatas": [{"brand": None}]},
        {"ids": ["r4"], "documents": ["document where none was"]},
        {"ids": ["r4"], "documents": [""]},
        {"ids": ["r11"], "uris": ["moved"]},
        {"ids": ["r1", "r1"], "metadatas": [{"x": 1}, {"x": 2, "y": 1}]},
        {"ids": ["r1"], "embeddings": [[4.0, 4.0, 4.5]]},
        {"ids": ["r1"], "embeddings": [[4.0, 4.0]]},
    ]
    last = replace(shown("updates"), edge="empty list in the schema")
    return [*filled("updates", "c"), *seen("c", [on("c", "update", change) for change in changes]), last]


def deletes() -> list[Request]:
    choices: list[dict[str, Any]] = [
        {},
        {"ids": None, "where": None, "where_document": None},
        {"ids": []},
        {"ids": ["nosuch"]},
        {"ids": ["r0", "nosuch"]},
        {"ids": ["r1", "r1"]},
        {"ids": ["r2"], "where": {"s": "blue"}},
        {"ids": ["r2", "r4"], "where": {"s": "red"}},
        {"ids": [], "where": {"s": "red"}},
        {"where": {"i": {"$gte": 9007199254740993}}},
        {"where_document": {"$contains": "line"}},
        {"where": {"mixed": 2}, "where_document": {"$contains": "nothing"}},
        {"limit": 1},
        {"ids": ["r5"], "limit": 1},
        {"where": {"mixed": {"$ne": "x"}}, "limit": 0},
        {"where": {"mixed": {"$ne": "x"}}, "limit": 2},
        {"where": {}, "limit": 2},
        {"where": {"s": "nothing at all"}},
        {"where": {"$bad": 1}},
        {"where_document": {}},
        {"where": {"s": "x"}, "limit": -1},
        {"ids": "r5"},
        {"ids": [5]},
        {"where": {"mixed": {"$ne": "x"}}},
    ]
    return [*filled("deletes", "c"), *seen("c", [on("c", "delete", choice) for choice in choices])]


def gets() -> list[Request]:
    includes: list[Any] = [
        [],
        ["documents"],
        ["embeddings"],
        ["metadatas"],
        ["uris"],
        ["distances"],
        COLUMNS_TWICE,
        None,
    ]
    includes += [["data"], ["nosuch"], "documents", [5], [None]]
    bodies: list[Any] = [
        {},
        {"ids": None, "where": None, "where_document": None, "limit": None, "offset": None},
        {"ids": []},
        {"ids": ["r5", "r0", "nosuch", "r5"]},
        {"ids": ["nosuch"]},
        {"ids": [""]},
        {"ids": "r0"},
        {"ids": [5]},
        *({"limit": limit} for limit in (0, 1, 5, 100, -1, 1.5, "x", 4294967295, 4294967296)),
        *({"offset": offset} for offset in (0, 3, 11, 12, 100, -1, "x", 4294967295)),
        {"limit": 3, "offset": 2},
        {"where": {"s": "red"}, "limit": 1, "offset": 1},
        {"ids": ["r9", "r1", "r0"], "limit": 1, "offset": 1},
        {"ids": ["r0", "r1"], "where": {"s": "blue"}},
        {"nosuch": 1},
        [],
        b"null",
        *({"include": include} for include in includes),
    ]
    counts = [
        "",
        "?read_level=index_and_wal",
        "?read_level=index_only",
        "?read_level=index_and_bounded_wal",
        "?read_level=nosuch",
    ]
    return [
        *filled("gets", "c"),
        *(on("c", "get", body) for body in bodies),
        *(get(f"{COLLECTIONS}/{{c}}/count{query}") for query in counts),
        create("empty", "e"),
        *(on("e", "get", {"include": include}) for include in ([], ["documents", "embeddings"])),
        count("e"),
    ]


COLUMNS_TWICE = ["documents", "documents", "metadatas"]


def queries() -> list[Request]:
    point = [[0.5, 0.5, 0.25]]
    bodies: list[Any] = [
        {"query_embeddings": point},
        {"query_embeddings": [*point, [-3.0, 1.0, 2.0]], "n_results": 3},
        {"query_embeddings": []},
        *({"query_embeddings": point, "n_results": n} for n in (1, 100, None, -1, 1.5, "x")),
        {"query_embeddings": None},
        {},
        {"query_embeddings": [encoded(0.5, 0.5, 0.25)]},
        {"query_embeddings": [None]},
        {"query_embeddings": [0.5, 0.5, 0.25]},
        {"query_embeddings": [["a", "b", "c"]]},
        {"query_embeddings": [[0.5, 0.5]]},
        {"query_embeddings": [[]]},
        {"query_embeddings": [[0.5, 0.5, 0.25], [0.5]]},
        {"query_embeddings": [[0, 0, 0]]},
        {"query_embeddings": [[0, 0, 0], [0, 0]]},
        {"query_embeddings": point, "ids": []},
        {"query_embeddings": point, "ids": ["r3", "r1", "r3"]},
        {"query_embeddings": point, "ids": ["r3", "nosuch"], "where": {"s": {"$ne": "x"}}},
        {"query_embeddings": point, "ids": ["r0", "r1"], "where": {"s": "red"}},
        {"query_embeddings": point, "where": {"s": "red"}, "n_results": 1},
        {"query_embeddings": point, "where": {"s": "nothing"}},
        {"query_embeddings": [*point, *point], "where_document": {"$contains": "nothing"}},
        {"query_embeddings": point, "where": {"s": "red"}, "where_document": {"$contains": "fox"}},
        {"query_embeddings": point, "where": {}},
        {"query_embeddings": point, "include": None},
        *(
            {"query_embeddings": point, "include": include}
            for include in ([], ["uris", "distances"], ["embeddings", "distances"])
        ),
        *({"query_embeddings": point, "include": include} for include in (["data"], ["nosuch"], "documents")),
    ]
    odd = [
        on("c", "query", {"query_embeddings": point, "n_results": 0}),
        on("c", "query", {"query_embeddings": [*point, [0.0, 1.0, 0.0]], "n_results": 0, "where": {"s": "red"}}),
        on("c", "query", {"query_embeddings": point, "ids": ["r3", "nosuch"]}, "query with an unknown id"),
        on(
            "c",
            "query",
            {"query_embeddings": [[1e40, 0, 0]], "n_results": 12, "include": ["distances"]},
            "infinite query",
        ),
    ]
    requests = []
    for space in ("l2", "cosine", "ip"):
        requests += filled(f"of-{space}", "c" if space == "l2" else space, configuration={"hnsw": {"space": space}})
        slot = "c" if space == "l2" else space
        requests += [
            on(slot, "query", {"query_embeddings": [[v, 1.0, -0.5]], "n_results": 12}) for v in (0.1, -2.0, 5.0)
        ]
    # All of them, since under cosine all are equally far.
    zero = {"query_embeddings": [[0, 0, 0]], "n_results": 12, "include": ["distances"]}
    return [
        *requests,
        *(on(slot, "query", zero) for slot in ("cosine", "ip")),
        *(on("c", "query", body) for body in bodies),
        post(f"{COLLECTIONS}/{{c}}/query?limit=1&offset=1", {"query_embeddings": point, "n_results": 3}),
        create("empty", "e"),
        on("e", "query", {"query_embeddings": [[1.0], [2.0]]}),
        on("e", "query", {"query_embeddings": [[]]}),
        *odd,
    ]


def large() -> list[Request]:
    """Bodies beyond the usual: more records than `max_batch_size` says, and more bytes than a server takes."""
    ids = [f"n{i}" for i in range(6_000)]
    many = {"ids": ids, "embeddings": [[float(i % 97), float(i), 1.0] for i in range(len(ids))]}
    filler = b'{"ids":["big"],"embeddings":[[1,2,3]],"documents":["' + b"x" * 42_000_000 + b'"]}'
    return [
        create("large", "c"),
        on("c", "add", many),
        count("c"),
        on("c", "get", {"ids": ["n0", "n5999"], "include": ["embeddings"]}),
        on("c", "get", {"offset": 5_990, "include": []}),
        on("c", "delete", {"ids": ids[:3_000]}),
        count("c"),
        Request("POST", f"{COLLECTIONS}/{{c}}/add", filler, "body over the limit", headers=JSON),
        count("c"),
        on("c", "add", {"ids": [RECORDS[0][0]], "embeddings": [[1.0, 2.0, 3.0]], "documents": ["y" * 1_000_000]}),
        on("c", "get", {"ids": [RECORDS[0][0]]}),
    ]


STORIES = [
    shapes_of_writes,
    embeddings_of_writes,
    metadata_of_writes,
    reserved_keys,
    adds_and_upserts,
    updates,
    deletes,
    gets,
    queries,
    large,
]
