"""The container image: built by the Dockerfile's own steps from a clean directory, run with a read-only root by a user
without rights, on S3."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import image
import pytest
from conftest import s3_place
from image import Container, Image
from s3_servers import S3Server
from sentences import questions, sentences

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a root file system of its own needs root"),
    pytest.mark.timeout(1_800),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return image.build(tmp_path_factory.mktemp("image"))


@pytest.fixture
def settings(seaweed: S3Server) -> dict[str, str]:
    place = s3_place(seaweed, "image/")
    return {**place.settings, "STORAGE_API_KEY": "a-key-of-more-than-16-bytes", "DRUMLIN_FLUSH_COMMITS": "8"}


@pytest.fixture
def container(built: Image, tmp_path: Path, settings: dict[str, str]) -> Iterator[Container]:
    server = Container(tmp_path / "log", settings, image=built)
    server.client.headers["X-API-Key"] = settings["STORAGE_API_KEY"]
    yield server
    server.close()


def files(root: Path) -> list[tuple[str, int, int]]:
    found = [path for folder in ("usr", "lib", "lib64", "tmp") for path in (root / folder).rglob("*")]
    return sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in found)


def test_the_image_is_below_80_mb(built: Image) -> None:
    assert built.copied_bytes + image.BASE_BYTES < 80_000_000, f"{built.copied_bytes} bytes over the base image"


def test_a_container_with_a_read_only_root_keeps_everything_in_the_bucket(built: Image, container: Container) -> None:
    before = files(built.root)
    container.start()
    status = Path(f"/proc/{container.running().pid}/status").read_text()
    assert f"Uid:\t{image.UID}\t{image.UID}" in status, status
    assert container.health_check() == 0
    container.create("sentences", metric="cosine")
    for first in range(0, 400, 20):
        container.add("sentences", sentences()[first : first + 20])
    question = questions()[0]
    assert question["expected"][0] in [hit["id"] for hit in container.nearest("sentences", question["embedding"])]
    assert container.stop() == 0
    assert container.health_check() == 1
    container.start()
    assert container.count("sentences") == 400
    container.kill()
    assert files(built.root) == before


def test_a_container_without_a_key_does_not_start(built: Image, tmp_path: Path, settings: dict[str, str]) -> None:
    open_to_all = {name: value for name, value in settings.items() if name != "STORAGE_API_KEY"}
    server = Container(tmp_path / "log", open_to_all, image=built)
    assert "STORAGE_API_KEY" in server.refuses_to_start()
