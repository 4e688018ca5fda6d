"""Ordinary use at random: a few collections, many writes and reads. All requests are valid; edges are elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from .routes import COLLECTIONS, COLUMNS, DATABASE, count, create, delete, everything, get, on, put, shown
from .wire import Request

SPACES = ("l2", "cosine", "ip")
WORDS = ("oak", "pine", "rose", "moss", "Fern", "мох", "100%", "a_b", "")
INCLUDES = ([], ["documents"], ["metadatas", "documents"], COLUMNS, ["uris", "embeddings"])
IDS = 40


@dataclass
class Live:
    """A collection that exists on both servers."""

    slot: str
    name: str
    dimension: int
    # Ids that are surely there, and ids that were updated without that. Where Chroma has ignored the update of a
    # missing id and the id is added later, the ignored embedding comes back; so those are not added here.
    present: set[str] = field(default_factory=set)
    spoilt: set[str] = field(default_factory=set)


class Story:
    """Writes one story; what it did so far is only remembered as far as the next request needs it."""

    def __init__(self, random: Random, length: int) -> None:
        self.random, self.length = random, length
        self.live: list[Live] = []
        self.made = 0
        self.requests: list[Request] = []

    def write(self) -> list[Request]:
        weighted = {
            self.create: 2,
            self.add: 14,
            self.upsert: 10,
            self.update: 10,
            self.remove: 6,
            self.get: 16,
            self.query: 18,
            self.look: 8,
            self.modify: 3,
            self.drop: 1,
        }
        self.create()
        while len(self.requests) < self.length:
            step = self.create if not self.live else self.random.choices(list(weighted), list(weighted.values()))[0]
            step()
        return [*self.requests, *(everything(each.slot) for each in self.live), get(COLLECTIONS)]

    # What requests are made of.

    def any_live(self) -> Live:
        return self.random.choice(self.live)

    def ids(self, most: int) -> list[str]:
        return [f"id-{i}" for i in self.random.sample(range(IDS), self.random.randint(1, most))]

    def vector(self, dimension: int) -> list[float]:
        return [round(self.random.uniform(-5, 5), 4) for _ in range(dimension)]

    def document(self) -> str | None:
        return None if self.random.random() < 0.2 else " ".join(self.random.choices(WORDS, k=self.random.randint(0, 4)))

    def value(self, key: str) -> Any:
        choose = {
            "s": lambda: self.random.choice(WORDS),
            "i": lambda: self.random.randint(-3, 3),
            "f": lambda: self.random.randint(-8, 8) / 4,
            "b": lambda: self.random.random() < 0.5,
            "mixed": lambda: self.random.choice((1, 2, "1", "2", True)),
            "tags": lambda: self.random.sample(WORDS, self.random.randint(1, 3)),
            "nums": lambda: self.random.sample(range(5), self.random.randint(1, 3)),
        }
        return choose[key]()

    def metadata(self, nulls: bool) -> dict[str, Any] | None:
        keys = ("s", "i", "f", "b", "mixed", "tags", "nums")
        if self.random.random() < 0.15:
            return None
        chosen = self.random.sample(keys, self.random.randint(1, 4))
        return {key: None if nulls and self.random.random() < 0.3 else self.value(key) for key in chosen}

    def where(self, depth: int = 2) -> dict[str, Any]:
        if depth and self.random.random() < 0.3:
            children = [self.where(depth - 1) for _ in range(self.random.randint(1, 3))]
            return {self.random.choice(("$and", "$or")): children}
        key = self.random.choice(("s", "i", "f", "b", "mixed", "tags", "nums", "absent"))
        if key in ("tags", "nums"):
            return {key: {self.random.choice(("$contains", "$not_contains")): self.value(key)[0]}}
        value = self.value("s" if key == "absent" else key)
        operators = ["$eq", "$ne", "$in", "$nin"]
        if isinstance(value, int | float) and not isinstance(value, bool):
            operators += ["$gt", "$gte", "$lt", "$lte"]
        operator = self.random.choice(operators)
        if operator not in ("$in", "$nin"):
            return {key: {operator: value}}
        same = [value, self.value(key if key != "absent" else "s")]
        return {key: {operator: [each for each in same if type(each) is type(value)]}}

    def where_document(self) -> dict[str, Any]:
        word = self.random.choice(WORDS)
        operator = self.random.choice(("$contains", "$not_contains", "$regex", "$not_regex"))
        return {operator: word}

    def filters(self) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        if self.random.random() < 0.5:
            chosen["where"] = self.where()
        if self.random.random() < 0.2:
            chosen["where_document"] = self.where_document()
        return chosen

    def rows(self, live: Live, most: int, nulls: bool) -> dict[str, Any]:
        ids = [each for each in self.ids(most) if each not in live.spoilt]
        live.present.update(ids)
        return {
            "ids": ids,
            "embeddings": [self.vector(live.dimension) for _ in ids],
            "metadatas": [self.metadata(nulls) for _ in ids],
            "documents": [self.document() for _ in ids],
        }

    # The steps.

    def create(self) -> None:
        self.made += 1
        live = Live(f"c{self.made}", f"random-{self.made}", self.random.randint(2, 9))
        space = self.random.choice(SPACES)
        how: dict[str, Any] = self.random.choice(
            ({"configuration": {"hnsw": {"space": space}}}, {"metadata": {"hnsw:space": space, "n": self.made}})
        )
        self.live.append(live)
        self.requests.append(create(live.name, live.slot, get_or_create=self.random.random() < 0.5, **how))

    def add(self) -> None:
        live = self.any_live()
        body = self.rows(live, 8, nulls=False)
        body["uris"] = [
            f"u/{each}" if metadata else None for each, metadata in zip(body["ids"], body["metadatas"], strict=True)
        ]
        self.requests.append(on(live.slot, "add", body))

    def upsert(self) -> None:
        live = self.any_live()
        self.requests.append(on(live.slot, "upsert", self.rows(live, 5, nulls=True)))

    def update(self) -> None:
        live = self.any_live()
        before = set(live.present)
        body = self.rows(live, 5, nulls=True)
        live.spoilt.update(set(body["ids"]) - before)
        live.present = before
        for column in ("embeddings", "metadatas", "documents"):
            if self.random.random() < 0.3:
                del body[column]
        self.requests.append(on(live.slot, "update", body))

    def remove(self) -> None:
        live = self.any_live()
        chosen = self.filters()
        if not chosen or self.random.random() < 0.5:
            chosen["ids"] = self.ids(5)
        elif self.random.random() < 0.3:
            chosen["limit"] = self.random.randint(0, 5)
        live.present -= set(chosen.get("ids", live.present))
        self.requests.append(on(live.slot, "delete", chosen))

    def get(self) -> None:
        body = {**self.filters(), "include": self.random.choice(INCLUDES)}
        if self.random.random() < 0.3:
            body["ids"] = self.ids(10)
        if self.random.random() < 0.3:
            body |= {"limit": self.random.randint(0, 10), "offset": self.random.randint(0, 5)}
        self.requests.append(on(self.any_live().slot, "get", body))

    def query(self) -> None:
        live = self.any_live()
        vectors = [self.vector(live.dimension) for _ in range(self.random.randint(1, 3))]
        body = {"query_embeddings": vectors, "n_results": self.random.randint(1, 12), **self.filters()}
        body["include"] = ["distances", *self.random.choice(INCLUDES)]
        if self.random.random() < 0.15:
            # An unknown id is an edge of its own, unless a filter is there too.
            body |= {"ids": self.ids(10), "where": self.where()}
        self.requests.append(on(live.slot, "query", body))

    def look(self) -> None:
        live = self.any_live()
        self.requests.append(
            self.random.choice((count(live.slot), shown(live.name), get(f"{DATABASE}/collections_count")))
        )

    def modify(self) -> None:
        live = self.any_live()
        self.made += 1
        body: dict[str, Any] = {"new_metadata": {"m": self.made, "gone": None}}
        if self.random.random() < 0.5:
            live.name = f"renamed-{self.made}"
            body["new_name"] = live.name
        self.requests.append(put(f"{COLLECTIONS}/{{{live.slot}}}", body))

    def drop(self) -> None:
        """Empties it before: what Chroma drops with records in it leaves the lists of their metadata behind, and they
        turn up in later records of other collections."""
        live = self.any_live()
        self.live.remove(live)
        self.requests.append(on(live.slot, "delete", {"where": {"absent": {"$ne": "x"}}}))
        self.requests += [delete(f"{COLLECTIONS}/{live.name}"), count(live.slot), shown(live.name)]


def random_stories(random: Random, number: int, length: int) -> dict[str, list[Request]]:
    return {f"random_{i}": Story(random, length).write() for i in range(number)}
