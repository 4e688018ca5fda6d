"""The search tests themselves: the reference knows the answers worked out by hand, and a server that is wrong in any
one rule is found, with a case made small. No server is started here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import search_reference
import search_scores
from search_cases import Case, Generator
from search_differential import kind_of, run, still_fails
from search_reference import Ambiguous, Collection, Expected, search
from search_scores import Score, exact
from search_server import ReferenceServer, difference
from search_table import BODIES, CHANGES, RECORDS, SELECTS, SPACE, SPARSE, TABLE
from test_search import near, rows

Json = Any


def made(*writes: Json) -> Collection:
    collection = Collection(SPACE, dict(SPARSE))
    for operation in [{"add": RECORDS}, *writes]:
        collection.write(operation)
    return collection


def shown(collection: Collection, body: Json) -> Json:
    """Ids and scores of a search, as they are on the wire."""
    found = search(collection, {"select": {"keys": ["#score"]}} | body).columns
    return [found["ids"], [s if math.isfinite(s) else None for s in found["scores"]]]


@pytest.mark.parametrize(("what", "body", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_the_reference_answers_the_table(what: str, body: Json, expected: str) -> None:
    assert near(shown(made(), body), list(rows(expected))), what


@pytest.mark.parametrize(("what", "writes", "rank", "expected"), CHANGES, ids=[row[0] for row in CHANGES])
def test_the_reference_follows_writes(what: str, writes: list[Json], rank: Json, expected: str) -> None:
    assert near(shown(made(*writes), {"rank": rank}), list(rows(expected))), what


def test_the_reference_answers_the_clients_bodies_and_selects() -> None:
    server = ReferenceServer()
    handle = server.create(SPACE, SPARSE)
    server.write(handle, {"add": RECORDS})
    for case in BODIES:
        _, found = server.search(handle, case["body"])
        assert all(near(found[name], column) for name, column in case["answer"].items()), case["name"]
    for body, columns in SELECTS:
        _, found = server.search(handle, {"searches": [body]})
        assert all(near(column[0], columns.get(name)) for name, column in found.items()), body


class Wrong(ReferenceServer):
    """A server with one fault."""

    def __init__(self, fault: Callable[[Collection, Json], Expected]) -> None:
        super().__init__()
        self.fault = fault

    def evaluate(self, collection: Collection, body: Json) -> Expected:
        try:
            return self.fault(collection, body)
        except (Ambiguous, KeyError):
            return search(collection, body)


def patched(name: str, wrong: Any, module: Any = search_reference) -> Callable[[Collection, Json], Expected]:
    """A search in which one function is another."""

    def evaluate(collection: Collection, body: Json) -> Expected:
        right = getattr(module, name)
        setattr(module, name, wrong(right))
        try:
            return search(collection, body)
        finally:
            setattr(module, name, right)

    return evaluate


def without(*keys: str) -> Callable[[Collection, Json], Expected]:
    """A search that knows nothing of these members of its leaves."""

    def strip(value: Json) -> Json:
        if isinstance(value, dict):
            return {k: strip(v) for k, v in value.items() if k not in keys}
        return [strip(item) for item in value] if isinstance(value, list) else value

    return lambda collection, body: search(collection, body | {"rank": strip(body.get("rank"))})


def reversed_ties(ranked: Any) -> Any:
    return lambda rows: sorted(rows, key=lambda row: (row[1].key(), -row[0]))


FAULTS: dict[str, Callable[[Collection, Json], Expected]] = {
    "ties the other way": patched("by_score", reversed_ties),
    "no idf": patched("idf", lambda _: lambda records, key, index: 1.0),
    "idf of the records with the key": patched(
        "idf", lambda right: lambda records, key, i: right([r for r in records if key in r["metadata"]], key, i)
    ),
    "no defaults": without("default"),
    "no return_rank": without("return_rank"),
    "a limit of 16 for every leaf": without("limit"),
    "no groups": lambda collection, body: search(collection, {k: v for k, v in body.items() if k != "group_by"}),
    "no filter": lambda collection, body: search(collection, {k: v for k, v in body.items() if k != "filter"}),
    "no page": lambda collection, body: search(collection, {k: v for k, v in body.items() if k != "limit"}),
    "integers equal floats in groups": patched(
        "kind", lambda right: lambda value: 2 if right(value) == 1 else right(value)
    ),
    "distances without square": patched(
        "distance", lambda right: lambda space, a, b: exact(abs(right(space, a, b).value) ** 0.5)
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_is_wrong_in_one_rule_is_found_and_its_case_made_small(fault: str) -> None:
    report = run(lambda: Wrong(FAULTS[fault]), range(1, 200), jobs=1)
    assert report.failures, f"{fault} was not noticed in {report.cases} cases"
    case, found = report.failures[0]
    size = sum(len(rows) for operation in case.writes for rows in operation.values())
    assert still_fails(Wrong(FAULTS[fault]), case, kind_of(found))
    assert size <= 24, f"{size} rows are left of the case of {fault}: {case.text()}"


def test_a_server_that_is_right_passes_and_most_answers_have_rows() -> None:
    report = run(ReferenceServer, range(1, 40), jobs=1)
    assert (report.failures, report.cases) == ([], 39 * 20)
    empty = 0
    for seed in range(1, 40):
        generator = Generator(seed)
        collection = Collection(generator.space, dict(generator.sparse))
        for operation in generator.writes():
            collection.write(operation)
        empty += sum(not search(collection, body).rows for body in generator.searches(collection))
    assert empty < 39 * 20 / 2


def test_one_seed_is_one_case() -> None:
    def texts(seed: int) -> list[str]:
        generator = Generator(seed)
        collection = Collection(generator.space, dict(generator.sparse))
        writes = generator.writes()
        for operation in writes:
            collection.write(operation)
        bodies = generator.searches(collection, 5)
        return [Case(generator.space, generator.sparse, writes, body).text() for body in bodies]

    assert texts(7) == texts(7) != texts(8)


def test_scores_that_noise_could_swap_may_swap_and_others_may_not() -> None:
    collection = Collection(records=[{"id": i, "embedding": [0], "document": None, "metadata": {}} for i in "ab"])

    def compared(first: Score, second: Score) -> str | None:
        rows = search_reference.by_score([(0, first), (1, second)])
        expected = search_reference.columns_of(collection, rows, [])
        found: Json = dict.fromkeys(["documents", "embeddings", "metadatas", "scores"])
        return difference(collection, expected, found | {"ids": ["b", "a"], "select": []})

    noisy = [Score(1.0, 1e-6, "one"), Score(1.0000001, 1e-6, "two")]
    assert compared(*noisy) is None
    # -1.0 and -2.0 have one hash.
    likes = [search_reference.distance("cosine", [1.0, 0.0], [0.75, y]) for y in (-1.0, -2.0)]
    assert not likes[0].ties(likes[1]) and likes[0].ties(likes[0])
    assert "tie" in (compared(exact(1.0), exact(1.0)) or "")
    assert "tie" in (compared(noisy[0], noisy[0]) or "")
    assert "before" in (compared(exact(1.0), exact(2.0)) or "")
    assert "before" in (compared(exact(-0.0), exact(0.0)) or "")


def test_noise_grows_where_operators_enlarge_it() -> None:
    near_one = Score(1.0, 1e-6, "cosine")
    small = search_scores.sub(near_one, exact(1.0))
    assert (small.value, small.error) == (0, 1e-6)
    assert search_scores.div(exact(1.0), small).is_wild() and search_scores.logarithm(small).is_wild()
    assert search_scores.mul(exact(3.0), exact(0.1)).error == 0
    assert search_scores.add(exact(math.inf), near_one) == exact(math.inf)
    assert search_scores.exponential(Score(88.7, 1.0, "x")).is_wild()
