"""`drumlin import chroma` moves what Chroma's own server holds: every collection with its configuration and records."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromadb
import pytest
from chroma_server import ChromaServer
from conftest import TARGET
from drumlin import Drumlin, binary
from hashed_words import HashedWords, embed

pytestmark = pytest.mark.skipif(TARGET == "chroma", reason="Drumlin's own command")
NOTES = 1_500
EVERYTHING = ["embeddings", "documents", "metadatas", "uris"]


@pytest.fixture
def chroma(tmp_path: Path) -> Iterator[ChromaServer]:
    server = ChromaServer(tmp_path / "chroma").start()
    yield server
    server.close()


def client(server: Any, database: str = "default_database") -> Any:
    return chromadb.HttpClient(host="127.0.0.1", port=server.port, database=database)


def note(n: int) -> dict[str, Any]:
    """One record; what it lacks depends on its number."""
    text = f"note {n} about topic {n % 7}"
    fields = {"n": n, "share": n / 3, "whole": float(n % 5), "even": n % 2 == 0, "topic": f"t{n % 7}"}
    return {
        "ids": f"note-{n}",
        "embeddings": embed(text),
        "documents": None if n % 11 == 0 else text,
        "metadatas": None if n % 13 == 0 else {**fields, "tags": ["a", f"b{n % 3}"]},
        "uris": f"file:///{n}" if n % 17 == 0 else None,
    }


def add_notes(collection: Any, numbers: range) -> None:
    notes = [note(n) for n in numbers]
    for begin in range(0, len(notes), 500):
        part = notes[begin : begin + 500]
        collection.add(**{column: [each[column] for each in part] for column in note(0)})


def fill(server: ChromaServer) -> None:
    here = client(server)
    notes = here.create_collection(
        "notes",
        metadata={"owner": "me", "year": 2026, "share": 1.0},
        configuration={"hnsw": {"space": "cosine", "ef_search": 70, "max_neighbors": 12}},
        embedding_function=HashedWords("imported"),
    )
    add_notes(notes, range(NOTES))
    here.create_collection("empty", embedding_function=None)
    chromadb.AdminClient(admin_settings(server)).create_database("archive")
    old = client(server, "archive").create_collection("old", metadata={"hnsw:space": "ip"}, embedding_function=None)
    old.add(ids=["a", "b"], embeddings=[[1, 2, 3], [0, 1, 0]])


def admin_settings(server: ChromaServer) -> chromadb.Settings:
    return chromadb.Settings(
        chroma_api_impl="chromadb.api.fastapi.FastAPI",
        chroma_server_host="127.0.0.1",
        chroma_server_http_port=server.port,
    )


def command(server: ChromaServer, folder: Path, *more: str) -> tuple[list[str], dict[str, str]]:
    url = f"http://127.0.0.1:{server.port}"
    environment = {"PATH": os.environ["PATH"], "DRUMLIN_DATA": str(folder)}
    return [str(binary()), "import", "chroma", "--url", url, "--page", "100", *more], environment


def run(server: ChromaServer, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    arguments, environment = command(server, folder, *more)
    return subprocess.run(arguments, env=environment, cwd=folder.parent, capture_output=True, text=True, timeout=120)


def everything(collection: Any) -> dict[str, Any]:
    got = collection.get(include=EVERYTHING)
    return {**got, "embeddings": got["embeddings"].tolist()}


def same(here: Any, there: Any) -> None:
    assert here.metadata == there.metadata
    assert here.configuration_json == there.configuration_json
    assert everything(here) == everything(there)


def test_every_collection_comes_with_its_configuration_and_records(chroma: ChromaServer, tmp_path: Path) -> None:
    fill(chroma)
    done = run(chroma, tmp_path / "bucket")
    assert done.returncode == 0, done.stderr
    assert f"default_database/notes: {NOTES} records, 200 of them compared: the same" in done.stderr
    assert "3 collections are imported" in done.stderr
    with_data = Drumlin(tmp_path / "server", {"DRUMLIN_DATA": str(tmp_path / "bucket")})
    with_data.start()
    try:
        for database, names in {"default_database": ["empty", "notes"], "archive": ["old"]}.items():
            ours, theirs = client(with_data, database), client(chroma, database)
            assert sorted(c.name for c in ours.list_collections()) == names
            for name in names:
                same(ours.get_collection(name), theirs.get_collection(name))
        # The embedding function is made anew from what the collection remembers.
        asked = {"query_texts": ["note 14 about topic 0"], "n_results": 3, "where": {"topic": "t0"}}
        found, expected = (client(server).get_collection("notes").query(**asked) for server in (with_data, chroma))
        assert found["distances"][0] == pytest.approx(expected["distances"][0], abs=1e-5)
        assert found["distances"][0][0] == pytest.approx(0, abs=1e-5)
    finally:
        with_data.close()


def test_a_run_that_is_killed_is_gone_on_with_by_the_next(chroma: ChromaServer, tmp_path: Path) -> None:
    fill(chroma)
    bucket = tmp_path / "bucket"
    for seconds in (0.3, 0.5, 0.8):
        arguments, environment = command(chroma, bucket)
        begun = subprocess.Popen(arguments, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        begun.kill()
        begun.wait()
    done = run(chroma, bucket)
    assert done.returncode == 0, done.stderr
    # What was added there since comes with another run, and nothing twice.
    add_notes(client(chroma).get_collection("notes", embedding_function=HashedWords("imported")), range(NOTES, NOTES + 50))
    done = run(chroma, bucket, "--only", "notes")
    assert done.returncode == 0, done.stderr
    assert f"notes: {NOTES + 50} records, 200 of them compared: the same" in done.stderr
    assert "1 collections are imported" in done.stderr


def test_a_collection_that_is_no_import_is_left_alone(chroma: ChromaServer, tmp_path: Path) -> None:
    fill(chroma)
    with_data = Drumlin(tmp_path / "server", {"DRUMLIN_DATA": str(tmp_path / "bucket")})
    with_data.start()
    client(with_data).create_collection("old", embedding_function=None).add(ids=["mine"], embeddings=[[1]])
    client(with_data).create_collection("notes", embedding_function=None).add(ids=["mine"], embeddings=[[1]])
    with_data.close()
    done = run(chroma, tmp_path / "bucket", "--only", "notes")
    assert done.returncode == 1
    assert 'collection "notes" of default_tenant/default_database exists and is not an import' in done.stderr
    done = run(chroma, tmp_path / "bucket", "--database", "archive")
    assert done.returncode == 0, done.stderr


def test_a_server_that_is_not_there_or_no_chroma_is_named(chroma: ChromaServer, tmp_path: Path) -> None:
    chroma.close()
    done = run(chroma, tmp_path / "bucket")
    assert done.returncode == 1
    assert f"http://127.0.0.1:{chroma.port}/api/v2/version did not answer" in done.stderr
    assert not (tmp_path / "bucket").exists()
