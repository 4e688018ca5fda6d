"""Random collections and searches, and how a failing case is made smaller. Everything follows from a seed.

Numbers are multiples of a quarter, so that distances are the same in every order of summation.
"""

from __future__ import annotations

import copy
import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from search_reference import PREDEFINED, Ambiguous, Collection, search

Json = Any

WORDS = ["red", "green", "apple", "pie", "blue", "sky", "über", "東京", "a.b", ""]
FIELDS = ["cat", "n", "prio", "tags", "flag", "mixed", "zz", "sp", "#id"]
SEARCHES = 20


@dataclass
class Case:
    """A collection as its writes, and one search of it."""

    space: str
    sparse: dict[str, bool]
    writes: list[Json]
    search: Json

    def collection(self) -> Collection:
        made = Collection(self.space, dict(self.sparse))
        for operation in self.writes:
            made.write(copy.deepcopy(operation))
        return made

    def text(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


class Generator:
    """The collection and the searches of one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.space = self.random.choice(["l2", "l2", "cosine", "ip"])
        self.sparse = {"sp": False, "bm": True, "sp2": self.random.random() < 0.5}
        self.dimension = self.random.choice([1, 2, 2, 3, 6])
        self.vocabulary = self.random.choice([3, 3, 8, 8, 40])
        self.ids = [f"{self.random.choice(['a', 'é', '#'])}{i}" for i in range(self.size())]

    def size(self) -> int:
        return self.random.choice([0, 1, 6, 12, 12, 20, 20, 30, 30, 30, 60, 60, 120])

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def number(self) -> float:
        return self.random.randint(-8, 8) / 4

    def embedding(self) -> list[float]:
        return [self.number() for _ in range(self.dimension)]

    def sparse_vector(self, most: int) -> Json:
        count = self.random.randint(0, min(most, self.vocabulary))
        indices = sorted(self.random.sample(range(self.vocabulary), count))
        far = [4294967295 if i == self.vocabulary - 1 and self.vocabulary > 3 else i for i in indices]
        return {"indices": far, "values": [self.number() for _ in far]}

    def document(self) -> str | None:
        if self.chance(0.2):
            return None
        return " ".join(self.random.choice(WORDS) for _ in range(self.random.randint(0, 4)))

    def value(self, field: str) -> Json:
        choose = self.random.choice
        integer, real = self.random.randint(-2, 4), self.random.randint(-2, 4) / 2
        match field:
            case "cat":
                return choose(["x", "y", "z", ""])
            case "n":
                return choose([integer, real, float(integer)])
            case "prio":
                return integer
            case "tags":
                return choose([["t"], ["t", "u"], [1, 2], [1.0, 2.5], [True], ["x"]])
            case "flag":
                return self.chance(0.5)
            case "mixed":
                return choose([True, 1, 1.0, "1", 2**53 + 1, -0.0, 0.0, ["1"], [1], "é"])
            case "sp" | "bm" | "sp2":
                return {"#type": "sparse_vector", **self.sparse_vector(6)} if self.chance(0.95) else "text"
            case _:
                return choose(["p", 1, 2.5])

    def metadata(self, nulls: bool) -> Json:
        keys = ["cat", "n", "prio", "tags", "flag", "mixed", "sp", "bm", "sp2"]
        chosen = {key: self.value(key) for key in keys if self.chance(0.55)}
        if nulls:
            chosen |= {key: None for key in keys if self.chance(0.15)}
        return chosen or None

    def row(self, ident: str, kind: str) -> Json:
        row: Json = {"id": ident}
        if kind != "update" or self.chance(0.5):
            row["embedding"] = self.embedding()
        if kind == "add" or self.chance(0.5):
            row["document"] = self.document()
            row["metadata"] = self.metadata(nulls=kind != "add")
        return row

    def writes(self) -> list[Json]:
        """Adds in several commits, then updates, upserts and deletes between them."""
        writes: list[Json] = []
        rest = list(self.ids)
        while rest:
            count = self.random.choice([1, 2, 5, len(rest), len(rest)])
            writes.append({"add": [self.row(ident, "add") for ident in rest[:count]]})
            rest = rest[count:]
            if self.chance(0.6):
                some = self.random.sample(self.ids, min(len(self.ids), self.random.randint(1, 4)))
                kind = self.random.choice(["update", "upsert", "delete", "delete", "add"])
                writes.append({kind: some if kind == "delete" else [self.row(ident, kind) for ident in some]})
        return writes

    # ---- searches ----

    def leaf(self) -> Json:
        limit = self.random.choice([1, 2, 3, 5, 8, 16, 100, 4294967295, 0 if self.chance(0.3) else 20])
        members: Json = {} if self.chance(0.3) else {"limit": limit}
        if self.chance(0.6):
            members["default"] = self.random.choice([0, 1, -1, 2.5, 100, 1000])
        if self.chance(0.35):
            members["return_rank"] = self.chance(0.8)
        if self.chance(0.5):
            return {"query": self.embedding(), **members}
        query = self.sparse_vector(4)
        if self.chance(0.5):
            query = {
                "#type": "sparse_vector",
                "tokens": self.random.choice([None, ["t"] * len(query["indices"])]),
                **query,
            }
        return {"query": query, "key": self.random.choice(list(self.sparse)), **members}

    def rank(self, depth: int) -> Json:
        kind = self.random.random()
        if depth == 0 or kind < 0.35:
            return (
                {"$knn": self.leaf()}
                if self.chance(0.85)
                else {"$val": self.random.choice([0, 1, -1, 0.7, 60, 1e30, 0.5])}
            )
        if kind < 0.75:
            fold = self.random.choice(["$sum", "$sum", "$mul", "$max", "$min"])
            return {
                fold: [
                    self.rank(depth - 1) for _ in range(self.random.choice([2, 2, 2, 3, 1 if self.chance(0.7) else 0]))
                ]
            }
        if kind < 0.9:
            operator = self.random.choice(["$sub", "$div"])
            return {operator: {"left": self.rank(depth - 1), "right": self.rank(depth - 1)}}
        return {self.random.choice(["$abs", "$exp", "$log"]): self.rank(depth - 1)}

    def fusion(self) -> Json:
        """Reciprocal rank fusion as the clients write it."""

        def ratio() -> Json:
            knn = {**self.leaf(), "return_rank": True}
            weight = {"$val": self.random.choice([1, 0.75, 0.25])}
            return {
                "$div": {"left": weight, "right": {"$sum": [{"$val": self.random.choice([60, 10])}, {"$knn": knn}]}}
            }

        return {"$mul": [{"$val": -1}, {"$sum": [ratio(), ratio()]}]}

    def operand(self, field: str) -> Json:
        value = self.value(field)
        while isinstance(value, dict | list):
            value = self.value("n") if field != "tags" else self.random.choice(["t", "u", 1, 1.0, True])
        return value

    def test(self) -> Json:
        kind = self.random.random()
        if kind < 0.15:
            some = self.random.sample([*self.ids, "nobody"], min(len(self.ids) + 1, self.random.randint(1, 5)))
            operator = self.random.choice(["$eq", "$ne", "$in", "$nin"])
            return {"#id": {operator: some if "in" in operator else some[0]} if self.chance(0.8) else some[0]}
        if kind < 0.4:
            operator = self.random.choice(["$contains", "$not_contains", "$regex", "$not_regex"])
            text = self.random.choice(
                ["a", "red", "^red", "e$", "[aü]", "pie|sky"] if "regex" in operator else WORDS + ["e"]
            )
            return {"#document": {operator: text}}
        field = self.random.choice([*FIELDS[:-1], "cat", "n", "#score", "#embedding"])
        operator = self.random.choice(
            ["$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte", "$contains", "$not_contains"]
        )
        if operator in ("$gt", "$gte", "$lt", "$lte"):
            return {field: {operator: self.value("n")}}
        operand = self.operand(field)
        if operator in ("$in", "$nin"):
            like = [other for other in (self.operand(field) for _ in range(6)) if type(other) is type(operand)]
            return {field: {operator: [operand, *like]}}
        return {field: {operator: operand} if operator != "$eq" or self.chance(0.5) else operand}

    def filter(self, depth: int) -> Json:
        if depth == 0 or self.chance(0.4):
            return self.test()
        parts = [self.filter(depth - 1) for _ in range(self.random.choice([2, 2, 3, 1 if self.chance(0.7) else 0]))]
        return {self.random.choice(["$and", "$or", "$or"]): parts}

    def group_by(self) -> Json:
        keys = [self.random.choice(FIELDS) for _ in range(self.random.choice([1, 1, 2]))]
        order = [self.random.choice([*FIELDS, "#score", "#score"]) for _ in range(self.random.choice([1, 1, 2]))]
        aggregate = self.random.choice(["$min_k", "$max_k"])
        return {"keys": keys, "aggregate": {aggregate: {"keys": order, "k": self.random.choice([1, 1, 2, 5])}}}

    def search(self) -> Json:
        body: Json = {}
        if self.chance(0.4):
            body["filter"] = self.filter(2)
        if self.chance(0.9):
            body["rank"] = self.fusion() if self.chance(0.15) else self.rank(self.random.choice([0, 1, 2, 3, 4]))
            if self.chance(0.3):
                body["group_by"] = self.group_by()
        if self.chance(0.5):
            limit: Json = {"limit": self.random.choice([1, 2, 3, 10, None, 4294967295, 0 if self.chance(0.3) else 5])}
            offset = self.random.choice([0, 1, 2, 3, 4294967295 if self.chance(0.2) else 1])
            body["limit"] = limit | ({"offset": offset} if self.chance(0.4) else {})
        if self.chance(0.9):
            keys = self.random.sample([*PREDEFINED, *FIELDS, "bm", "#score"], self.random.randint(0, 6))
            body["select"] = {"keys": [*keys, "#score"] if self.chance(0.8) else keys}
        return body

    def searches(self, collection: Collection, count: int = SEARCHES) -> Iterator[Json]:
        """Well-formed searches whose answers no noise decides."""
        found = 0
        while found < count:
            body = self.search()
            try:
                search(collection, body)
            except Ambiguous:
                continue
            found += 1
            yield body


# ---- smaller cases ----


def smaller_values(value: Json) -> Iterator[Json]:
    """The value with one part left out, or replaced by one of its own parts."""
    if isinstance(value, dict):
        for key in value:
            yield {k: v for k, v in value.items() if k != key}
        for key, part in value.items():
            for smaller in smaller_values(part):
                yield {**value, key: smaller}
            if isinstance(part, dict) and len(part) == 1 and next(iter(part)).startswith("$"):
                yield part
    elif isinstance(value, list):
        for i in range(len(value)):
            yield value[:i] + value[i + 1 :]
        for i, part in enumerate(value):
            for smaller in smaller_values(part):
                yield value[:i] + [smaller] + value[i + 1 :]
            if isinstance(part, dict) and len(part) == 1:
                yield part


def smaller_writes(writes: list[Json]) -> Iterator[list[Json]]:
    """Without one write, without half of one, without one row of one, without one member of a row."""
    for i in range(len(writes)):
        yield writes[:i] + writes[i + 1 :]
    for i, operation in enumerate(writes):
        ((kind, rows),) = operation.items()
        parts = [rows[: len(rows) // 2], rows[len(rows) // 2 :]] if len(rows) > 3 else []
        parts += [rows[:j] + rows[j + 1 :] for j in range(len(rows))] if len(rows) > 1 else []
        for j, row in enumerate(rows if kind != "delete" else []):
            for name in ("document", "metadata"):
                if row.get(name) is not None:
                    parts.append([*rows[:j], {**row, name: None}, *rows[j + 1 :]])
            for key in row.get("metadata") or {}:
                rest = {k: v for k, v in row["metadata"].items() if k != key}
                parts.append([*rows[:j], {**row, "metadata": rest or None}, *rows[j + 1 :]])
        for part in parts:
            yield writes[:i] + [{kind: part}] + writes[i + 1 :]


def shrunk(case: Case, fails: Callable[[Case], bool], attempts: int = 400) -> Case:
    """The smallest case found that still fails. `fails` says no to a case that is malformed or ambiguous."""

    def by_writes(case: Case) -> Iterator[Case]:
        return (Case(case.space, case.sparse, writes, case.search) for writes in smaller_writes(case.writes))

    def by_search(case: Case) -> Iterator[Case]:
        return (Case(case.space, case.sparse, case.writes, body) for body in smaller_values(case.search))

    left, before = attempts, ""
    while before != case.text() and left > 0:
        before = case.text()
        for way in (by_search, by_writes):
            # What did not help is not tried again at once: a smaller case goes on at the place it was found.
            place = 0
            while left > 0 and (candidate := next(itertools.islice(way(case), place, None), None)) is not None:
                left -= 1
                if fails(candidate):
                    case = candidate
                else:
                    place += 1
    return case
