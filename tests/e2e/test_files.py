"""Files on the real binary: worker storage replayed from its document, a large file in little memory, kill -9."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from conftest import Place
from drumlin import Drumlin

MIB = 1 << 20
# What a transfer may add to the server's memory, and how large the file is. A debug build is slow: make it smaller.
GROWTH_BYTES = 64 * MIB
LARGE_BYTES = int(os.environ.get("DRUMLIN_TEST_FILE_MIB", "1024")) * MIB
# As deploy/Dockerfile and deploy/drumlin.service set them: what is freed goes back to the system. Without them glibc
# keeps some MiB for each of its arenas, which is no part of a file.
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
}
KEY = "a-key-of-the-worker-4f1c0b7d9e"


def made(size: int, seed: int = 1) -> Iterator[bytes]:
    """`size` bytes that do not repeat soon, made as they are taken."""
    block, number = hashlib.sha256(f"{seed}".encode()).digest() * (MIB // 32), 0
    while size > 0:
        piece = (number.to_bytes(8, "big") + block[8:])[: min(size, MIB)]
        yield piece
        size, number = size - len(piece), number + 1


def sum_of(pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def memory_bytes(server: Drumlin, what: str) -> int:
    status = Path(f"/proc/{server.running().pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(f"{what}:"))
    return int(line.split()[1]) * 1024


class Growth:
    """How much the server's memory grows at most while the block runs."""

    def __init__(self, server: Drumlin) -> None:
        self.server, self.bytes = server, 0

    def __enter__(self) -> Growth:
        Path(f"/proc/{self.server.running().pid}/clear_refs").write_text("5")
        self.before = memory_bytes(self.server, "VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = memory_bytes(self.server, "VmHWM") - self.before


def upload(server: Drumlin, path: str, size: int, seed: int = 1) -> httpx.Response:
    return server.client.put(path, content=made(size, seed), timeout=900)


def download(server: Drumlin, path: str) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with server.client.stream("GET", path, timeout=900) as answer:
        assert answer.status_code == 200, answer.read()
        for piece in answer.iter_raw():
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()


def test_worker_storage_as_its_document_has_it(place: Place, start: Callable[..., Drumlin]) -> None:
    server = start({**place.settings, "STORAGE_API_KEY": KEY})
    ask = server.client.request
    own, bearer = {"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}
    assert ask("GET", "/health").status_code == 200
    for method, path in [("POST", "/upload"), ("GET", "/download/j"), ("DELETE", "/delete/j"), ("GET", "/list")]:
        assert ask(method, path).status_code == 401
        assert ask(method, path, headers={"X-API-Key": "wrong"}).status_code == 401

    # As a form, as a raw body; a second upload of the same id replaces.
    form = ask("POST", "/upload", headers=own, data={"job_id": "job-1"}, files={"file": ("r.bin", b"first", "image/png")})
    assert (form.status_code, form.json()["success"], form.json()["job_id"]) == (201, True, "job-1"), form.text
    assert form.json()["download_url"] == f"{server.url}/download/job-1"
    raw = ask("POST", "/upload", headers={**bearer, "X-Job-Id": "job-1"}, content=b"second")
    assert (raw.status_code, raw.json()["sha256"]) == (201, hashlib.sha256(b"second").hexdigest())
    by_header = ask("POST", "/upload", headers={**own, "X-Job-Id": "job-2"}, files={"file": ("r", b"third")})
    assert by_header.status_code == 201, by_header.text

    for headers, body in [(own, b"no id"), ({**own, "X-Job-Id": "j"}, b""), ({**own, "X-Job-Id": "../j"}, b"x")]:
        assert ask("POST", "/upload", headers=headers, content=body).status_code == 400
    no_file = ask("POST", "/upload", headers=own, data={"job_id": "j"}, files={"other": ("r", b"x")})
    empty = ask("POST", "/upload", headers=own, data={"job_id": "j"}, files={"file": ("r", b"")})
    assert (no_file.status_code, empty.status_code) == (400, 400)
    assert "error" in empty.json()

    listed = ask("GET", "/list", headers=own).json()
    assert [file["job_id"] for file in listed["files"]] == ["job-1", "job-2"]

    kept = ask("GET", "/download/job-1", headers=own, params={"keep": "true"})
    assert (kept.status_code, kept.content) == (200, b"second")
    assert ask("GET", "/download/job-1", headers=own).content == b"second"
    assert ask("GET", "/download/job-1", headers=own).status_code == 410
    assert ask("GET", "/download/unknown", headers=own).status_code == 404
    assert ask("DELETE", "/delete/job-2", headers=own).status_code == 200
    assert ask("DELETE", "/delete/job-2", headers=own).status_code == 410
    assert ask("DELETE", "/delete/unknown", headers=own).status_code == 404
    assert ask("GET", "/list", headers=own).json()["count"] == 0

    # It is as durable as everything else.
    ask("POST", "/upload", headers={**own, "X-Job-Id": "job-3"}, content=b"stays")
    server.kill()
    server.start()
    assert ask("GET", "/download/job-3", headers=own).content == b"stays"
    assert KEY not in server.output()


def test_a_large_file_goes_up_and_down_in_little_memory(place: Place, start: Callable[..., Drumlin]) -> None:
    server = start({**place.settings, **ALLOCATOR})
    upload(server, "/api/files/warm", 16 * MIB)
    expected = sum_of(made(LARGE_BYTES))
    began = time.monotonic()
    with Growth(server) as up:
        stored = upload(server, "/api/files/large", LARGE_BYTES)
    took_up, began = time.monotonic() - began, time.monotonic()
    assert (stored.status_code, stored.json()["sha256"]) == (201, expected), stored.text
    with Growth(server) as down:
        assert download(server, "/api/files/large") == (LARGE_BYTES, expected)
    took_down = time.monotonic() - began
    size = LARGE_BYTES // MIB
    print(f"\n{size} MiB: up {size / took_up:.0f} MiB/s, memory grew by {up.bytes / MIB:.0f} MiB; "
          f"down {size / took_down:.0f} MiB/s, {down.bytes / MIB:.0f} MiB")
    assert max(up.bytes, down.bytes) < GROWTH_BYTES


def test_several_at_once_share_the_memory(place: Place, start: Callable[..., Drumlin]) -> None:
    server = start({**place.settings, **ALLOCATOR})
    upload(server, "/api/files/warm", 16 * MIB)
    size, count, failed = LARGE_BYTES // 8, 6, []

    def run(work: Callable[[int], None]) -> None:
        def guarded(number: int) -> None:
            try:
                work(number)
            except Exception as error:
                failed.append(repr(error))

        threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed, failed

    def up(number: int) -> None:
        with httpx.Client(base_url=server.url, timeout=900) as client:
            stored = client.put(f"/api/files/f{number}", content=made(size, number))
            assert stored.status_code == 201, stored.text

    def down(number: int) -> None:
        digest = hashlib.sha256()
        with httpx.Client(base_url=server.url, timeout=900) as client, client.stream("GET", f"/api/files/f{number}") as answer:
            for piece in answer.iter_raw():
                digest.update(piece)
        assert digest.hexdigest() == sum_of(made(size, number))

    with Growth(server) as growth:
        run(up)
        run(down)
    print(f"\n{count} × {size // MIB} MiB at once: memory grew by {growth.bytes / MIB:.0f} MiB")
    assert growth.bytes < GROWTH_BYTES


@pytest.mark.parametrize("pieces", [1, 9])
def test_kill_9_in_the_middle_of_an_upload_leaves_what_was_there(
    place: Place, start: Callable[..., Drumlin], pieces: int
) -> None:
    server = start(place.settings)
    before = upload(server, "/api/files/a", 3 * MIB).json()["sha256"]

    def body() -> Iterator[bytes]:
        for number, piece in enumerate(made(64 * MIB, 2)):
            if number == pieces:
                server.kill()
            yield piece

    with pytest.raises(httpx.TransportError):
        server.client.put("/api/files/a", content=body(), timeout=60)
    server.start()
    assert download(server, "/api/files/a") == (3 * MIB, before)
    assert upload(server, "/api/files/a", 5 * MIB, 3).status_code == 200
    assert download(server, "/api/files/a") == (5 * MIB, sum_of(made(5 * MIB, 3)))
