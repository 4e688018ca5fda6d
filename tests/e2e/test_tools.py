"""The tools for the bad day, as a person types them: every command on a real bucket, exit codes included."""

from __future__ import annotations

import json
import os
import subprocess
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import Place, folder_place
from drumlin import Drumlin, binary
from sentences import sentences


def tool(place: Place, *arguments: str, expect: int = 0, **settings: str) -> str:
    """What a command prints; its exit code has to be the expected one."""
    environment = {"PATH": os.environ["PATH"], **place.settings, **settings}
    done = subprocess.run([binary(), *arguments], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == expect, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "panicked" not in done.stderr, done.stderr
    return done.stdout


def objects(place: Place) -> dict[str, bytes]:
    """What is in the bucket; of a folder, without the hidden directory, which holds no objects."""
    return {key: body for key, body in place.objects().items() if not key.startswith(".drumlin/")}


def filled(start: Callable[..., Drumlin], place: Place) -> dict[str, dict[str, Any]]:
    """A collection with segments and a tail; its records."""
    server = start({**place.settings, "DRUMLIN_FLUSH_COMMITS": "8"})
    server.create("notes", metric="l2")
    for first in range(0, 120, 4):
        server.add("notes", sentences()[first : first + 4])
    server.call("POST", "/api/s3/sync")
    server.upsert("notes", [{**sentences()[3], "document": "changed"}])
    server.delete("notes", [sentences()[5]["id"]])
    records = server.records("notes")
    server.close()
    return records


def served(start: Callable[..., Drumlin], place: Place, name: str) -> dict[str, dict[str, Any]]:
    server = start(place.settings)
    records = server.records(name)
    server.close()
    return records


def test_verify_calls_a_sound_bucket_sound_and_names_damage(start: Callable[..., Drumlin], tmp_path: Path) -> None:
    place = folder_place(tmp_path / "bucket")
    filled(start, place)
    before = objects(place)
    assert "sound" in tool(place, "verify")
    report = json.loads(tool(place, "verify", "--json", "--collection", "notes"))
    assert report["sound"] and report["streams"][1]["records"] == 119
    assert objects(place) == before, "verify wrote something"
    # One that HEAD names: a flush that came second leaves a segment that nobody misses.
    view = json.loads(tool(place, "inspect", "--json", "--collection", "notes"))
    key = view["streams"][-1]["segments"][0]["key"]
    (tmp_path / "bucket" / key).write_bytes(before[key][:-9] + b"x" + before[key][-8:])
    told = tool(place, "verify", expect=1)
    assert f"DAMAGED: {key}" in told and "checksum" in told, told
    tool(folder_place(tmp_path / "nowhere"), "verify", expect=2)
    assert not (tmp_path / "nowhere").exists()


def test_inspect_tells_what_there_is(start: Callable[..., Drumlin], place: Place) -> None:
    filled(start, place)
    view = json.loads(tool(place, "inspect", "--json"))
    notes = view["streams"][1]
    assert notes["name"] == "default_tenant/default_database/notes" and notes["state"] == "live"
    assert notes["segments"] and notes["version"] == 32 and notes["reach"]["newest"] == 32
    assert "can be restored: versions" in tool(place, "inspect", "--collection", "notes")


def test_view_prints_sql_with_which_duckdb_reads_the_servers_records(
    start: Callable[..., Drumlin], place: Place, tmp_path: Path
) -> None:
    records = filled(start, place)
    sql = tool(place, "view", "--collection", "notes", "--duckdb", "--as", "said")
    for key, body in place.objects().items():
        (tmp_path / "copy" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / key).write_bytes(body)
    if "S3_PREFIX" in place.settings:
        assert "ENDPOINT '" in sql and "USE_SSL false" in sql and place.settings["AWS_SECRET_ACCESS_KEY"] not in sql
        # DuckDB's extension for S3 is not in its package: the objects are read from a copy.
        root = f"'s3://{place.settings['S3_BUCKET_NAME']}/{place.settings['S3_PREFIX']}"
    else:
        root = f"'{place.settings['DRUMLIN_DATA']}/"
    assert root in sql
    with duckdb.connect() as connection:
        connection.execute(sql.replace(root, f"'{tmp_path}/copy/"))
        rows = connection.execute("SELECT id, document, embedding FROM said").fetchall()
    assert len(rows) == len(records) == 119
    # JSON has the shortest digits of a float32, which Python reads as a float64.
    assert {id: (document, array("f", vector)) for id, document, vector in rows} == {
        id: (record["document"], array("f", record["embedding"])) for id, record in records.items()
    }
    assert "at version 30," in tool(place, "view", "--collection", "notes", "--duckdb", "--at", "30")
    tool(place, "view", "--collection", "notes", "--duckdb", "--at", "33", expect=1)
    tool(place, "view", "--collection", "other", "--duckdb", expect=1)
    tool(place, "view", "--collection", "notes", expect=2)


def test_restore_and_fork_make_collections_of_what_was_and_is(start: Callable[..., Drumlin], place: Place) -> None:
    records = filled(start, place)
    tool(place, "restore", "--collection", "notes", "--at", "30", "--as", "before")
    before = served(start, place, "before")
    assert {id: record["document"] for id, record in before.items()} == {
        row["id"]: row["document"] for row in sentences()[:120]
    }
    tool(place, "restore", "--collection", "notes", "--at", "2199-01-01T00:00:00Z", "--as", "by-time")
    tool(place, "fork", "--collection", "notes", "--as", "twin")
    assert served(start, place, "by-time") == served(start, place, "twin") == records
    tool(place, "restore", "--collection", "notes", "--at", "33", "--as", "never", expect=1)


def test_what_is_exported_is_imported_equal_and_a_copy_is_too(
    start: Callable[..., Drumlin], place: Place, tmp_path: Path
) -> None:
    records = filled(start, place)
    elsewhere = folder_place(tmp_path / "elsewhere")
    for ending in ("parquet", "jsonl"):
        file = str(tmp_path / f"notes.{ending}")
        tool(place, "export", "--collection", "notes", "--to", file)
        for _ in range(2):  # The second run finds nothing left to do.
            tool(elsewhere, "import", ending, file, "--collection", ending, "--metric", "l2")
        found = served(start, elsewhere, ending)
        assert found == records and list(found) == list(records), ending
    tool(place, "copy", "--to-data", str(tmp_path / "copied"))
    copied = folder_place(tmp_path / "copied")
    found = served(start, copied, "notes")
    assert found == records and list(found) == list(records)
    assert "sound" in tool(copied, "verify")
    # And back, to a bucket of the first kind that is named by variables.
    back = dict(place.settings)
    back |= {"S3_PREFIX": f"{tmp_path.name}-back/"} if "S3_PREFIX" in back else {"DRUMLIN_DATA": str(tmp_path / "back")}
    for _ in range(2):
        tool(copied, "copy", "--collection", "notes", **{f"TO_{name}": value for name, value in back.items()})
    found = served(start, Place(back, dict), "notes")
    assert found == records and list(found) == list(records)


def test_an_import_that_fails_on_its_file_leaves_no_collection_and_the_corrected_file_goes_in(tmp_path: Path) -> None:
    place = folder_place(tmp_path / "store")
    file = tmp_path / "theirs.jsonl"
    to = ["--collection", "theirs"]
    assert "/nope" in refused(place, "import", "parquet", "/nope", *to)
    file.write_text('{"id": "a", "embedding": [1, 2]}\n{"id": "b", "embedding": [1]}\n')
    assert 'record "b", embedding: expected 2 numbers, got 1' in refused(place, "import", "jsonl", str(file), *to)
    assert "no collections" in tool(place, "list")
    assert 'there is no collection "theirs" here' in refused(place, "list", *to)
    file.write_text('{"id": 1, "vector": [1, 2], "text": "one", "year": 2024}\n{"id": 1, "vector": [3, 4]}\n')
    tool(place, "import", "jsonl", str(file), *to)
    other = tmp_path / "other.jsonl"
    other.write_text('{"id": "a", "embedding": [1, 2]}\n')
    told = refused(place, "import", "jsonl", str(other), *to)
    assert "was made of theirs.jsonl" in told and "{" not in told, told


def test_a_store_is_looked_at_without_a_server(tmp_path: Path) -> None:
    place = folder_place(tmp_path / "store")
    file = tmp_path / "x.jsonl"
    lines = [{"id": name, "embedding": [at, 0], "document": f"text of {name}"} for at, name in enumerate("abc")]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    tool(place, "import", "jsonl", str(file), "--collection", "x", "--metric", "l2")
    assert tool(place, "list") == "x: 3 records of 2 dimensions, l2\n"
    assert [json.loads(line) for line in tool(place, "peek", "--collection", "x", "--json").splitlines()] == [
        {**line, "embedding": [float(number) for number in line["embedding"]]} for line in lines
    ]
    near = tool(place, "search", "--collection", "x", "--like", "a", "--k", "1", "--json")
    assert (json.loads(near)["id"], json.loads(near)["distance"]) == ("b", 1.0)
    assert json.loads(tool(place, "search", "--collection", "x", "--embedding", "[2, 0]", "--k", "1", "--json"))["id"] == "c"
    assert "--yes" in refused(place, "drop", "--collection", "x")
    tool(place, "drop", "--collection", "x", "--yes")
    assert "no collections" in tool(place, "list")


def refused(place: Place, *arguments: str) -> str:
    """What a command that fails says."""
    environment = {"PATH": os.environ["PATH"], **place.settings}
    done = subprocess.run([binary(), *arguments], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "panicked" not in done.stderr, done.stderr
    return done.stderr


def test_gc_says_what_would_go_and_then_deletes_it(start: Callable[..., Drumlin], tmp_path: Path) -> None:
    place = folder_place(tmp_path / "bucket")
    records = filled(start, place)
    short = {"DRUMLIN_T_KEEP_S": "0.001", "DRUMLIN_T_LEASE_S": "0.00001"}
    tool(place, "gc", **short)  # Notes the floor; what is below it goes at the next.
    before = objects(place)
    doomed = json.loads(tool(place, "gc", "--dry-run", "--json", **short))
    assert objects(place) == before
    tool(place, "gc", **short)
    gone = before.keys() - objects(place).keys()
    assert gone == {entry["key"] for entry in doomed}
    assert served(start, place, "notes") == records


def test_cost_is_reckoned_from_what_is_stored_and_what_the_server_asked(
    start: Callable[..., Drumlin], tmp_path: Path
) -> None:
    place = folder_place(tmp_path / "bucket")
    key = "a-key-of-more-than-16-bytes"
    server = start({**place.settings, "STORAGE_API_KEY": key})
    server.client.headers["X-API-Key"] = key
    server.create("notes", metric="l2")
    for first in range(0, 40, 4):
        server.add("notes", sentences()[first : first + 4])
    told = tool(place, "cost", "--url", server.url, "--json", STORAGE_API_KEY=key)
    report = json.loads(told)
    counted, month = report["counted"], report["month"]
    assert counted["writes"] >= 11 and counted["seconds"] < 60 and counted["sent_bytes"] > 40 * 384 * 4
    # Less than an hour says nothing about a month: only the storage is reckoned.
    assert (month["writes"], month["reads"]) == (0, 0) and month["stored_bytes"] == report["stored"]["bytes"] > 0
    amazon = next(bill for bill in report["dollars_a_month"] if bill["provider"].startswith("Amazon"))
    assert amazon["total"] == pytest.approx(amazon["storage"]) and amazon["storage"] > 0
    tool(place, "cost", "--url", server.url, expect=1, STORAGE_API_KEY="another-key-of-16-bytes")
    server.close()
    stored = json.loads(tool(place, "cost", "--storage-only", "--json"))["stored"]
    sizes = [len(body) for body in objects(place).values()]
    assert stored == {"objects": len(sizes), "bytes": sum(sizes)}
    assert "Cloudflare R2" in tool(place, "cost", "--storage-only")
