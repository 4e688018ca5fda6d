"""Two servers on one bucket, killed at random with -9 while clients write to both: nothing acknowledged is lost or
doubled, what was refused is absent, what is unknown is there whole or not at all, and both servers agree.

DRUMLIN_E2E_KILLS sets the number of kills (20), DRUMLIN_E2E_SEED the seed of clients and kills."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from commits import Stream, pyarrow_fold
from conftest import Place
from drumlin import Drumlin
from writers import (
    CLIENTS,
    SEED,
    Client,
    appearances,
    assert_log_holds_each_write_once,
    assert_state_is_possible,
    assert_words_find_records,
    embedding_of,
    outcomes,
)

KILLS = int(os.environ.get("DRUMLIN_E2E_KILLS", "20"))


def kill_at_random(servers: list[Drumlin]) -> None:
    """Kills one server or the other, waits a little, starts it again; this thread owns the processes."""
    chance = random.Random(SEED)
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.3, 1.5))
        server = chance.choice(servers)
        server.kill()
        time.sleep(chance.uniform(0, 0.4))
        server.start()


def test_two_servers_killed_at_random_lose_and_double_nothing(place: Place, start: Callable[..., Drumlin]) -> None:
    settings = {**place.settings, "S3_SYNC_INTERVAL": "1", "DRUMLIN_FLUSH_COMMITS": "32", "DRUMLIN_INVERTED_ROWS": "8"}
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
    assert_words_find_records(servers[1], states[0])
    for server in servers:
        server.kill()
    assert servers[0].start().count("shared") == len(states[0]) + 1
    assert_words_find_records(servers[0], states[0])

    totals = outcomes(clients)
    counts = ", ".join(f"{kind} {outcome} {count}" for (kind, outcome), count in sorted(totals.items()))
    print(f"\nseed {SEED}: {KILLS} kills; {counts}; {len(states[0])} records at the end; none lost, none doubled")
    assert sum(count for (_, outcome), count in totals.items() if outcome == "applied") > 10 * KILLS
