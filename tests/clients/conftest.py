"""Fixtures of the client tests: Drumlin on a folder and on SeaweedFS, or, with CLIENTS_TARGET=chroma, Chroma's own
server, which shows that a test asks for nothing that Chroma does not do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import chromadb
import pytest
from blocking import Blocking, EventLoop
from chroma_server import UNCACHED, ChromaServer
from drumlin import Drumlin
from s3_servers import S3Server
from seaweed import SeaweedFs
from server_process import ServerProcess

TARGET = os.environ.get("CLIENTS_TARGET", "drumlin")
PLACES = {"drumlin": ["folder", "seaweedfs"], "chroma": ["chroma"]}[TARGET]
BUCKET = "clients"
Connect = Callable[[ServerProcess], Any]


@pytest.fixture(scope="session")
def seaweed(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with SeaweedFs() as s3:
        s3.create_bucket(BUCKET)
        yield s3
        if request.session.testsfailed:
            print(f"{s3.name}:\n{s3.tail()}")


def storage(place: str, request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    """Settings that put Drumlin's data into `folder`, or under its name on SeaweedFS."""
    if place == "folder":
        return {"DRUMLIN_DATA": str(folder)}
    return request.getfixturevalue("seaweed").settings(BUCKET, f"{folder.parent.name}/{folder.name}/")


@pytest.fixture(params=PLACES)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    """A started server without data."""
    if request.param == "chroma":
        started: ServerProcess = ChromaServer(tmp_path / "server", UNCACHED)
    else:
        settings = storage(request.param, request, tmp_path / "bucket")
        started = Drumlin(tmp_path / "server", {"ALLOW_RESET": "TRUE", **settings})
    started.start()
    yield started
    started.close()
    if isinstance(started, Drumlin):
        assert "panicked at" not in started.output(), started.output()[-3000:]


@pytest.fixture
def two_servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Drumlin, Drumlin]]:
    """Two servers on one bucket. They look for each other's commits once an hour, so that what one sees of the other
    it has looked for on request."""
    settings = {"S3_SYNC_INTERVAL": "3600", **storage("seaweedfs", request, tmp_path / "bucket")}
    servers = (Drumlin(tmp_path / "a", settings).start(), Drumlin(tmp_path / "b", settings).start())
    yield servers
    for each in servers:
        each.close()
        assert "panicked at" not in each.output(), each.output()[-3000:]


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes official clients of a server: HttpClient, or AsyncHttpClient behind the same calls."""
    if request.param == "sync":
        yield lambda server: chromadb.HttpClient(host="127.0.0.1", port=server.port)
        return
    loop = EventLoop()

    def client(server: ServerProcess) -> Blocking:
        return Blocking(loop.wait(chromadb.AsyncHttpClient(host="127.0.0.1", port=server.port)), loop)

    yield client
    loop.close()
