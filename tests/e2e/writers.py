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

    def write_once(self, step: int) -> None:
        kind = self.random.choices(("add", "upsert", "delete"), (5, 4, 1))[0] if self.possible else "add"
        record_id = f"client{self.number}-{step}" if kind == "add" else self.random.choice(list(self.possible))
        document = f"{kind} {self.number}.{step}"
        if kind == "delete":
            body: dict = {"ids": [record_id]}
            new: Value = None
        else:
            body = {"records": [{"id": record_id, "embedding": embedding_of(document), "document": document}]}
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


def embedding_of(document: str) -> list[int]:
    """A vector that only this document has, so that half a record would show."""
    return [ord(letter) for letter in document[-DIMENSION:].rjust(DIMENSION)]


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


def assert_log_holds_each_write_once(clients: list[Client], seen: Counter[str]) -> None:
    written = {document: outcome for client in clients for document, outcome in client.written.items()}
    assert set(seen) <= set(written), "a write that nobody made"
    for document, outcome in written.items():
        allowed = {Outcome.APPLIED: (1,), Outcome.REFUSED: (0,), Outcome.UNKNOWN: (0, 1)}[outcome]
        assert seen[document] in allowed, f"{document!r} was {outcome.value} and is in the log {seen[document]} times"


def outcomes(clients: list[Client]) -> Counter[tuple[str, str]]:
    """How often each kind of write was answered how."""
    return sum((client.outcomes for client in clients), Counter())
