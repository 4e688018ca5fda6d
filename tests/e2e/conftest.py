"""Fixtures of the end-to-end tests: one SeaweedFS for the whole run, and a place of its own for every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from drumlin import Drumlin
from s3_servers import S3Server
from seaweed import SeaweedFs

BUCKET = "drumlin"


@dataclass(frozen=True)
class Place:
    """Where a test's servers keep their data: settings for Drumlin, and the means to read the objects."""

    settings: dict[str, str]
    fetch: Callable[[], dict[str, bytes]]

    def objects(self) -> dict[str, bytes]:
        """Every object of the store by its key below the prefix."""
        return self.fetch()


def folder_place(folder: Path) -> Place:
    def fetch() -> dict[str, bytes]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    return Place({"DRUMLIN_DATA": str(folder)}, fetch)


def s3_place(s3: S3Server, prefix: str) -> Place:
    s3.create_bucket(BUCKET)

    def fetch() -> dict[str, bytes]:
        client = s3.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        read = {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}
        return {key.removeprefix(prefix): body for key, body in read.items()}

    return Place(s3.settings(BUCKET, prefix), fetch)


@pytest.fixture(scope="session")
def seaweed(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with SeaweedFs() as s3:
        yield s3
        if request.session.testsfailed:
            print(f"{s3.name}:\n{s3.tail()}")


@pytest.fixture(params=["folder", "seaweedfs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A folder, and a prefix on SeaweedFS: a test that takes this runs on both."""
    if request.param == "folder":
        return folder_place(tmp_path / "bucket")
    return s3_place(request.getfixturevalue("seaweed"), f"{tmp_path.name}/")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Drumlin]]:
    """Starts servers, each in a folder of its own, and ends those that still run."""
    started: list[Drumlin] = []

    def start(settings: dict[str, str]) -> Drumlin:
        server = Drumlin(tmp_path / f"server-{len(started) + 1}", settings)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.close()
    panicked = [server.output() for server in started if "panicked at" in server.output()]
    assert not panicked, panicked[0][-3000:]
