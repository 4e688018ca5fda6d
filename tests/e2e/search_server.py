"""Collections and searches over Chroma's HTTP API, and the comparison of an answer with the expected one."""

from __future__ import annotations

import json
import math
import uuid
from typing import Any, Protocol

import httpx

from search_cases import Case
from search_reference import Collection, Expected, Ranked, search
from search_scores import f32

Json = Any
DATABASE = "/api/v2/tenants/default_tenant/databases/default_database"
COLUMNS = ["ids", "documents", "embeddings", "metadatas", "scores"]


class SearchServer(Protocol):
    """What answers searches. Handles are collections."""

    def create(self, space: str, sparse: dict[str, bool]) -> str: ...

    def write(self, handle: str, operation: Json) -> None: ...

    def search(self, handle: str, body: Json) -> tuple[int, Json]: ...

    def drop(self, handle: str) -> None: ...


def schema(space: str, sparse: dict[str, bool]) -> Json:
    """A creation's schema with these sparse indexes, plain or scaled by idf."""

    def index(bm25: bool) -> Json:
        config = {"bm25": True} if bm25 else {}
        return {"sparse_vector": {"sparse_vector_index": {"enabled": True, "config": config}}}

    vector = {"float_list": {"vector_index": {"enabled": True, "config": {"space": space}}}}
    return {"defaults": {}, "keys": {"#embedding": vector, **{key: index(bm25) for key, bm25 in sparse.items()}}}


class HttpServer:
    """A server behind an address."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url + DATABASE, timeout=60)

    def post(self, path: str, body: Json) -> httpx.Response:
        return self.client.post(path, json=body)

    def expect(self, answer: httpx.Response) -> Json:
        if not answer.is_success:
            raise AssertionError(
                f"{answer.request.url}: {answer.status_code} {answer.text}\n{answer.request.content!r}"
            )
        return answer.json()

    def create(self, space: str, sparse: dict[str, bool]) -> str:
        name = f"search-{uuid.uuid4()}"
        created = self.expect(self.post("/collections", {"name": name, "schema": schema(space, sparse)}))
        return f"{created['id']} {name}"

    def write(self, handle: str, operation: Json) -> None:
        ((kind, rows),) = operation.items()
        path = f"/collections/{handle.split()[0]}/{kind}"
        if kind == "delete":
            self.expect(self.post(path, {"ids": rows}))
            return
        for part in parts_of(rows):
            columns = {f"{name}s": [row.get(name) for row in part] for name in part[0] if name != "metadata"}
            if "metadata" in part[0]:
                columns["metadatas"] = [row["metadata"] for row in part]
            self.expect(self.post(path, columns))

    def search(self, handle: str, body: Json) -> tuple[int, Json]:
        answer = self.post(f"/collections/{handle.split()[0]}/search", body)
        return answer.status_code, answer.json() if answer.content else None

    def drop(self, handle: str) -> None:
        self.expect(self.client.delete(f"/collections/{handle.split()[1]}"))


def parts_of(rows: list[Json]) -> list[list[Json]]:
    """Runs of rows with the same members: a request has a list for each."""
    parts: list[list[Json]] = []
    for row in rows:
        if parts and parts[-1][0].keys() == row.keys():
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


class ReferenceServer:
    """The reference in the place of a server: the tests of the harness itself need no other."""

    def __init__(self) -> None:
        self.collections: dict[str, Collection] = {}
        self.made = 0

    def create(self, space: str, sparse: dict[str, bool]) -> str:
        self.made += 1
        handle = str(self.made)
        self.collections[handle] = Collection(space, dict(sparse))
        return handle

    def write(self, handle: str, operation: Json) -> None:
        self.collections[handle].write(json.loads(json.dumps(operation)))

    def evaluate(self, collection: Collection, body: Json) -> Expected:
        return search(collection, body)

    def search(self, handle: str, body: Json) -> tuple[int, Json]:
        found = [self.evaluate(self.collections[handle], one) for one in body["searches"]]
        columns: Json = {name: [one.columns[name] for one in found] for name in COLUMNS}
        columns["scores"] = [
            scores and [s if math.isfinite(s) else None for s in scores] for scores in columns["scores"]
        ]
        return 200, columns | {"select": [one.select for one in found]}

    def drop(self, handle: str) -> None:
        del self.collections[handle]


# ---- comparison ----


def plain(value: Json) -> Json:
    """A value in which integers and floats differ, as they do in metadata, but not in sparse vectors."""
    if isinstance(value, dict) and "indices" in value:
        return json.dumps({**value, "values": [float(x) for x in value["values"]]}, sort_keys=True)
    return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else repr(value)


def difference(collection: Collection, expected: Expected, found: Json) -> str | None:
    """What is wrong with the columns of one search; scores may be off by their bounds, and near ones may swap."""
    if found["select"] != expected.select:
        return f"select is {found['select']}, not {expected.select}"
    order = expected.columns["ids"]
    if sorted(found["ids"]) != sorted(order):
        return f"ids are {found['ids']}, not {order}"
    places = {ident: number for number, ident in enumerate(order)}
    for name in COLUMNS:
        ours, theirs = expected.columns[name], found[name]
        if (ours is None) != (theirs is None) or theirs is not None and len(theirs) != len(order):
            return f"{name} is {theirs}, not {ours}"
        for ident, value in zip(found["ids"], theirs, strict=True) if theirs is not None else []:
            row = places[ident]
            if name == "scores":
                score = expected.rows[row][1]
                if not is_near(value, score.value, score.error):
                    return f"the score of {ident} is {value}, not {score.value} ± {score.error}"
            elif name == "embeddings":
                if [float(x) for x in value] != [float(x) for x in ours[row]]:
                    return f"the embedding of {ident} is {value}, not {ours[row]}"
            elif plain(value) != plain(ours[row]):
                return f"{name} of {ident} is {value}, not {ours[row]}"
    return wrong_order(found["ids"], [expected.rows[places[ident]] for ident in found["ids"]])


def is_near(value: float | None, expected: float, error: float) -> bool:
    if math.isinf(error):
        return True
    if value is None or not math.isfinite(expected):
        return value is None and not math.isfinite(expected)
    return abs(f32(value) - expected) <= 2 * error


def wrong_order(ids: list[str], rows: Ranked) -> str | None:
    """`rows` in the order of the answer: nothing that is certainly larger may come before anything else."""
    highest: tuple[str, tuple[int, float, int]] | None = None
    for number, (place, score) in enumerate(rows):
        if score.is_wild():
            continue
        if highest is not None and highest[1] > score.high():
            return f"{highest[0]} comes before {ids[number]}: {ids}"
        if highest is None or score.low() > highest[1]:
            highest = (ids[number], score.low())
        if number and rows[number - 1][1].ties(score) and rows[number - 1][0] > place:
            return f"{ids[number - 1]} and {ids[number]} tie, but are not in insertion order: {ids}"
    return None


def check(server: SearchServer, handle: str, collection: Collection, searches: list[Json]) -> list[tuple[Json, str]]:
    """Sends the searches in one request; those that were answered wrongly, each with what is wrong."""
    status, answer = server.search(handle, {"searches": searches})
    if status != 200:
        if len(searches) == 1:
            return [(searches[0], f"refused: {status} {answer}")]
        # One search that is refused fails them all.
        return [wrong for body in searches for wrong in check(server, handle, collection, [body])]
    wrong = []
    for number, body in enumerate(searches):
        found = {name: column[number] for name, column in answer.items()}
        if fault := difference(collection, search(collection, body), found):
            wrong.append((body, fault))
    return wrong


def fault_of(server: SearchServer, case: Case) -> str | None:
    """What is wrong with the answer to a case, made anew."""
    handle = server.create(case.space, case.sparse)
    try:
        for operation in case.writes:
            server.write(handle, operation)
        wrong = check(server, handle, case.collection(), [case.search])
    finally:
        server.drop(handle)
    return wrong[0][1] if wrong else None
