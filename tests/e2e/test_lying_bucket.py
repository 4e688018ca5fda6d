"""Three servers on one bucket behind a proxy that answers 3 % of their requests wrongly: nothing acknowledged is lost
or doubled, hardly a write fails, and all is well soon after the proxy has become honest.

DRUMLIN_E2E_LIES_S sets how long it lies, in seconds (60), DRUMLIN_E2E_SEED the seed of clients and lies."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from commits import Stream, pyarrow_fold
from conftest import s3_place
from drumlin import Drumlin
from lying_proxy import LyingProxy
from s3_servers import S3Server
from writers import (
    CLIENTS,
    SEED,
    Client,
    appearances,
    assert_log_holds_each_write_once,
    assert_state_is_possible,
    outcomes,
)

LIES_S = float(os.environ.get("DRUMLIN_E2E_LIES_S", "60"))
SHARE = 0.03
HEALED_WITHIN_S = 15
SETTINGS = {"S3_SYNC_INTERVAL": "1", "DRUMLIN_FLUSH_COMMITS": "32", "DRUMLIN_MAINTENANCE_INTERVAL_S": "1"}


def trouble(server: Drumlin) -> str | None:
    """What is wrong with a server, if anything."""
    health = server.call("GET", "/health")
    if health["status"] != "ok" or health.get("damaged"):
        return str(health)
    answer = server.client.post("/api/s3/sync")
    return None if answer.is_success else answer.text


def wait_until_healthy(servers: list[Drumlin]) -> float:
    """Seconds until nothing is wrong with any server."""
    began = time.monotonic()
    while wrong := [why for server in servers if (why := trouble(server))]:
        assert time.monotonic() - began < HEALED_WITHIN_S, wrong
        time.sleep(0.5)
    return time.monotonic() - began


def test_a_bucket_that_answers_wrongly_now_and_then_loses_nothing_and_leaves_nothing_damaged(
    seaweed: S3Server, tmp_path: Path, start: Callable[..., Drumlin]
) -> None:
    place = s3_place(seaweed, f"{tmp_path.name}/")
    with LyingProxy(seaweed.port, 0, SEED) as proxy:
        settings = {**place.settings, **SETTINGS, "AWS_ENDPOINT_URL": proxy.endpoint}
        servers = [start(settings) for _ in range(3)]
        collection = servers[0].create("shared", metric="l2")
        stopped = threading.Event()
        clients = [Client(number, servers, stopped) for number in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            proxy.share = SHARE
            running = [pool.submit(client.run) for client in clients]
            try:
                time.sleep(LIES_S)
            finally:
                stopped.set()
            for client in running:
                client.result(timeout=120)
        proxy.share = 0
        healed_s = wait_until_healthy(servers)

        states = [server.records("shared") for server in servers]
        assert states[0] == states[1] == states[2], "the servers disagree"
        stream = Stream.of(place.objects(), collection["id"])
        assert stream.segments, "nothing was flushed: the lies met no background work"
        assert pyarrow_fold(stream) == {record_id: record["document"] for record_id, record in states[0].items()}
        assert_state_is_possible(clients, states[0])
        assert_log_holds_each_write_once(clients, appearances(stream))
        for server in servers:
            server.kill()
        assert servers[0].start().count("shared") == len(states[0])

        totals = outcomes(clients)
        written = sum(totals.values())
        applied = sum(count for (_, outcome), count in totals.items() if outcome == "applied")
        lies = sum(count for told, count in proxy.told.items() if not told.endswith("true"))
        print(f"\nseed {SEED}: {applied} of {written} writes applied, {dict(totals)}; {lies} wrong answers")
        print(f"healthy {healed_s:.1f} s after the last wrong answer; {dict(proxy.told)}")
        assert lies > LIES_S and applied > LIES_S
        assert applied >= 0.95 * written, totals
