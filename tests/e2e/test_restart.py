"""Kill -9 and start again: what was acknowledged is found, by id and by search."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

import pytest
from conftest import Place
from drumlin import Drumlin, Outcome
from sentences import questions, sentences


def assert_answers_the_questions(server: Drumlin) -> None:
    for question in questions():
        found = {hit["id"] for hit in server.nearest("sentences", question["embedding"])}
        assert set(question["expected"]) <= found, f"{question['question']}: {found}"


def test_every_record_is_found_after_kill_9(place: Place, start: Callable[..., Drumlin]) -> None:
    server = start(place.settings)
    server.create("sentences", metric="cosine")
    for first in range(0, 400, 80):
        server.add("sentences", sentences()[first : first + 80])
    server.upsert("sentences", [{**sentences()[0], "document": "The fog came back."}])
    server.delete("sentences", ["weather-02", "weather-03"])
    before = server.records("sentences")
    server.kill()

    server.start()
    after = server.records("sentences")
    assert after == before
    assert len(after) == 398
    assert after["weather-01"]["document"] == "The fog came back."
    assert after["art-20"]["metadata"] == sentences()[-1]["metadata"]
    assert after["art-20"]["embedding"] == pytest.approx(sentences()[-1]["embedding"], rel=1e-7)
    assert_answers_the_questions(server)


def test_the_log_tells_what_came_back(place: Place, start: Callable[..., Drumlin]) -> None:
    server = start({**place.settings, "DRUMLIN_LOG_FORMAT": "json"})
    server.create("sentences", metric="cosine")
    server.add("sentences", sentences()[:80])
    assert "the store is empty" in server.output()
    server.kill()

    server.start()
    lines = [json.loads(line) for line in server.output().splitlines() if line.startswith("{")]
    recovered = [line["fields"] for line in lines if line["fields"].get("message") == "recovered"]
    assert len(recovered) == 1, lines
    assert (recovered[0]["collections"], recovered[0]["records"]) == (1, 80)
    assert recovered[0]["bytes"] > 80 * 4 and recovered[0]["seconds"] > 0


def test_writes_acknowledged_just_before_kill_9_are_there(place: Place, start: Callable[..., Drumlin]) -> None:
    server = start(place.settings)
    server.create("numbers", metric="l2")
    acknowledged: list[int] = []

    def add_until_it_dies(first: int) -> None:
        for number in range(first, 1_000_000, 4):
            outcome, _ = server.write("numbers", "add", {"records": [{"id": str(number), "embedding": [number, 1]}]})
            if outcome is not Outcome.APPLIED:
                return
            acknowledged.append(number)

    for _ in range(3):
        first = max(acknowledged, default=0) + 1000
        writers = [threading.Thread(target=add_until_it_dies, args=(first + offset,)) for offset in range(4)]
        for writer in writers:
            writer.start()
        time.sleep(1.5)
        server.kill()
        for writer in writers:
            writer.join()
        server.start()
        records = server.records("numbers")
        missing = [number for number in acknowledged if str(number) not in records]
        assert not missing, f"acknowledged and lost: {missing}"
        assert all(record["embedding"] == [int(number), 1] for number, record in records.items())
    print(f"\n{len(acknowledged)} acknowledged adds over 3 kills, none lost")
    assert len(acknowledged) > 30


def test_a_graceful_stop_ends_with_code_0_and_loses_nothing(place: Place, start: Callable[..., Drumlin]) -> None:
    server = start(place.settings)
    server.create("sentences", metric="cosine")
    server.add("sentences", sentences())
    assert server.stop() == 0
    server.start()
    assert server.count("sentences") == 400
    assert_answers_the_questions(server)
