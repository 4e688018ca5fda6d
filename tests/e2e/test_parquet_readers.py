"""The bucket without Drumlin: DuckDB, Polars and pyarrow read its Parquet and find the records that the server has."""

from __future__ import annotations

from collections.abc import Callable

from commits import Stream, duckdb_fold, embedding_types, polars_fold, pyarrow_fold
from conftest import Place
from drumlin import Drumlin
from sentences import sentences

FLUSH_COMMITS = 16


def test_duckdb_polars_and_pyarrow_find_the_servers_records(place: Place, start: Callable[..., Drumlin]) -> None:
    server = start({**place.settings, "DRUMLIN_FLUSH_COMMITS": str(FLUSH_COMMITS)})
    collection = server.create("sentences", metric="cosine")
    for first in range(0, 400, 8):
        server.add("sentences", sentences()[first : first + 8])
    for row in sentences()[:40:4]:
        server.upsert("sentences", [{**row, "document": row["document"].upper()}])
    server.delete("sentences", [row["id"] for row in sentences()[100:130]])
    server.call("POST", "/api/s3/sync")
    server.upsert("sentences", [{**sentences()[399], "document": "after the flush"}])
    server.delete("sentences", [sentences()[398]["id"]])

    expected = {id: record["document"] for id, record in server.records("sentences").items()}
    assert len(expected) == server.count("sentences") == 369
    stream = Stream.of(place.objects(), collection["id"])
    assert stream.segments, "nothing was flushed: the test would not see segments"
    assert stream.commits, "no commit after the floor: the test would not see commits"
    assert pyarrow_fold(stream) == expected
    assert polars_fold(stream) == expected
    assert duckdb_fold(stream) == expected


def test_an_embedding_is_a_list_of_floats_to_every_reader(place: Place, start: Callable[..., Drumlin]) -> None:
    server = start(place.settings)
    collection = server.create("sentences", metric="cosine")
    server.add("sentences", sentences()[:3])
    types = embedding_types(Stream.of(place.objects(), collection["id"]))
    assert "FLOAT[" in types["duckdb"], types
    assert "32" in types["polars"] and types["polars"].startswith(("List", "Array")), types
    assert "list<" in types["pyarrow"] and "float" in types["pyarrow"], types
