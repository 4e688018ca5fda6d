"""Chroma's `search` on the real server: the table of its rules, the bodies that Chroma's client prints, malformed
requests, and random collections against the reference. DRUMLIN_SEARCH_CASES sets how many random cases."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import folder_place
from drumlin import Drumlin
from search_differential import SEARCHES, kept, run
from search_malformed import SEARCHES as MALFORMED
from search_malformed import VALUES
from search_server import COLUMNS, HttpServer, fault_of
from search_table import BODIES, CHANGES, RECORDS, SELECTS, SPACE, SPARSE, TABLE

Json = Any
Server = tuple[Drumlin, HttpServer]

# Few commits make a segment and few records an index, so that small collections have them.
SMALL = {"DRUMLIN_FLUSH_COMMITS": "3", "DRUMLIN_GRAPH_ROWS": "16"}
CASES = int(os.environ.get("DRUMLIN_SEARCH_CASES", "1000"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("search")
    drumlin = Drumlin(folder / "server", folder_place(folder / "bucket").settings | SMALL)
    drumlin.start()
    yield drumlin, HttpServer(drumlin.url)
    drumlin.close()
    assert "panicked at" not in drumlin.output(), drumlin.output()[-3000:]


@pytest.fixture
def fresh(server: Server) -> Iterator[Callable[[list[Json]], str]]:
    """Makes the collection of the table, with further writes."""
    made: list[str] = []

    def make(writes: list[Json]) -> str:
        made.append(server[1].create(SPACE, SPARSE))
        for operation in [{"add": RECORDS}, *writes]:
            server[1].write(made[-1], operation)
        return made[-1]

    yield make
    for handle in made:
        server[1].drop(handle)


@pytest.fixture
def table(fresh: Callable[[list[Json]], str]) -> str:
    return fresh([])


def near(found: Json, expected: Json) -> bool:
    """Equal, and floats to six digits."""
    if isinstance(expected, float | int) and isinstance(found, float | int):
        return found == pytest.approx(expected, rel=1e-6, abs=1e-12)
    if isinstance(expected, list) and isinstance(found, list):
        return len(found) == len(expected) and all(map(near, found, expected))
    if isinstance(expected, dict) and isinstance(found, dict):
        return found.keys() == expected.keys() and all(near(found[key], expected[key]) for key in expected)
    return bool(found == expected)


def answer(server: Server, handle: str, body: Json) -> Json:
    status, found = server[1].search(handle, body)
    assert status == 200, (body, found)
    return found


def rows(text: str) -> tuple[list[str], list[float | None]]:
    """`b 1 a null` as ids and scores."""
    words = text.split()
    return words[::2], [None if word == "null" else float(word) for word in words[1::2]]


@pytest.mark.parametrize(("what", "search", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_a_search_is_answered_as_its_rule_says(
    server: Server, table: str, what: str, search: Json, expected: str
) -> None:
    found = answer(server, table, {"searches": [{"select": {"keys": ["#score"]}} | search]})
    assert near([found["ids"][0], found["scores"][0]], list(rows(expected))), (what, found)


@pytest.mark.parametrize(("search", "columns"), SELECTS)
def test_an_answer_has_the_selected_columns(server: Server, table: str, search: Json, columns: Json) -> None:
    found = answer(server, table, {"searches": [search]})
    expected = {name: [columns.get(name)] for name in [*COLUMNS, "select"]}
    assert near(found, expected), found


@pytest.mark.parametrize("case", BODIES, ids=[case["name"] for case in BODIES])
def test_the_bodies_of_chromas_client_are_answered(server: Server, table: str, case: Json) -> None:
    found = answer(server, table, case["body"])
    nulls = [None] * len(case["body"]["searches"])
    expected = {name: case["answer"].get(name, nulls) for name in [*COLUMNS, "select"]}
    assert near(found, expected), found


@pytest.mark.parametrize(("what", "writes", "rank", "expected"), CHANGES, ids=[row[0] for row in CHANGES])
def test_a_write_is_seen_by_the_next_search(
    server: Server, fresh: Callable[[list[Json]], str], what: str, writes: list[Json], rank: Json, expected: str
) -> None:
    search = {"rank": rank, "select": {"keys": ["#score"]}}
    found = answer(server, fresh(writes), {"searches": [search, search]})
    assert found["ids"][0] == found["ids"][1]
    assert near([found["ids"][0], found["scores"][0]], list(rows(expected))), (what, found)


def test_answers_are_the_same_after_a_kill_and_a_start(
    start: Callable[[dict[str, str]], Drumlin], tmp_path: Path
) -> None:
    settings = folder_place(tmp_path / "bucket").settings | SMALL
    body = {"searches": [{"select": {"keys": ["#score", "#metadata"]}} | search for _, search, _ in TABLE]}
    first = start(settings)
    client = HttpServer(first.url)
    handle = client.create(SPACE, SPARSE)
    for record in RECORDS:
        client.write(handle, {"add": [record]})
    status, before = client.search(handle, body)
    assert status == 200, before
    first.kill()
    second = start(settings)
    assert HttpServer(second.url).search(handle, body) == (200, before)


def send(server: Server, path: str, text: str) -> tuple[int, str]:
    headers = {"content-type": "application/json"}
    refused = server[1].client.post(path, content=text.encode(), headers=headers)
    return refused.status_code, refused.text


@pytest.mark.parametrize(("text", "status", "words"), MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_search_is_refused_in_words(server: Server, table: str, text: str, status: int, words: str) -> None:
    found = send(server, f"/collections/{table.split()[0]}/search", text)
    message = json.loads(found[1])["message"]
    assert found[0] == status and message and words in message, (text[:300], found)


@pytest.mark.parametrize(("text", "status", "words"), VALUES, ids=range(len(VALUES)))
def test_a_malformed_sparse_vector_is_refused_and_nothing_is_written(
    server: Server, table: str, text: str, status: int, words: str
) -> None:
    found = send(server, f"/collections/{table.split()[0]}/add", text)
    assert found[0] == status and words in json.loads(found[1])["message"], (text[:300], found)
    assert len(answer(server, table, {"searches": [{}]})["ids"][0]) == len(RECORDS)


def test_a_search_of_no_collection_is_refused_after_its_shape(server: Server) -> None:
    absent = "/collections/00000000-0000-4000-8000-000000000000/search"
    assert send(server, absent, '{"searches":[{"limit":5}]}')[0] == 422
    assert send(server, "/collections/no-uuid/search", '{"searches":[{"limit":5}]}')[0] == 422
    assert send(server, "/collections/no-uuid/search", '{"searches":[]}')[0] == 400
    content = '{"searches":[{"group_by":{"keys":["cat"]}}]}'
    assert send(server, absent, content)[0] == 404


def test_cases_that_once_failed_are_answered_rightly(server: Server) -> None:
    wrong = [(fault, case.text()) for case in kept() if (fault := fault_of(server[1], case))]
    assert not wrong, wrong


def test_random_searches_of_random_collections_are_answered_as_the_reference_does(server: Server) -> None:
    seed = int(os.environ.get("DRUMLIN_SEARCH_SEED", random.randrange(1_000_000)))
    print(f"seed {seed}")
    report = run(lambda: HttpServer(server[0].url), range(seed, seed + -(-CASES // SEARCHES)))
    assert not report.failures, f"seed {seed}\n" + "\n\n".join(f"{why}\n{case.text()}" for case, why in report.failures)
    assert report.cases >= CASES
