"""Searches of one small collection with answers that were worked out by hand: one line for each rule of `search`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Json = Any

BODIES = [json.loads(line) for line in Path(__file__).with_name("search_bodies.jsonl").read_text().splitlines()]


def vector(**entries: float) -> Json:
    """A sparse vector: `vector(i1=1.0)` has 1.0 at index 1."""
    return {"indices": [int(name[1:]) for name in entries], "values": list(entries.values())}


def stored(**entries: float) -> Json:
    return {"#type": "sparse_vector", **vector(**entries)}


# Space l2, sparse keys `sp` (plain) and `bm` (scaled by idf).
SPACE, SPARSE = "l2", {"sp": False, "bm": True}
RECORDS: list[Json] = [
    {
        "id": "a",
        "embedding": [0, 0],
        "document": "red apple pie",
        "metadata": {"cat": "x", "n": 1, "sp": stored(i1=1.0, i2=0.5), "bm": stored(i1=1, i2=1)},
    },
    {
        "id": "b",
        "embedding": [1, 0],
        "document": "green apple",
        "metadata": {"cat": "x", "n": 2.5, "sp": stored(i2=2.0), "bm": stored(i2=1)},
    },
    {
        "id": "c",
        "embedding": [0, 2],
        "document": None,
        "metadata": {"cat": "y", "n": 7, "sp": stored(i1=-1.0, i3=1.0), "bm": stored(i1=2, i3=1)},
    },
    {
        "id": "d",
        "embedding": [2, 2],
        "document": "blue sky",
        "metadata": {"cat": "y", "prio": 5, "tags": ["t", "u"]},
    },
    {"id": "e", "embedding": [3, 0], "document": "", "metadata": None},
    {
        "id": "f",
        "embedding": [1, 0],
        "document": "apple",
        "metadata": {"cat": "x", "prio": 1, "sp": stored(i3=0.0), "bm": stored(i2=1)},
    },
]


def dense(**members: Json) -> Json:
    return {"$knn": {"query": [0, 0], **members}}


def sparse(query: Json = None, key: str = "sp", **members: Json) -> Json:
    return {"$knn": {"query": vector(i1=1, i2=1) if query is None else query, "key": key, **members}}


def val(x: float) -> Json:
    return {"$val": x}


def div(left: Json, right: Json) -> Json:
    return {"$div": {"left": left, "right": right}}


def best(aggregate: str, order: list[str], *keys: str) -> Json:
    """A grouping that keeps the best record of each group."""
    return {"keys": list(keys), "aggregate": {aggregate: {"keys": order, "k": 1}}}


RRF = {
    "$mul": [
        val(-1),
        {
            "$sum": [
                div(val(0.75), {"$sum": [val(10), dense(return_rank=True, limit=2, default=100)]}),
                div(val(0.25), {"$sum": [val(10), sparse(return_rank=True, limit=1, default=100)]}),
            ]
        },
    ]
}
ID_AND = {"$and": [{"#id": {"$nin": ["a", "b"]}}, {"cat": {"$ne": "y"}}]}
DOCUMENTS = {"$or": [{"#document": {"$contains": "pie"}}, {"#document": {"$not_contains": "e"}}]}
Y = {"cat": "y"}

# What, the search (#score is selected where nothing is), and the ids with their scores in order.
TABLE: list[tuple[str, Json, str]] = [
    ("without a rank the score is the place on the page", {"limit": {"offset": 2, "limit": 2}}, "c 0 d 1"),
    ("limit 0", {"rank": dense(), "limit": {"limit": 0}}, ""),
    ("dense, ties by insertion", {"rank": dense()}, "a 0 b 1 f 1 c 4 d 8 e 9"),
    ("the leaf's limit caps the answer", {"rank": dense(limit=2), "limit": {"limit": 5}}, "a 0 b 1"),
    ("the filter comes before the leaf", {"filter": Y, "rank": dense(limit=2)}, "c 4 d 8"),
    ("a leaf's limit 0", {"rank": dense(limit=0)}, ""),
    ("return_rank", {"rank": dense(limit=3, return_rank=True)}, "a 0 b 1 f 2"),
    ("ids within an and", {"filter": ID_AND}, "e 0 f 1"),
    ("a null document is a negative hit", {"filter": DOCUMENTS}, "a 0 c 1 e 2"),
    ("membership in a list", {"filter": {"tags": {"$contains": "u"}}}, "d 0"),
    ("no record has a key #score", {"filter": {"#score": {"$lt": 100}}, "rank": dense()}, ""),
    ("sparse, negative values count", {"rank": sparse()}, "b -1 a -0.5 c 2"),
    ("a stored 0 is a shared index", {"rank": sparse(vector(i3=1))}, "c 0 f 1"),
    ("no index is shared", {"rank": sparse(vector(i9=1))}, ""),
    ("an empty query", {"rank": sparse(vector())}, ""),
    ("idf", {"rank": sparse(key="bm")}, "c -1.059239 a -0.7227666 b 0.3068528 f 0.3068528"),
    ("idf knows no filter", {"filter": Y, "rank": sparse(key="bm")}, "c -1.059239"),
    ("a sum without defaults", {"rank": {"$sum": [dense(), sparse()]}}, "a -0.5 b 0 c 6"),
    (
        "a default on one leaf",
        {"rank": {"$sum": [dense(limit=4), sparse(default=10)]}},
        "a -0.5 b 0 c 6 f 11",
    ),
    (
        "a default on both leaves",
        {"rank": {"$sum": [dense(limit=2, default=100), sparse(limit=1, default=10)]}},
        "b 0 a 10",
    ),
    ("a default brings in no record", {"rank": dense(limit=1, default=0)}, "a 0"),
    ("a constant alone", {"rank": val(0.5)}, ""),
    ("an empty sum", {"rank": {"$sum": []}}, ""),
    ("infinity is last, and null", {"rank": div(val(1), dense(limit=3))}, "b 1 f 1 a null"),
    ("NaN is last, and null", {"rank": div(dense(limit=3), dense(limit=3))}, "b 1 f 1 a null"),
    ("minus infinity is first, and null", {"rank": {"$log": dense(limit=3)}}, "a null b 0 f 0"),
    (
        "exp overflows",
        {"rank": {"$exp": {"$mul": [dense(limit=4), val(30)]}}},
        "a 1 b 1.068647e+13 f 1.068647e+13 c null",
    ),
    (
        "max and min clamp",
        {"rank": {"$min": [{"$max": [dense(), val(1)]}, val(8)]}},
        "a 1 b 1 f 1 c 4 d 8 e 8",
    ),
    (
        "max drops NaN",
        {"rank": {"$max": [div(dense(limit=2), dense(limit=2)), val(-3)]}},
        "a -3 b 1",
    ),
    ("-1 reverses, not ties", {"rank": {"$mul": [val(-1), dense(limit=3)]}}, "b -1 f -1 a -0"),
    ("reciprocal ranks", {"rank": RRF}, "b -0.09318182 a -0.07727273"),
    (
        "the best of each group; a missing key is a group",
        {"rank": dense(), "group_by": best("$min_k", ["#score"], "cat")},
        "a 0 c 4 e 9",
    ),
    ("the worst of each group", {"rank": dense(), "group_by": best("$max_k", ["#score"], "cat")}, "b 1 d 8 e 9"),
    (
        "min_k: a missing key is first",
        {"rank": dense(), "group_by": best("$min_k", ["prio"], "cat")},
        "a 0 c 4 e 9",
    ),
    (
        "max_k: a missing key is last",
        {"rank": dense(), "group_by": best("$max_k", ["prio", "#score"], "cat")},
        "f 1 d 8 e 9",
    ),
    ("integers are below floats", {"rank": dense(), "group_by": best("$max_k", ["n"], "zz")}, "b 1"),
    (
        "two keys; the page comes after the groups",
        {
            "rank": dense(),
            "group_by": best("$min_k", ["#score"], "cat", "n"),
            "limit": {"offset": 1, "limit": 2},
        },
        "b 1 f 1",
    ),
    ("numbers compare by value", {"filter": {"n": {"$gt": 1}}}, "b 0 c 1"),
    ("1.0 is 1", {"filter": {"n": 1.0}}, "a 0"),
    ("below zero", {"filter": {"n": {"$gt": -1}}}, "a 0 b 1 c 2"),
    ("text in documents", {"filter": {"#document": {"$contains": "a"}}}, "a 0 b 1 f 2"),
    ("a sparse vector equals nothing", {"filter": {"sp": {"$eq": 1}}}, ""),
    ("a sparse vector differs from everything", {"filter": {"sp": {"$ne": 1}}}, "a 0 b 1 c 2 d 3 e 4 f 5"),
]

# The search, and the columns of its answer that are not null.
SELECTS: list[tuple[Json, Json]] = [
    (
        {
            "rank": dense(),
            "group_by": best("$min_k", ["#score"], "cat"),
            "select": {"keys": ["#score", "cat"]},
        },
        {
            "ids": ["a", "c", "e"],
            "metadatas": [{"cat": "x"}, {"cat": "y"}, None],
            "scores": [0.0, 4.0, 9.0],
            "select": ["#score", "cat"],
        },
    ),
    (
        {"limit": {"limit": 2}, "select": {"keys": ["#id"]}},
        {"ids": ["a", "b"], "metadatas": [None, None], "select": ["#id"]},
    ),
    (
        {"limit": {"limit": 3}, "select": {"keys": ["n", "cat", "#document", "cat"]}},
        {
            "ids": ["a", "b", "c"],
            "documents": ["red apple pie", "green apple", None],
            "metadatas": [{"cat": "x", "n": 1}, {"cat": "x", "n": 2.5}, {"cat": "y", "n": 7}],
            "select": ["#document", "cat", "n"],
        },
    ),
    (
        {"filter": {"#id": "e"}, "select": {"keys": ["#metadata", "#document"]}},
        {"ids": ["e"], "documents": [""], "metadatas": [None], "select": ["#document", "#metadata"]},
    ),
]

G = {"id": "g", "embedding": [9, 9], "metadata": {"bm": stored(i2=2)}}

# Writes to a fresh collection, the rank that is searched for then, and the ids with their scores.
CHANGES: list[tuple[str, list[Json], Json, str]] = [
    ("idf after a delete", [{"delete": ["b"]}], sparse(key="bm"), "a -0.7509375 c -0.7509375 f 0.1245313"),
    ("a null deletes the vector", [{"update": [{"id": "a", "metadata": {"sp": None}}]}], sparse(), "b -1 c 2"),
    (
        "a vector is replaced whole",
        [{"update": [{"id": "a", "metadata": {"sp": stored(i1=9)}}]}],
        sparse(),
        "a -8 b -1 c 2",
    ),
    ("a text takes its place", [{"update": [{"id": "b", "metadata": {"sp": "text"}}]}], sparse(), "a -0.5 c 2"),
    (
        "idf after an add",
        [{"add": [G]}],
        sparse(key="bm"),
        "c -1.326302 a -0.7385149 g -0.1507283 b 0.4246358 f 0.4246358",
    ),
    (
        "an upsert keeps its place among ties",
        [{"upsert": [{"id": "b", "embedding": [1, 0], "document": "new"}]}],
        dense(limit=3),
        "a 0 b 1 f 1",
    ),
]
