"""Views for DuckDB: what it reads out of the bucket is what the collection has, at every moment of its life."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import drumlin

duckdb = pytest.importorskip("duckdb")

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FIELDS = ("documents", "uris", "metadatas", "embeddings")
Row = tuple[str | None, str | None, dict[str, Any] | None, list[float]]


@pytest.fixture
def db(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[drumlin.Database]:
    """A store in a folder that flushes after four commits and merges two segments."""
    monkeypatch.setenv("DRUMLIN_DATA", str(folder))
    small = {"FLUSH_COMMITS": "4", "FLUSH_COMMITS_OTHER": "4", "FAN_OUT": "2", "SWAP_INTERVAL_S": "0.01"}
    for name, value in small.items():
        monkeypatch.setenv(f"DRUMLIN_{name}", value)
    with drumlin.connect(sync_interval=0.2) as opened:
        yield opened


def of_duckdb(view: str, name: str) -> dict[str, Row]:
    """The rows of a view by id, read by a DuckDB that has seen nothing before."""
    with duckdb.connect() as connection:
        connection.execute(view)
        quoted = '"' + name.replace('"', '""') + '"'
        rows = connection.execute(f"SELECT id, document, uri, metadata, embedding FROM {quoted}").fetchall()
        assert connection.execute(f"SELECT count(*) FROM {quoted}").fetchall() == [(len(rows),)]
    found = {}
    for id, document, uri, metadata, embedding in rows:
        found[id] = document, uri, metadata and json.loads(metadata), list(embedding)
    assert len(found) == len(rows), "an id came twice"
    return found


def of_drumlin(records: drumlin.Records) -> dict[str, Row]:
    return {row["id"]: (row["document"], row["uri"], row["metadata"], row["embedding"].tolist()) for row in records}


def head(folder: Path, collection: drumlin.Collection) -> dict[str, Any]:
    described: dict[str, Any] = json.loads((folder / "c" / collection.id / "HEAD").read_text())
    return described


def write(notes: drumlin.Collection, chance: random.Random, step: int) -> None:
    """One write of any kind, of up to six ids out of 40: so ids are replaced, deleted and added again."""
    ids = chance.sample([f"r{number}" for number in range(40)], chance.randint(1, 6))
    values: dict[str, Any] = {
        "embeddings": [[chance.random(), float(step), -0.5] for _ in ids],
        "documents": [chance.choice([None, "", f"it's step {step}"]) for _ in ids],
        "uris": [chance.choice([None, f"file:///{step}"]) for _ in ids],
        "metadatas": [chance.choice([None, {}, {"step": step, "tags": ["a", 'q"']}, {"half": step / 2}]) for _ in ids],
    }
    kind = chance.choice(["add", "add", "upsert", "update", "part", "delete"])
    if kind == "delete":
        notes.delete(ids)
    elif kind == "part":
        field = chance.choice(["embeddings", "documents", "metadatas"])
        notes.update(ids, **{field: values[field]})
    else:
        getattr(notes, kind)(ids=ids, **values)


def test_a_view_has_the_records_of_the_collection_at_every_moment(db, folder):
    notes = db.collection("notes", create=True, metric="l2")
    assert of_duckdb(notes.sql_view(), "notes") == {}
    chance = random.Random(11)
    seen, kinds = {}, set()
    for step in range(120):
        write(notes, chance, step)
        view = notes.sql_view()
        kinds.add(tuple(part for part in ("/log/", "/seg/") if part in view))
        if step % 3 == 0:
            records = notes.get(include=FIELDS)
            assert f"at version {records.version}," in view
            seen[records.version] = of_drumlin(records)
            assert of_duckdb(view, "notes") == seen[records.version], f"step {step}"
    assert kinds >= {("/log/",), ("/log/", "/seg/")}, kinds

    deadline = time.monotonic() + 60
    while not any(segment["level"] for segment in head(folder, notes)["segs"]):
        assert time.monotonic() < deadline, "no segments were merged: the test would not see them"
        notes.upsert(ids=["merge"], embeddings=[[1, 2, 3]])
        db.sync()
    records = notes.get(include=FIELDS)
    assert of_duckdb(notes.sql_view(), "notes") == of_drumlin(records) and len(records) > 5
    for version, rows in seen.items():
        assert of_duckdb(notes.sql_view("was", version=version), "was") == rows, version

    notes.delete([row["id"] for row in records])
    assert of_duckdb(notes.sql_view(), "notes") == {} and notes.count() == 0
    db.sync()
    assert of_duckdb(notes.sql_view(), "notes") == {}
    notes.add(ids=["again"], embeddings=[[1, 2, 3]])
    assert list(of_duckdb(notes.sql_view(), "notes")) == ["again"]


def test_a_view_shows_what_another_process_has_written_before_this_one_has_seen_it(db, folder):
    notes = db.collection("notes", create=True)
    notes.add(ids=["mine", "both"], embeddings=[[1, 0], [0, 1]])
    other = """if True:
        import drumlin, sys
        notes = drumlin.connect(sys.argv[1], maintenance=False).collection("notes")
        notes.upsert(ids=["both", "theirs"], embeddings=[[1, 1], [2, 1]], documents=["from there", None])
        notes.delete("mine")
    """
    subprocess.run([sys.executable, "-c", other, str(folder)], check=True, timeout=60)
    rows = of_duckdb(notes.sql_view(), "notes")
    assert rows == of_drumlin(notes.get(include=FIELDS, strong=True))
    assert sorted(rows) == ["both", "theirs"] and rows["both"][0] == "from there"


def test_a_view_has_arrays_of_the_dimension_and_json(db):
    notes = db.collection("notes", create=True)
    notes.add(ids=["a", "b"], embeddings=[[3, 4], [4, 3]], metadatas=[{"year": 2024}, {"year": 2025}])
    with duckdb.connect() as connection:
        connection.execute(notes.sql_view())
        described = connection.execute("DESCRIBE notes").fetchall()
        assert [(name, kind) for name, kind, *_ in described] == [
            ("id", "VARCHAR"),
            ("document", "VARCHAR"),
            ("uri", "VARCHAR"),
            ("metadata", "JSON"),
            ("embedding", "FLOAT[2]"),
        ]
        far = "array_distance(embedding, [3, 4]::FLOAT[2])"
        query = f"SELECT id, {far} FROM notes WHERE (metadata->>'year')::INT > 2024"
        assert connection.execute(query).fetchall() == [("b", pytest.approx(2**0.5))]
        polars = pytest.importorskip("polars")
        frame = connection.sql("SELECT id, embedding FROM notes ORDER BY id").pl()
        assert isinstance(frame, polars.DataFrame) and frame["embedding"].to_list() == [[3, 4], [4, 3]]


def test_hostile_names_of_collections_views_and_folders_are_only_names(tmp_path):
    odd = tmp_path / "it's [odd]*? id=5" / "op=put"
    odd.parent.mkdir()
    with drumlin.connect(odd) as db:
        hostile = "a\"; DROP VIEW \"b'; --"
        notes = db.collection(hostile, create=True)
        notes.add(ids=["x'; --"], embeddings=[[1, 0]], documents=["whole"])
        db.sync()
        notes.add(ids=["y"], embeddings=[[0, 1]])
        for view, name in [(notes.sql_view(), hostile), (notes.sql_view("sel'ect \" from"), "sel'ect \" from")]:
            assert of_duckdb(view, name) == of_drumlin(notes.get(include=FIELDS))
        assert of_duckdb(notes.fork("copy").sql_view(), "copy") == of_drumlin(notes.get(include=FIELDS))
        with pytest.raises(drumlin.InvalidArgument):
            notes.sql_view("two\nlines")


def test_a_version_that_is_not_there_and_a_bucket_that_duckdb_cannot_open_are_refused(db):
    notes = db.collection("notes", create=True)
    with pytest.raises(drumlin.NotFound, match="the newest is 0"):
        notes.sql_view(version=5)
    with drumlin.connect("memory://") as memory, pytest.raises(drumlin.InvalidArgument, match="memory"):
        memory.collection("notes", create=True).sql_view()


def test_the_example_joins_a_view_with_a_table(tmp_path):
    command = [sys.executable, str(EXAMPLES / "duckdb_view.py"), str(tmp_path / "bucket")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines == ["Ada   2 notes, 2024 to 2025", "Bela  1 note, 2025", "nearest to [1, 0]: fog, river"]
