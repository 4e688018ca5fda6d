"""Edges of `where` and `where_document`, valid and not, by get, query and delete."""

from __future__ import annotations

from typing import Any

from .routes import create, filled, on
from .wire import Request

VALID: list[Any] = [
    *({"s": {op: "red"}} for op in ("$eq", "$ne")),
    *({"i": {op: 2}} for op in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")),
    *({"f": {op: 1.5}} for op in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")),
    *({"f": {op: 2}} for op in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")),
    *({"i": {op: 2.0}} for op in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")),
    *({"b": {op: value}} for op in ("$eq", "$ne") for value in (True, False)),
    *({"mixed": value} for value in (2, 2.0, "2", True, False, 3)),
    *({"mixed": {"$ne": value}} for value in (2, 2.0, "2", True)),
    *({"mixed": {"$gt": value}} for value in (1, 2, 1.0)),
    *({"i": value} for value in (9007199254740993, 9007199254740992, 9007199254740994)),
    {"i": {"$gt": 9007199254740992}},
    {"i": True},
    {"b": 1},
    {"s": ""},
    {"missing": "x"},
    {"missing": {"$ne": "x"}},
    {"s": {"$in": ["red", "blue"]}},
    {"s": {"$in": ["none"]}},
    {"s": {"$nin": ["red"]}},
    {"i": {"$in": [1, 2, 3]}},
    {"i": {"$nin": [1, 2]}},
    {"f": {"$in": [1.5, 2.0]}},
    {"b": {"$in": [True]}},
    {"b": {"$nin": [True]}},
    {"mixed": {"$in": [2]}},
    {"mixed": {"$in": [2.0]}},
    {"mixed": {"$in": ["2"]}},
    {"mixed": {"$nin": [2]}},
    *(
        {key: {op: value}}
        for op in ("$contains", "$not_contains")
        for key, value in (
            ("tags", "p"),
            ("tags", "q"),
            ("tags", "z"),
            ("nums", 2),
            ("nums", 2.0),
            ("fl", 1.5),
            ("fl", 1),
            ("bs", True),
            ("bs", False),
            ("s", "re"),
            ("s", "red"),
            ("i", 2),
            ("mixed", 2),
            ("missing", "x"),
        )
    ),
    {"tags": "p"},
    {"tags": {"$in": ["p", "q"]}},
    {"tags": {"$ne": "p"}},
    {"tags": {"$nin": ["p"]}},
    {"nums": {"$gt": 0}},
    {"$and": []},
    {"$or": []},
    {"$and": [{"s": "red"}]},
    {"$or": [{"s": "red"}]},
    {"$and": [{"s": "red"}, {"i": {"$lt": 0}}]},
    {"$or": [{"s": "blue"}, {"$and": [{"s": "red"}, {"b": True}]}]},
    {"$and": [{"$or": [{"i": 1}, {"i": 2}]}, {"$or": [{"s": "red"}, {"mixed": "2"}]}]},
    {"#document": {"$contains": "fox"}},
    {"#document": {"$not_contains": "fox"}},
    {"#document": {"$regex": "(?i)fox"}},
    {"#document": {"$not_regex": "o"}},
    {"$and": [{"#document": {"$contains": "o"}}, {"s": "red"}]},
    {"$or": [{"#document": {"$contains": "Fox"}}, {"s": "blue"}]},
    {"#id": "r0"},
    {"#embedding": 1},
    {"#nosuch": {"$ne": 1}},
    {"": "x"},
    {"ключ": {"$ne": "x"}},
]
INVALID: list[Any] = [
    {},
    [],
    "text",
    5,
    True,
    {"s": "red", "i": 1},
    {"i": {"$gt": 1, "$lt": 5}},
    {"s": None},
    {"s": {"$eq": None}},
    {"s": {}},
    {"s": []},
    {"s": ["red"]},
    {"s": {"$eq": ["red"]}},
    {"s": {"$nosuch": 1}},
    {"s": {"eq": "red"}},
    {"$not": {"s": "red"}},
    {"$nosuch": []},
    *({"s": {op: "red"}} for op in ("$gt", "$gte", "$lt", "$lte")),
    *({"b": {op: True}} for op in ("$gt", "$lte")),
    {"i": {"$gt": [1]}},
    *(
        {"i": {op: value}}
        for op in ("$in", "$nin")
        for value in ([], [1, "x"], [2, 2.5], [True, 1], "x", 1, [None], [[1]])
    ),
    {"$and": {}},
    {"$and": "x"},
    {"$and": [{}]},
    {"$and": ["x"]},
    {"$or": [{"s": "red"}, {"s": {"$bad": 1}}]},
    {"$or": [None]},
    {"$contains": "fox"},
    {"s": {"$regex": "r.*"}},
    {"s": {"$not_regex": "r.*"}},
    {"tags": {"$contains": ["p"]}},
    {"tags": {"$contains": None}},
    {"tags": {"$contains": {"a": 1}}},
    {"#document": {"$contains": 5}},
    {"#document": "fox"},
    {"#document": {"$eq": "fox"}},
    {"#document": {"$in": ["fox"]}},
]
NEEDLES = (
    "fox",
    "Fox",
    "o",
    "",
    "100%",
    "_sure_",
    "*star*",
    "[x]",
    "Привет",
    "привет",
    "日本",
    "\n",
    "nothing",
    "jumps over",
    "$",
    "\\",
)
PATTERNS = (
    "fox",
    "^fox$",
    "(?i)fox",
    "^The",
    "end.$",
    "one.line",
    "(?s)one.line",
    "(?m)^line",
    r"\d+%",
    "",
    "[а-я]+",
    "日.*ト",
    "a|o$",
    r"\bfox\b",
)
DOCUMENT_VALID: list[Any] = [
    *({op: needle} for op in ("$contains", "$not_contains") for needle in NEEDLES),
    *({op: pattern} for op in ("$regex", "$not_regex") for pattern in PATTERNS),
    {"$and": [{"$contains": "fox"}, {"$not_contains": "quick"}]},
    {"$or": [{"$contains": "dog"}, {"$regex": "^F"}]},
    {"$and": []},
    {"$or": []},
    {"$and": [{"$contains": "fox"}]},
    {"$and": [{"$or": [{"$contains": "fox"}, {"$contains": "dog"}]}, {"$not_contains": "quick"}]},
]
DOCUMENT_INVALID: list[Any] = [
    {},
    [],
    "fox",
    {"$contains": 5},
    {"$contains": None},
    {"$contains": ["fox"]},
    {"$contains": "a", "$not_contains": "b"},
    {"$nosuch": "a"},
    {"$eq": "fox"},
    {"s": "red"},
    {"$and": {}},
    {"$and": ["x"]},
    {"$or": [{"$contains": 5}]},
    {"$regex": 5},
]
PATTERNS_INVALID = ("(", "[", "a{2", "(?=look)", "(?<!behind)", r"(a)\1", "*a")
# Chroma cuts the fraction off when it meets an integer (see differences.py).
FRACTIONS: list[Any] = [
    {"i": {"$lt": 2.5}},
    {"i": {"$gte": 2.5}},
    {"i": 2.5},
    {"i": {"$in": [2.5]}},
]


def by_get(name: str, clauses: list[Any], field: str, edge: str = "") -> list[Request]:
    return [*filled(name, "c"), *(on("c", "get", {field: clause, "include": []}, edge) for clause in clauses)]


def valid() -> list[Request]:
    return by_get("valid", VALID, "where")


def invalid() -> list[Request]:
    return by_get("invalid", INVALID, "where")


def by_query() -> list[Request]:
    point = [[0.5, -0.5, 0.25]]
    include = {"include": ["distances"]}
    return [
        *filled("by-query", "c"),
        *(
            on("c", "query", {"query_embeddings": point, "where": where, "n_results": 3, **include})
            for where in [*VALID, *INVALID]
        ),
        *(
            on("c", "query", {"query_embeddings": point, "where_document": clause, **include})
            for clause in [*DOCUMENT_VALID, *DOCUMENT_INVALID]
        ),
        create("nothing", "e"),
        *(
            on("e", "query", {"query_embeddings": point, "where": where})
            for where in (VALID[0], {}, {"s": {"$bad": 1}})
        ),
        *(on("e", "get", {"where": where}) for where in (VALID[0], {}, {"s": {"$bad": 1}})),
    ]


def by_delete() -> list[Request]:
    nothing = {"limit": 0}
    return [
        *filled("by-delete", "c"),
        *(on("c", "delete", {"where": where, **nothing}) for where in [*VALID[::7], *INVALID]),
        *(on("c", "delete", {"where_document": clause, **nothing}) for clause in DOCUMENT_INVALID),
    ]


def documents() -> list[Request]:
    patterns = [{"$regex": pattern} for pattern in PATTERNS_INVALID]
    return by_get("documents", [*DOCUMENT_VALID, *DOCUMENT_INVALID, *patterns], "where_document")


def fractions() -> list[Request]:
    return by_get("fractions", FRACTIONS, "where", "fraction against an integer")


def chained(operator: str, conditions: list[Any], left: bool = True) -> Any:
    """Conditions joined in pairs, as clients do that know only `and(a, b)`."""
    chain = conditions[0]
    for condition in conditions[1:]:
        chain = {operator: [chain, condition] if left else [condition, chain]}
    return chain


def deep() -> list[Request]:
    """Filters nested as deep as JSON goes, of one operator and of both in turn."""
    clauses, texts = [], []
    for depth in (2, 16, 31, 32, 33, 34, 48, 60):
        numbers = [{"i": {"$gt": -5}}, *({"i": {"$lt": 100 + n}} for n in range(depth - 1))]
        words = [{"$contains": "fox"}, *({"$not_contains": f"word {n}"} for n in range(depth - 1))]
        for left in (True, False):
            clauses += [chained(operator, numbers, left) for operator in ("$and", "$or")]
            texts += [chained(operator, words, left) for operator in ("$and", "$or")]
        turns: Any = {"s": "red"}
        for level in range(depth - 1):
            turns = {("$and", "$or")[level % 2]: [turns, {"i": {"$lt": level}}]}
        clauses.append(turns)
    clauses += [chained("$and", [{"i": {"$gt": 0}}] * 59 + [{"i": {"$bad": 1}}]), chained("$or", [{}] * 40)]
    point = {"query_embeddings": [[0.5, -0.5, 0.25]], "n_results": 3, "include": ["distances"]}
    return [
        *filled("deep", "c"),
        *(on("c", "get", {"where": clause, "include": []}) for clause in clauses),
        *(on("c", "get", {"where_document": clause, "include": []}) for clause in texts),
        *(on("c", "query", {"where": clause, **point}) for clause in clauses[::5]),
        *(on("c", "delete", {"where": clause, "limit": 0}) for clause in clauses[::7]),
    ]


STORIES = [valid, invalid, by_query, by_delete, documents, fractions, deep]
