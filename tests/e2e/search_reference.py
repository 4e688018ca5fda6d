"""What Chroma's `search` answers, evaluated slowly and plainly on small collections: the truth of the search tests.

A record is `{"id", "embedding", "document", "metadata"}`. A collection lists its records in insertion order, and
names its space and its sparse keys, each with whether its scores are scaled by idf (`bm25`). Where float noise could
decide which records are answered the search is `Ambiguous`, and no case.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import search_scores as scores
from search_scores import Score, exact, f32

PREDEFINED = ["#document", "#embedding", "#metadata", "#score"]
# Absolute error of a cosine distance of a few dimensions, and relative one of idf.
COSINE_ERROR = 1e-6
IDF_ERROR = 1e-6

Json = Any
Record = dict[str, Any]
Ranked = list[tuple[int, Score]]


class Ambiguous(Exception):
    """Implementations that are right may answer differently."""


@dataclass
class Collection:
    """Its records, and how they are searched."""

    space: str = "l2"
    sparse: dict[str, bool] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)

    def write(self, operation: Json) -> None:
        """Applies `{"add"|"update"|"upsert": [record, …]}` or `{"delete": [id, …]}`."""
        ((kind, rows),) = operation.items()
        by_id = {record["id"]: record for record in self.records}
        if kind == "delete":
            self.records = [record for record in self.records if record["id"] not in set(rows)]
            return
        for row in rows:
            known = by_id.get(row["id"])
            if known is None and kind != "update":
                by_id[row["id"]] = {"id": row["id"], "embedding": None, "document": None, "metadata": {}}
                self.records.append(by_id[row["id"]])
                merge(by_id[row["id"]], row)
            elif known is not None and kind != "add":
                merge(known, row)


def merge(record: Record, change: Json) -> None:
    for name in ("embedding", "document"):
        if change.get(name) is not None:
            record[name] = change[name]
    for key, value in (change.get("metadata") or {}).items():
        if value is None:
            record["metadata"].pop(key, None)
        else:
            record["metadata"][key] = value


def kind(value: Json) -> int:
    """The order of kinds: bool < int < float < str < sparse < lists of bool, int, float, str."""
    if isinstance(value, list):
        return 5 + max(kind(item) for item in value)
    kinds = [bool, int, float, str]
    return next((number for number, one in enumerate(kinds) if isinstance(value, one)), 4)


def order_key(value: Json) -> Json:
    """The order of values in groups; a missing one comes first."""
    if value is None:
        return (-1,)
    number = kind(value)
    if number == 4:
        return (number, value["indices"], [float(x) for x in value["values"]])
    floats = [exact(x).key() for x in (value if isinstance(value, list) else [value])] if number in (2, 7) else None
    return (number, floats or value)


# ---- filters ----

Test = Callable[[Record], bool]


def is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(a: Json, b: Json) -> bool:
    return (is_number(a) and is_number(b) or type(a) is type(b)) and bool(a == b)


def tests(where: Json) -> Test:
    ((key, test),) = where.items()
    if key in ("$and", "$or"):
        parts, join = [tests(part) for part in test], all if key == "$and" else any
        return lambda record: join(part(record) for part in parts)
    ((operator, operand),) = (test if isinstance(test, dict) else {"$eq": test}).items()
    negated = operator.startswith("$n")
    positive = document_test(operator, operand) if key == "#document" else value_test(key, operator, operand)
    return lambda record: positive(record) != negated


def document_test(operator: str, operand: str) -> Test:
    found = re.compile(operand if "regex" in operator else re.escape(operand))
    return lambda record: record["document"] is not None and found.search(record["document"]) is not None


def value_test(key: str, operator: str, operand: Json) -> Test:
    def value(record: Record) -> Json:
        return record["id"] if key == "#id" else record["metadata"].get(key)

    def holds(record: Record) -> bool:
        own = value(record)
        return isinstance(own, list) and any(type(item) is type(operand) and item == operand for item in own)

    def compares(record: Record) -> bool:
        own = value(record)
        if not is_number(own):
            return False
        return bool((own > operand if "g" in operator else own < operand) or "e" in operator and own == operand)

    if operator in ("$in", "$nin"):
        return lambda record: any(same(value(record), item) for item in operand)
    if operator in ("$eq", "$ne"):
        return lambda record: same(value(record), operand)
    return holds if operator in ("$contains", "$not_contains") else compares


# ---- $knn ----


def distance(space: str, a: list[float], b: list[float]) -> Score:
    """Exact where products of the numbers and their sums are floats: the generator makes such numbers."""
    if space == "l2":
        return exact(f32(sum((f32(x) - f32(y)) ** 2 for x, y in zip(a, b, strict=True))))
    dot = sum(f32(x) * f32(y) for x, y in zip(a, b, strict=True))
    if space == "ip":
        return exact(f32(1.0 - dot))
    norms = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
    if norms == 0:
        return exact(1.0)
    return Score(f32(1.0 - dot / norms), COSINE_ERROR, ("cosine", tuple(a), tuple(b)))


def idf(records: list[Record], key: str, index: int) -> float:
    """Over the whole collection, whatever the filter."""
    holders = [record["metadata"].get(key) for record in records]
    having = sum(isinstance(value, dict) and index in value["indices"] for value in holders)
    return math.log1p((len(records) - having + 0.5) / (having + 0.5))


def sparse_leaf(collection: Collection, chosen: Iterable[int], knn: Json) -> Ranked:
    key, query = knn["key"], dict(zip(knn["query"]["indices"], map(f32, knn["query"]["values"]), strict=True))
    scaled = collection.sparse[key]
    weights = {i: x * idf(collection.records, key, i) for i, x in query.items()} if scaled else query
    found = []
    for place in chosen:
        value = collection.records[place]["metadata"].get(key)
        if not isinstance(value, dict):
            continue
        shared = [(i, f32(x)) for i, x in zip(value["indices"], value["values"], strict=True) if i in weights]
        if shared:
            products = [weights[i] * x for i, x in shared]
            error = sum(map(abs, products)) * IDF_ERROR + (IDF_ERROR if any(products) else 0.0) if scaled else 0.0
            score = f32(1.0 - sum(products))
            found.append((place, Score(score, error, ("sparse", tuple(shared))) if error else exact(score)))
    return found


def leaf(collection: Collection, chosen: list[int], knn: Json) -> Ranked:
    """The `limit` nearest of the chosen records, each with its distance or its rank."""
    if isinstance(knn["query"], dict):
        found = sparse_leaf(collection, chosen, knn)
    else:
        vectors = ((place, collection.records[place]["embedding"]) for place in chosen)
        found = [(place, distance(collection.space, knn["query"], vector)) for place, vector in vectors]
    best = cut(by_score(found), 0, knn.get("limit", 16))
    if not knn.get("return_rank", False):
        return best
    certain_order(best)
    return [(place, exact(float(rank))) for rank, (place, _) in enumerate(best)]


# ---- the order of scores, and what noise may change in it ----


def by_score(rows: Iterable[tuple[int, Score]]) -> Ranked:
    return sorted(rows, key=lambda row: (row[1].key(), row[0]))


def cut(rows: Ranked, offset: int, limit: int | None) -> Ranked:
    """Rows from `offset` on, `limit` at most; both ends must be beyond doubt."""
    end = len(rows) if limit is None else min(offset + limit, len(rows))
    for edge in (offset, end):
        if 0 < edge < len(rows):
            certain_edge(rows, edge)
    return rows[offset:end]


def certain_edge(rows: Ranked, edge: int) -> None:
    before, behind = rows[:edge], rows[edge:]
    highest, lowest = max(score.high() for _, score in before), min(score.low() for _, score in behind)
    if any(score.is_wild() for _, score in rows):
        raise Ambiguous("a page of scores that may be anything")
    near = [score for _, score in before if score.high() >= lowest]
    near += [score for _, score in behind if score.low() <= highest]
    if highest >= lowest and not all(score.ties(near[0]) for score in near):
        raise Ambiguous("noise decides which records are on the page")


def certain_order(rows: Ranked) -> None:
    for (_, first), (_, second) in zip(rows, rows[1:], strict=False):
        if first.is_wild() or second.is_wild() or first.high() >= second.low() and not first.ties(second):
            raise Ambiguous("noise decides the order")


# ---- rank expressions: a value is (support {place: score}, default or None) ----

Domain = tuple[dict[int, Score], Score | None]
UNARY = {"$abs": scores.absolute, "$exp": scores.exponential, "$log": scores.logarithm}
SIDES = {"$sub": scores.sub, "$div": scores.div}
FOLDS = {
    "$sum": (scores.add, 0.0),
    "$mul": (scores.mul, 1.0),
    "$max": (scores.largest, -scores.F32_MAX),
    "$min": (scores.smallest, scores.F32_MAX),
}


def joined(a: Domain, b: Domain, function: Callable[[Score, Score], Score]) -> Domain:
    (ours, our_default), (theirs, their_default) = a, b
    places = {
        (True, True): ours.keys() & theirs.keys(),
        (True, False): ours.keys(),
        (False, True): theirs.keys(),
        (False, False): ours.keys() | theirs.keys(),
    }[our_default is None, their_default is None]
    support = {}
    for place in places:
        left, right = ours.get(place, our_default), theirs.get(place, their_default)
        assert left is not None and right is not None
        support[place] = function(left, right)
    if our_default is None or their_default is None:
        return support, None
    return support, function(our_default, their_default)


def evaluate(collection: Collection, chosen: list[int], rank: Json) -> Domain:
    ((operator, operand),) = rank.items()
    if operator == "$val":
        return {}, exact(f32(operand))
    if operator == "$knn":
        default = operand.get("default")
        return dict(leaf(collection, chosen, operand)), None if default is None else exact(f32(default))
    if operator in UNARY:
        support, default = evaluate(collection, chosen, operand)
        function = UNARY[operator]
        return {p: function(s) for p, s in support.items()}, None if default is None else function(default)
    if operator in SIDES:
        left, right = (evaluate(collection, chosen, operand[side]) for side in ("left", "right"))
        return joined(left, right, SIDES[operator])
    combine, start = FOLDS[operator]
    total: Domain = ({}, exact(start))
    for part in operand:
        total = joined(total, evaluate(collection, chosen, part), combine)
    return total


# ---- a search ----


def grouped(collection: Collection, ranked: Ranked, group_by: Json) -> Ranked:
    certain_order(ranked)
    ((aggregate, by),) = group_by["aggregate"].items()

    def keys(row: tuple[int, Score], names: list[str]) -> list[Json]:
        metadata = collection.records[row[0]]["metadata"]
        return [(2, [row[1].key()]) if name == "#score" else order_key(metadata.get(name)) for name in names]

    groups: dict[str, Ranked] = {}
    for row in ranked:
        groups.setdefault(repr(keys(row, group_by["keys"])), []).append(row)
    kept: Ranked = []
    for rows in groups.values():
        rows.sort(key=lambda row: keys(row, by["keys"]), reverse=aggregate == "$max_k")
        kept += rows[: by["k"]]
    return by_score(kept)


@dataclass
class Expected:
    """The rows of one search, and their columns; `None`: not selected."""

    rows: Ranked
    columns: dict[str, Json]
    select: list[str]


def columns_of(collection: Collection, rows: Ranked, select: list[str]) -> Expected:
    keys = set(select)
    fields = sorted(keys - set(PREDEFINED), key=lambda name: name.encode())
    shown = [collection.records[place] for place, _ in rows]

    def metadata(record: Record) -> Json:
        own = {k: v for k, v in record["metadata"].items() if "#metadata" in keys or k in fields}
        typed = {"#type": "sparse_vector", "tokens": None}
        return {k: {**typed, **v} if isinstance(v, dict) else v for k, v in own.items()} or None

    return Expected(
        rows,
        {
            "ids": [record["id"] for record in shown],
            "documents": [record["document"] for record in shown] if "#document" in keys else None,
            "embeddings": [record["embedding"] for record in shown] if "#embedding" in keys else None,
            "metadatas": [metadata(record) for record in shown] if "#metadata" in keys or fields else None,
            "scores": [score.value for _, score in rows] if "#score" in keys else None,
        },
        [key for key in PREDEFINED if key in keys] + fields,
    )


def search(collection: Collection, body: Json) -> Expected:
    """The answer to one well-formed search."""
    rank, page = body.get("rank"), body.get("limit", {})
    accepts = tests(body["filter"]) if body.get("filter") else lambda record: True
    chosen = [place for place, record in enumerate(collection.records) if accepts(record)]
    offset, limit = page.get("offset", 0), page.get("limit")
    if rank is None:
        end = None if limit is None else offset + limit
        rows = [(place, exact(float(number))) for number, place in enumerate(chosen[offset:end])]
    else:
        rows = by_score(evaluate(collection, chosen, rank)[0].items())
        if body.get("group_by", {}).get("keys"):
            rows = grouped(collection, rows, body["group_by"])
        rows = cut(rows, offset, limit)
    return columns_of(collection, rows, body.get("select", {}).get("keys", []))
