"""Forty bodies at once that grow when they are decoded, over every route and every field: the server refuses them,
stays within its limit of memory, and serves others."""

from __future__ import annotations

import gzip
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import folder_place
from drumlin import Drumlin
from test_memory import peak_bytes

MIB = 1 << 20
LIMIT_MIB = 300
# What the process may take beside its limit.
BESIDE_MIB = 64
BODY_BYTES = 30 * MIB
JSON = "application/json"
TIMEOUT_S = 120


@dataclass(frozen=True)
class Hostile:
    """A request whose body is `before`, then `item` until it is long, then `after`."""

    path: str
    before: bytes
    item: bytes = b""
    after: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("content-type", JSON),)
    length: int = BODY_BYTES

    def pieces(self) -> Iterator[bytes]:
        yield self.before
        if self.item:
            piece = self.item * (256 * 1024 // len(self.item) + 1)
            for _ in range(self.length // len(piece)):
                yield piece
        if self.after:
            yield self.after


def status_of(port: int, request: Hostile) -> int:
    """Sends it all, as far as the server reads on; the status, or 0 where the connection ended without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        lines = [f"POST {request.path} HTTP/1.1", "host: localhost", "transfer-encoding: chunked", "connection: close"]
        lines += [f"{name}: {value}" for name, value in request.headers]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        try:
            for piece in request.pieces():
                connection.sendall(b"%x\r\n" % len(piece) + piece + b"\r\n")
            connection.sendall(b"0\r\n\r\n")
        except OSError:
            pass
        try:
            head = connection.recv(64)
        except OSError:
            return 0
        return int(head.split(b" ")[1]) if head.startswith(b"HTTP/1.1 ") else 0


def native(route: str) -> str:
    return f"/api/collections/c/{route}"


def native_bodies() -> list[Hostile]:
    search, start = native("search"), b'{"embedding": [1, 2], '
    record = b'{"id": "a", "embedding": [1, 2], '
    return [
        Hostile(search, start + b'"where": {"k": {"$in": ["x"', b',"x"', b"]}}}"),
        Hostile(search, start + b'"where": {"k": {"$nin": [1', b",1", b"]}}}"),
        Hostile(search, start + b'"where": {"$and": [{"k": 1}', b',{"k":1}', b"]}}"),
        Hostile(search, start + b'"where": ', b'{"$and":[', b""),
        Hostile(search, start + b'"where_document": {"$or": [{}', b",{}", b"]}}"),
        Hostile(search, start + b'"where_document": {"$regex": "', b"a", b'"}}'),
        Hostile(search, start + b'"', b"\\u0041", b'": 1}'),
        Hostile(search, start + b'"ids": [""', b',""', b"]}"),
        Hostile(search, start + b'"include": ["uri"', b',"uri"', b',"x"]}'),
        Hostile(search, b'{"embedding": [1', b",1", b"]}"),
        Hostile(search, b'{"embeddings": [[]', b",[]", b"]}"),
        Hostile(native("get"), b'{"ids": [""', b',""', b"]}"),
        Hostile(native("get"), b'{"where": {"k": {"$in": [true', b",true", b"]}}}"),
        Hostile(native("delete"), b'{"ids": ["b"', b',"b"', b"]}"),
        Hostile(native("delete"), b'{"where": {"a": [', b"{},", b"1]}}"),
        Hostile(native("add"), b'{"records": [' + record[:-2] + b"}", b',{"id":"a","embedding":[1,2]}', b"]}"),
        Hostile(native("add"), b'{"records": [' + record[:-2] + b"}", b',{"id":"","embedding":[],"metadata":{"":0}}', b"]}"),
        Hostile(native("add"), b'{"records": [' + record + b'"metadata": {"k": [1', b",1", b"]}}]}"),
        Hostile(native("add"), b'{"records": [{"id": "a", "embedding": [1', b",1", b"]}]}"),
        Hostile(native("upsert"), b'{"records": [' + record + b'"document": "', b"\\n", b'"}]}'),
        Hostile(native("upsert"), b'{"records": [' + record + b'"metadata": {"k": {"k": [', b"[],", b"1]}}}]}"),
        Hostile(native("update"), b'{"records": [{"id": "a"}', b',{"id":""}', b"]}"),
        Hostile("/api/collections", b'{"name": "d", "metadata": {"k": [1', b",1", b"]}}"),
        Hostile("/api/collections", b'{"name": "d", "metadata": {"a": ', b'{"a":', b"1"),
    ]


def chroma_bodies(base: str, collection: str) -> list[Hostile]:
    def route(name: str) -> str:
        return f"{base}/{collection}/{name}"

    query, add = b'{"query_embeddings": [[1, 2]], ', b'{"ids": ["a"], "embeddings": [[1, 2]], '
    return [
        Hostile(route("query"), query + b'"where": {"k": {"$in": ["x"', b',"x"', b"]}}}"),
        Hostile(route("query"), b'{"query_embeddings": [[]', b",[]", b"]}"),
        Hostile(route("get"), b'{"where_document": {"$and": [{}', b',{"":0}', b"]}}"),
        Hostile(route("search"), b'{"searches": [{}', b",{}", b"]}"),
        Hostile(route("search"), b'{"searches": [{"rank": {"$knn": {"query": [1', b",1", b"]}}}]}"),
        Hostile(route("search"), b'{"searches": [{"rank": {"$sum": [{}', b',{"":{}}', b"]}}]}"),
        Hostile(route("search"), b'{"searches": [{"select": {"keys": [""', b',""', b"]}}]}"),
        Hostile(route("add"), add + b'"metadatas": [{"k": 1}', b',{"":0}', b"]}"),
        Hostile(route("add"), add + b'"documents": [null', b",null", b"]}"),
        Hostile(route("upsert"), b'{"ids": ["a"], "embeddings": ["AAAA', b"AAAA", b'"]}'),
        Hostile(route("update"), b'{"ids": [""', b',""', b"]}"),
        Hostile(route("delete"), b'{"ids": [""', b',""', b"]}"),
        Hostile(base, b'{"name": "ddd", "configuration": {"a": [', b"{},", b"1]}}"),
    ]


def coded_bodies() -> list[Hostile]:
    bomb = gzip.compress(b'{"records": [' + b" " * (1 << 30))
    form = (("content-type", "multipart/form-data; boundary=b"),)
    return [
        Hostile(native("add"), bomb, headers=(("content-type", JSON), ("content-encoding", "gzip"))),
        Hostile(native("search"), bomb, headers=(("content-type", JSON), ("content-encoding", "gzip"))),
        Hostile("/upload", b"--b\r\nX: ", b"x" * 1000, headers=form, length=200 * MIB),
        Hostile("/upload", b"preamble", b"x" * 1000, headers=form, length=200 * MIB),
        Hostile("/upload", b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n', b"x" * 1000, headers=form),
    ]


def columnar_bodies() -> list[Hostile]:
    """A few kB each that say a document of 1 MiB a thousand times."""
    rows = 1_000
    ids = pa.array([f"r{number}" for number in range(rows)])
    embeddings = pa.FixedSizeListArray.from_arrays(pa.array([1.0] * (2 * rows), pa.float32()), 2)
    document = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["d" * MIB]))
    table = pa.table({"id": ids, "embedding": embeddings, "document": document})
    parquet, arrow = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet, compression="zstd", store_schema=False)
    zeros = pa.table({"id": ids.slice(0, 90), "embedding": embeddings.slice(0, 90), "document": ["\0" * MIB] * 90})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(arrow, zeros.schema, options=options) as writer:
        writer.write_table(zeros)
    kinds = {"application/vnd.apache.parquet": parquet, "application/vnd.apache.arrow.stream": arrow}
    return [Hostile(native("add"), body.getvalue(), headers=(("content-type", kind),)) for kind, body in kinds.items()]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_bodies_that_grow_are_refused_within_the_limit_of_memory(
    tmp_path: Path, start: Callable[..., Drumlin]
) -> None:
    settings = folder_place(tmp_path / "bucket").settings
    server = start({**settings, "DRUMLIN_MEMORY_LIMIT": f"{LIMIT_MIB}MiB"})
    server.create("c", metric="l2")
    server.add("c", [{"id": "a", "embedding": [1, 2], "metadata": {"k": "a"}}])
    base = "/api/v2/tenants/default_tenant/databases/default_database/collections"
    collection = server.call("GET", "/api/collections/c")["id"]
    bodies = native_bodies() + chroma_bodies(base, collection) + coded_bodies() + columnar_bodies()
    assert len(bodies) >= 40
    before_mib = peak_bytes(server) // MIB

    statuses: dict[int, int] = {}

    def send(number: int) -> None:
        statuses[number] = status_of(server.port, bodies[number])

    senders = [threading.Thread(target=send, args=(number,), daemon=True) for number in range(len(bodies))]
    for sender in senders:
        sender.start()
    answered, longest = 0, 0.0
    while any(sender.is_alive() for sender in senders):
        began = time.monotonic()
        assert server.client.get("/health").status_code == 200
        longest = max(longest, time.monotonic() - began)
        answered += 1
        time.sleep(0.1)
    peak_mib = peak_bytes(server) // MIB
    told = {bodies[number].path + " " + repr(bodies[number].before[-40:]): status for number, status in statuses.items()}
    print(f"peak {peak_mib} MiB ({before_mib} before), /health at most {longest:.1f} s, {told}")
    assert len(statuses) == len(bodies)
    assert all(status in (400, 408, 413, 422, 503, 507) for status in statuses.values()), told
    assert peak_mib < LIMIT_MIB + BESIDE_MIB
    # One by one there is more memory for each, and it grows further before it is refused.
    alone = {number: status_of(server.port, body) for number, body in enumerate(bodies)}
    peak_mib = peak_bytes(server) // MIB
    print(f"peak {peak_mib} MiB one by one, {alone}")
    assert all(status in (400, 408, 413, 422, 503, 507) for status in alone.values()), alone
    assert any(status == 422 for status in alone.values()) and peak_mib < LIMIT_MIB + BESIDE_MIB
    assert server.call("GET", "/api/collections/c/count")["count"] == 1
    assert server.nearest("c", [1, 2])[0]["id"] == "a"
    assert [c["name"] for c in server.call("GET", "/api/collections")] == ["c"]
