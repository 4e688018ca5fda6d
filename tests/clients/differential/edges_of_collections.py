"""Edges of collections: names, configuration, legacy metadata, schema, modification, lists."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .routes import COLLECTIONS, DATABASE, count, create, delete, everything, filled, get, on, post, put, shown
from .wire import Request

POINTS = {"ids": ["a", "b", "z"], "embeddings": [[3.0, 4.0], [-0.1, 0.2], [0.0, 0.0]]}
LEGACY = ("space", "construction_ef", "search_ef", "M", "num_threads", "batch_size", "sync_threshold", "resize_factor")


def names() -> list[Request]:
    good = ("abc", "a.b", "a-b", "a_b", "A1z", "abc+def", "x" * 512, "1.2.3", "a1b2.c3", "999.1.1.1")
    bad = ("", "ab", "a", "-abc", "abc-", ".abc", "abc.", "_ab", "a..b", "a b", "ümlaut", "a/b", "x" * 513, "10.0.0.1")
    more = ("a+b", "abc+de", "abc++def", "abc+def+ghi", "+abc", "abc\n", "::1", "a%20b")
    return [*(create(name) for name in (*good, *bad, *more)), get(f"{DATABASE}/collections_count"), get(COLLECTIONS)]


def creation() -> list[Request]:
    def odd(metadata: Any, edge: str = "") -> Request:
        return create("odd", metadata=metadata, edge=edge)

    return [
        create("plain", "a"),
        create("plain"),
        create("plain", get_or_create=False),
        create("plain", get_or_create=None),
        create("plain", get_or_create=True),
        create("plain", get_or_create=True, metadata={"other": 1}, configuration={"hnsw": {"space": "ip"}}),
        create("ab", get_or_create=True),
        create("plain", get_or_create=True, metadata={}),
        create("plain", get_or_create="yes"),
        create("typed", metadata={"s": "x", "i": 1, "f": 1.0, "b": True, "big": 1e300, "neg": -5, "e": ""}),
        create("large", metadata={"i": 9223372036854775807, "over": 9223372036854775808}),
        create("typed", get_or_create=True),
        odd({}),
        odd({"a": None}),
        odd({"a": {"b": 1}}),
        odd({"a": [1, "x"]}),
        odd({"a": [1, 2]}, "list in a collection's metadata"),
        odd({"": 1}),
        odd({"#a": 1}),
        odd({"$a": 1}),
        odd({"chroma:document": "x"}, "reserved key in a collection's metadata"),
        odd("text"),
        odd([]),
        create("nulls", metadata=None, configuration=None, schema=None),
        get(f"{COLLECTIONS}/by-id/{{a}}"),
        get(f"{COLLECTIONS}/{{a}}"),
        get(COLLECTIONS),
    ]


def configurations() -> list[Request]:
    full = {"space": "cosine", "ef_construction": 50, "ef_search": 60, "max_neighbors": 8, "num_threads": 3}
    full |= {"batch_size": 50, "sync_threshold": 500, "resize_factor": 1.5}
    good: list[Any] = [
        {},
        {"hnsw": None, "spann": None},
        {"hnsw": {}},
        {"hnsw": full},
        *({"hnsw": {"space": space}} for space in ("l2", "ip", "cosine")),
        {"spann": {"space": "cosine"}},
        {"spann": {}},
        {"spann": {"space": "l2", "search_nprobe": 10, "ef_search": 50}},
        {"nosuch": 1},
        *({"embedding_function": function} for function in (None, {"type": "legacy"}, {"type": "unknown"})),
        {"embedding_function": {"type": "known", "name": "default", "config": {}}},
        {"embedding_function": {"type": "known", "name": "mine", "config": {"a": [1, {"b": None}], "f": 1.0}}},
    ]
    bad: list[Any] = [
        {"hnsw": {"nosuch": 1}},
        {"hnsw": {"space": "l1"}},
        {"hnsw": {"ef_search": "many"}},
        {"hnsw": {"ef_search": -1}},
        {"hnsw": {"ef_search": 1.5}},
        {"hnsw": {"space": "l2"}, "spann": {"space": "l2"}},
        {"spann": {"nosuch": 1}},
        {"spann": {"space": "l1"}},
        {"embedding_function": {"type": "known"}},
        {"embedding_function": {"type": "known", "name": "x"}},
        {"embedding_function": {"type": "nosuch"}},
        {"embedding_function": {}},
        {"embedding_function": "default"},
        "text",
        [],
    ]
    requests = [create(f"conf-{i}", configuration=each) for i, each in enumerate(good)]
    requests += [create("bad", configuration=each) for each in bad]
    zeros = [name for name in full if name != "space"]
    requests += [create(f"zero-{name}", configuration={"hnsw": {name: 0}}, edge=f"hnsw {name} 0") for name in zeros]
    return [*requests, *(shown(f"conf-{i}") for i in range(len(good)))]


def legacy_metadata() -> list[Request]:
    requests = []
    for space in ("l2", "ip", "cosine"):
        slot = f"legacy_{space}"
        requests += [create(slot, slot, metadata={"hnsw:space": space, "kept": 1}), on(slot, "add", POINTS)]
        requests.append(on(slot, "query", {"query_embeddings": [[3.0, 4.0], [1.0, -2.0]]}))
    values = {"construction_ef": 77, "search_ef": 88, "M": 9, "num_threads": 2, "batch_size": 33}
    values |= {"sync_threshold": 44, "resize_factor": 1.7}
    requests.append(create("all-legacy", metadata={f"hnsw:{name}": value for name, value in values.items()}))
    requests += [create(f"legacy-{name}", metadata={f"hnsw:{name}": value}) for name, value in values.items()]
    requests += [create("bad-legacy", metadata={f"hnsw:{name}": "nonsense"}) for name in LEGACY]
    requests += [create("odd-legacy", metadata={"hnsw:nosuch": 1})]
    both = {"metadata": {"hnsw:space": "ip"}, "configuration": {"hnsw": {"space": "cosine"}}}
    only_function = {"embedding_function": {"type": "legacy"}}
    return [
        *requests,
        create("both", **both),
        create("function", metadata={"hnsw:space": "ip"}, configuration=only_function),
        create("empty-hnsw", metadata={"hnsw:space": "ip"}, configuration={"hnsw": {}}),
        create("l2-hnsw", metadata={"hnsw:space": "ip"}, configuration={"hnsw": {"space": "l2"}}),
        get(COLLECTIONS),
    ]


def modification() -> list[Request]:
    c = f"{COLLECTIONS}/{{c}}"
    known = {"type": "known", "name": "mine", "config": {"a": 1}}
    metadata = [
        {"b": 2.5, "c": "x"},
        {"a": None, "q": 1},
        {},
        None,
        {"a": [1, "x"]},
        {"a": {"b": 1}},
        {"": 1},
        {"#x": 1},
    ]
    configurations: list[Any] = [
        {"hnsw": {"ef_search": 33}},
        {"hnsw": {"ef_search": 34}, "spann": None, "embedding_function": None},
        {
            "hnsw": {
                "max_neighbors": 20,
                "num_threads": 1,
                "resize_factor": 2.0,
                "sync_threshold": 200,
                "batch_size": 20,
            }
        },
        {},
        None,
        {"hnsw": None},
        {"hnsw": {}},
        {"spann": {"ef_search": 40}},
        {"embedding_function": known},
        {"embedding_function": None},
    ]
    wrong: list[Any] = [
        {"hnsw": {"space": "l2"}},
        {"hnsw": {"ef_construction": 5}},
        {"hnsw": {"nosuch": 5}},
        {"hnsw": 5},
    ]
    wrong += [{"embedding_function": {"type": "known"}}]
    requests = [
        *filled("first", "c", metadata={"a": 1}, configuration={"hnsw": {"space": "cosine"}}),
        create("second", "d"),
    ]
    for new in metadata:
        requests += [put(c, {"new_metadata": new}), shown("first")]
    requests += [put(c, {"new_metadata": {"a": [1, 2]}}, "list in a collection's metadata"), shown("first")]
    requests += [put(c, {"new_metadata": {"x": None}}, "metadata of nulls only"), shown("first")]
    for new in configurations:
        requests += [put(c, {"new_configuration": new}), shown("first")]
    requests += [put(c, {"new_configuration": new}) for new in wrong]
    requests += [
        put(c, {"new_name": "renamed"}),
        shown("first"),
        shown("renamed"),
        put(c, {"new_name": "renamed"}),
        put(c, {"new_name": "second"}, "rename to a name that is taken"),
        *(put(c, {"new_name": name}) for name in ("ab", "", "a b", 5, None)),
        put(c, {}),
        put(c, {"new_name": "third", "new_metadata": {"z": 1}, "new_configuration": {"hnsw": {"ef_search": 9}}}),
        shown("third"),
        everything("c"),
        create("renamed", "e"),
        delete(f"{COLLECTIONS}/renamed"),
        count("e"),
        delete(f"{COLLECTIONS}/renamed"),
        delete(f"{COLLECTIONS}/{{c}}"),
        get(COLLECTIONS),
    ]
    return requests


def dimensions() -> list[Request]:
    """When a collection's dimension is fixed, and that it stays so."""
    requests = []
    for i, route in enumerate(("add", "upsert", "update")):
        slot = f"dim{i}"
        requests += [
            create(slot, slot),
            on(slot, "query", {"query_embeddings": [[1.0, 2.0, 3.0, 4.0]]}),
            shown(slot),
            on(slot, route, {"ids": ["nosuch"], "embeddings": [[1.0, 2.0]]}),
            shown(slot),
            on(slot, "add", {"ids": ["b"], "embeddings": [[1.0, 2.0, 3.0]]}),
            on(slot, "query", {"query_embeddings": [[1.0, 2.0, 3.0]]}),
            on(slot, "query", {"query_embeddings": [[]]}),
            on(slot, "query", {"query_embeddings": [[1.0, 2.0], [1.0]]}),
            on(slot, "delete", {"ids": ["nosuch"]}),
            shown(slot),
            on(slot, "add", {"ids": ["c"], "embeddings": [[1.0, 2.0, 3.0]]}),
            on(slot, "update", {"ids": ["absent"], "documents": ["x"]}),
            count(slot),
        ]
    return requests


def pages() -> list[Request]:
    requests = [create(f"page-{i}", metadata={"i": i}) for i in range(7)]
    for page in ("limit=3", "limit=3&offset=5", "offset=7", "limit=0", "offset=100", "limit=100&offset=0"):
        requests.append(get(f"{COLLECTIONS}?{page}"))
    return [*requests, get(COLLECTIONS), get(f"{DATABASE}/collections_count")]


def schemas() -> list[Request]:
    def off(kind: str, index: str) -> dict[str, Any]:
        return {kind: {index: {"enabled": False, "config": {}}}}

    vector = {"vector_index": {"enabled": True, "config": {"space": "cosine", "source_key": "#document"}}}
    good: list[Any] = [
        {"defaults": {}, "keys": {}},
        {"defaults": off("string", "string_inverted_index"), "keys": {}},
        {"defaults": {}, "keys": {"s": off("string", "string_inverted_index"), "i": off("int", "int_inverted_index")}},
        {"defaults": {}, "keys": {"#document": off("string", "fts_index")}},
        {"defaults": {}, "keys": {"#embedding": {"float_list": vector}}},
    ]
    # Indexes of sparse vectors are not among these: theirs refuses them on one machine, ours has them.
    bad: list[Any] = [
        {},
        {"defaults": {}},
        {"keys": {}},
        "text",
        {"defaults": 5, "keys": {}},
    ]
    questions: list[Any] = [
        {"s": "red"},
        {"i": 2},
        {"f": {"$gt": 0.0}},
        {"b": True},
        {"$and": [{"b": True}, {"s": "red"}]},
    ]
    questions += [
        {"mixed": 2},
        {"mixed": "2"},
        {"tags": {"$contains": "q"}},
        {"#document": {"$contains": "fox"}},
        {"#document": "x"},
    ]
    requests = []
    for i, schema in enumerate(good):
        slot = f"schema{i}"
        requests += [*filled(slot, slot, schema=schema), shown(slot), everything(slot)]
        requests += [on(slot, "get", {"where": where, "include": []}) for where in questions]
        requests += [on(slot, "get", {"where_document": {"$contains": "fox"}, "include": []})]
        requests += [on(slot, "query", {"query_embeddings": [[1.0, 0.5, 0.25]], "where": {"s": "red"}})]
        requests += [on(slot, "delete", {"where": {"s": "red"}}), count(slot)]
    requests += [create("bad-schema", schema=schema) for schema in bad]
    cosine = {"hnsw": {"space": "cosine"}}
    default = {"type": "known", "name": "default", "config": {}}
    python = {"hnsw": {"space": "l2"}, "spann": None, "embedding_function": default}
    return [
        *requests,
        create("both-set", schema=good[1], configuration=cosine),
        create("default-schema", schema=good[0], configuration=cosine),
        create("default-conf", schema=good[1], configuration={"hnsw": {"space": "l2"}}),
        # What the Python client sends with any schema.
        create("python-conf", schema=good[2], configuration=python),
        shown("python-conf"),
        create("legacy-conf", schema=good[2], configuration={"embedding_function": {"type": "legacy"}}),
        create("other-conf", schema=good[2], configuration={"embedding_function": {**default, "name": "other"}}),
    ]


def discovery() -> list[Request]:
    """Keys and types that writes bring into the schema."""

    def write(route: str, metadata: Any) -> list[Request]:
        return [on("c", route, {"ids": ["a"], "embeddings": [[1.0]], "metadatas": [metadata]}), shown("disc")]

    return [
        create("disc", "c"),
        *write("add", {"s": "x", "i": 1}),
        *write("add", {"ignored-id": 1}),
        *write("upsert", {"f": 1.0, "b": True}),
        *write("update", {"list": ["a"], "ints": [1], "floats": [1.5], "bools": [True]}),
        *write("update", {"s": 5}),
        *write("update", {"s": None, "never": None}),
        on("c", "delete", {"ids": ["a"]}),
        shown("disc"),
        put(f"{COLLECTIONS}/{{c}}", {"new_configuration": {"hnsw": {"ef_search": 12}}}),
        shown("disc"),
        on("c", "upsert", {"ids": ["e"], "embeddings": [[1.0]], "metadatas": [{"empty": []}]}),
        replace(shown("disc"), edge="empty list in the schema"),
    ]


def unsupported() -> list[Request]:
    """What the local server of Chroma does not do."""
    c = f"{COLLECTIONS}/{{c}}"
    attach = {"name": "f", "function_id": "record_counter", "output_collection": "out", "params": {}}
    return [
        *filled("local", "c"),
        post(f"{c}/search", {"searches": []}, "search"),
        post(f"{c}/search", {"searches": [{"limit": {"limit": 2, "offset": 0}}]}, "search"),
        post(f"{c}/search", {}),
        post(f"{COLLECTIONS}/11111111-1111-4111-8111-111111111111/search", {"searches": []}),
        get(f"{c}/fork_count", "fork_count"),
        get(f"{c}/indexing_status", "indexing_status"),
        post(f"{c}/functions/attach", attach, "functions"),
        post(f"{c}/attached_functions/f/detach", {"delete_output": False}, "functions"),
        get(f"{c}/functions/f", "functions"),
        post(f"{c}/fork", {"new_name": "forked"}, "fork"),
    ]


STORIES = [
    names,
    creation,
    configurations,
    legacy_metadata,
    modification,
    dimensions,
    pages,
    schemas,
    discovery,
    unsupported,
]
