"""Two servers on one bucket, killed at random with -9 while clients write to both: nothing acknowledged is lost or
doubled, what was refused is absent, what is unknown is there whole or not at all, and both servers agree.

DRUMLIN_E2E_KILLS sets the number of kills (20), DRUMLIN_E2E_SEED the seed of clients and kills."""

from __future__ import annotations

import io
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow.parquet as pq
from commits import Stream, pyarrow_fold
from conftest import Place
from drumlin import Drumlin, Outcome

KILLS = int(os.environ.get("DRUMLIN_E2E_KILLS", "20"))
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


def kill_at_random(servers: list[Drumlin]) -> None:
    """Kills one server or the other, waits a little, starts it again; this thread owns the processes."""
    chance = random.Random(SEED)
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.3, 1.5))
        server = chance.choice(servers)
        server.kill()
        time.sleep(chance.uniform(0, 0.4))
        server.start()


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


def test_two_servers_killed_at_random_lose_and_double_nothing(place: Place, start: Callable[..., Drumlin]) -> None:
    settings = {**place.settings, "S3_SYNC_INTERVAL": "1", "DRUMLIN_FLUSH_COMMITS": "32"}
    servers = [start(settings), start(settings)]
    collection = servers[0].create("shared", metric="l2")
    servers[0].add("shared", [{"id": "first", "embedding": embedding_of("first"), "document": "first"}])
    stopped = threading.Event()
    clients = [Client(number, servers, stopped) for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(client.run) for client in clients]
        try:
            kill_at_random(servers)
        finally:
            stopped.set()
        for client in running:
            client.result(timeout=120)

    states = [server.records("shared") for server in servers]
    assert states[0] == states[1], "the servers disagree"
    stream = Stream.of(place.objects(), collection["id"])
    assert stream.segments, "nothing was flushed: the kills met no background work"
    assert pyarrow_fold(stream) == {record_id: record["document"] for record_id, record in states[0].items()}
    assert states[0].pop("first")["document"] == "first"
    assert_state_is_possible(clients, states[0])
    seen = appearances(stream)
    assert seen.pop("first") == 1
    assert_log_holds_each_write_once(clients, seen)
    for server in servers:
        server.kill()
    assert servers[0].start().count("shared") == len(states[0]) + 1

    totals = sum((client.outcomes for client in clients), Counter())
    counts = ", ".join(f"{kind} {outcome} {count}" for (kind, outcome), count in sorted(totals.items()))
    print(f"\nseed {SEED}: {KILLS} kills; {counts}; {len(states[0])} records at the end; none lost, none doubled")
    assert sum(count for (_, outcome), count in totals.items() if outcome == "applied") > 10 * KILLS
