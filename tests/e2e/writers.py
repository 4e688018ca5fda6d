"""Clients that write at random to several servers of one bucket and keep what each id may now hold; what the bucket
and the servers hold in the end is compared with that.

DRUMLIN_E2E_SEED sets the seed of the clients."""

from __future__ import annotations

import io
import os
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
import pyarrow.parquet as pq
from commits import Stream
from drumlin import Drumlin, Outcome

SEED = int(os.environ.get("DRUMLIN_E2E_SEED", str(random.randrange(1 << 32))))
CLIENTS = 4
DIMENSION = 8
Value = str | None  # the document of a record, None where there is no record


@dataclass
class Client:
    """Writes single adds, upserts and deletes of its own ids, one at a time, and keeps what each id may now hold.

    The documents are unique, so that each write can be found in the log. Because a client waits for its answer, an
    acknowledged write comes after all its earlier ones: it settles the ids' unknown past."""

    number: int
    servers: list[Drumlin]
    stopped: threading.Event
    possible: dict[str, set[Value]] = field(default_factory=dict)
    written: dict[str, Outcome] = field(default_factory=dict)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(SEED * CLIENTS + self.number)

    def run(self) -> None:
        step = 0
        while not self.stopped.is_set():
            step += 1
            self.write_once(step)
            if step % 16 == 0:
                self.search_once()

    def write_once(self, step: int) -> None:
        kind = self.random.choices(("add", "upsert", "delete"), (5, 4, 1))[0] if self.possible else "add"
        record_id = f"client{self.number}-{step}" if kind == "add" else self.random.choice(list(self.possible))
        document = f"{kind} {self.number}.{step}"
        if kind == "delete":
            body: dict = {"ids": [record_id]}
            new: Value = None
        else:
            body = {"records": [record_of(record_id, document)]}
            new = document
        outcome, _ = self.random.choice(self.servers).write("shared", kind, body)
        self.outcomes[kind, outcome.value] += 1
        if new is not None:
            self.written[document] = outcome
        before = self.possible.get(record_id, {None})
        if outcome is Outcome.APPLIED:
            self.possible[record_id] = {new}
        elif outcome is Outcome.UNKNOWN:
            self.possible[record_id] = before | {new}
        else:
            self.possible[record_id] = before
            time.sleep(0.05)


    def search_once(self) -> None:
        """Searches for the words of a record that nobody else writes, on a server that looks for newer commits."""
        settled = [(i, next(iter(values))) for i, values in self.possible.items() if len(values) == 1]
        record_id, document = self.random.choice(settled or [("", None)])
        if document is None:
            return
        path, body = "/api/collections/shared/search", {"text": f'"{document}"', "include": []}
        try:
            answer = self.random.choice(self.servers).client.post(path, json=body, params={"consistency": "strong"})
        except httpx.TransportError:
            return
        if answer.is_success:
            assert [hit["id"] for hit in answer.json()["results"][0]] == [record_id], f"{document!r}: {answer.text}"


def embedding_of(document: str) -> list[int]:
    """A vector that only this document has, so that half a record would show."""
    return [ord(letter) for letter in document[-DIMENSION:].rjust(DIMENSION)]


def sparse_of(document: str) -> dict:
    """A sparse vector that only this document has: its client and step are indices."""
    client, step = (int(number) for number in document.split()[1].split("."))
    return {"#type": "sparse_vector", "indices": [client, 10 + step], "values": [0.5, 1.0 + step % 7]}


def record_of(record_id: str, document: str) -> dict:
    metadata = {"sparse": sparse_of(document)}
    return {"id": record_id, "embedding": embedding_of(document), "document": document, "metadata": metadata}


def assert_words_find_records(server: Drumlin, records: dict[str, dict], most: int = 40) -> None:
    """Words and sparse vectors find exactly the records that have them."""
    for record_id, record in random.Random(SEED).sample(sorted(records.items()), min(most, len(records))):
        document = record["document"]
        found = server.search("shared", {"text": f'"{document}"', "include": []})
        assert [hit["id"] for hit in found] == [record_id], f"{document!r} was found in {found}"
        (_, step), values = sparse_of(document)["indices"], sparse_of(document)["values"]
        found = server.search("shared", {"sparse": {"key": "sparse", "indices": [step], "values": [1.0]}, "k": 1000})
        by_step = {i for i, other in records.items() if step in sparse_of(other["document"])["indices"]}
        assert {hit["id"] for hit in found} == by_step, f"index {step} was found in {found}"
        assert all(hit["score"] == values[1] for hit in found)


def appearances(stream: Stream) -> Counter[str]:
    """How many rows of the whole log put each document."""
    counter: Counter[str] = Counter()
    for commit in stream.log.values():
        table = pq.read_table(io.BytesIO(commit), columns=["op", "document"])
        rows = zip(table["op"].to_pylist(), table["document"].to_pylist(), strict=True)
        counter.update(document for op, document in rows if op == "put")
    return counter


def assert_state_is_possible(clients: list[Client], records: dict[str, dict]) -> None:
    possible = {record_id: values for client in clients for record_id, values in client.possible.items()}
    assert set(records) <= set(possible), "a record that nobody wrote"
    for record_id, values in possible.items():
        found = records[record_id]["document"] if record_id in records else None
        assert found in values, f"{record_id} holds {found!r}, it can only hold one of {values}"
    for record in records.values():
        assert record["embedding"] == embedding_of(record["document"]), f"{record['id']} is not whole"
        sparse = {**sparse_of(record["document"]), "tokens": None}
        assert record["metadata"] == {"sparse": sparse}, f"{record['id']} is not whole"


def assert_log_holds_each_write_once(clients: list[Client], seen: Counter[str]) -> None:
    written = {document: outcome for client in clients for document, outcome in client.written.items()}
    assert set(seen) <= set(written), "a write that nobody made"
    for document, outcome in written.items():
        allowed = {Outcome.APPLIED: (1,), Outcome.REFUSED: (0,), Outcome.UNKNOWN: (0, 1)}[outcome]
        assert seen[document] in allowed, f"{document!r} was {outcome.value} and is in the log {seen[document]} times"


def outcomes(clients: list[Client]) -> Counter[tuple[str, str]]:
    """How often each kind of write was answered how."""
    return sum((client.outcomes for client in clients), Counter())
