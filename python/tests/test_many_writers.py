"""Two Python processes and one server write one collection at once, on a folder and on SeaweedFS, and are killed at
random with -9: nothing acknowledged is lost or doubled, and what is unknown is there whole or not at all.

DRUMLIN_BIN is the server; without it the newest that cargo built is taken. DRUMLIN_PYTHON_KILLS sets the number of
kills (12), DRUMLIN_PYTHON_SEED the seed."""

from __future__ import annotations

import io
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import drumlin

KILLS = int(os.environ.get("DRUMLIN_PYTHON_KILLS", "12"))
SEED = int(os.environ.get("DRUMLIN_PYTHON_SEED", str(random.randrange(1 << 32))))
REPOSITORY = Path(__file__).resolve().parents[2]

# Writes single records of its own ids for ever. Each line of the journal is a write that begins, or how it ended.
WRITER = """
import json, random, sys
import drumlin
address, name, journal = sys.argv[1:]
chance = random.Random(name)
notes = drumlin.connect(address, sync_interval=1.0).collection("shared")
own, step = [], 0
with open(journal, "a", buffering=1) as log:
    while True:
        step += 1
        kind = chance.choices(("add", "upsert", "delete"), (5, 4, 1))[0] if own else "add"
        record = f"{name}-{step}" if kind == "add" else chance.choice(own)
        document = f"{kind} {name}.{step}"
        log.write(json.dumps([kind, record, document]) + "\\n")
        try:
            if kind == "delete":
                notes.delete([record])
            else:
                write = notes.add if kind == "add" else notes.upsert
                write(ids=[record], embeddings=[[ord(c) for c in document[-8:].rjust(8)]], documents=[document])
            log.write("applied\\n")
        except (drumlin.OutcomeUnknown, drumlin.Unavailable) as error:
            log.write("unknown\\n" if isinstance(error, drumlin.OutcomeUnknown) else "refused\\n")
        own.append(record)
"""


def server_binary() -> Path:
    if named := os.environ.get("DRUMLIN_BIN"):
        return Path(named)
    built = [REPOSITORY / "target" / mode / "drumlin" for mode in ("release", "debug")]
    built = [path for path in built if path.exists()]
    if not built:
        pytest.skip("no server: run `cargo build --bin drumlin`, or set DRUMLIN_BIN")
    return max(built, key=lambda path: path.stat().st_mtime)


@dataclass(frozen=True)
class Place:
    """Where the store is: for `drumlin.connect` and for `drumlin serve`, and the means to read its commits."""

    address: str
    settings: dict[str, str]
    # The commits of the collection with this id.
    commits: Callable[[str], list[bytes]]


def folder_place(folder: Path) -> Place:
    def commits(collection: str) -> list[bytes]:
        return [path.read_bytes() for path in folder.rglob(f"c/{collection}/log/*.parquet")]

    return Place(str(folder), {"DRUMLIN_DATA": str(folder)}, commits)


def s3_place(s3, prefix: str) -> Place:
    settings = s3.settings("many-writers", prefix)
    bucket = settings["S3_BUCKET_NAME"]
    s3.create_bucket(bucket)

    def commits(collection: str) -> list[bytes]:
        client, below = s3.client(), f"{prefix}c/{collection}/log/"
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=below)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return [client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]

    return Place(f"s3://{bucket}/{prefix}", settings, commits)


@pytest.fixture(params=["folder", "seaweedfs"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "folder":
        return folder_place(tmp_path / "bucket")
    found = s3_place(request.getfixturevalue("seaweed"), f"{tmp_path.name}/")
    for name in (name for name in found.settings if name.startswith("AWS_")):
        monkeypatch.setenv(name, found.settings[name])
    return found


class PythonWriter:
    """A process that writes by the package; each life of it has a name and a journal of its own."""

    def __init__(self, place: Place, work: Path, name: str) -> None:
        self.place, self.work, self.name, self.lives = place, work, name, 0

    def start(self) -> None:
        self.lives += 1
        name = f"{self.name}{self.lives}"
        command = [sys.executable, "-c", WRITER, self.place.address, name, str(self.work / f"{name}.journal")]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=30)


class Server:
    """`drumlin serve` with a thread that writes to it."""

    def __init__(self, place: Place, work: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.place, self.journal, self.stopped = place, work / "server.journal", threading.Event()
        self.log = (work / "server.log").open("ab")
        self.thread = threading.Thread(target=self.write)

    def start(self) -> None:
        environment = {
            "PATH": os.environ["PATH"], "PORT": str(self.port), "S3_SYNC_INTERVAL": "1", **self.place.settings,
        }  # fmt: skip
        command = [str(server_binary()), "serve"]
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log, cwd=self.journal.parent)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=30)

    def write(self) -> None:
        step = 0
        with self.journal.open("a", buffering=1) as log:
            while not self.stopped.is_set():
                step += 1
                record = {"id": f"server-{step}", "document": f"add server.{step}"}
                record["embedding"] = [ord(letter) for letter in record["document"][-8:].rjust(8)]
                log.write(json.dumps(["add", record["id"], record["document"]]) + "\n")
                log.write(self.send({"records": [record]}) + "\n")

    def send(self, body: dict) -> str:
        url = f"http://127.0.0.1:{self.port}/api/collections/shared/add"
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return "applied" if json.load(answer)["added"] == 1 else "refused"
        except urllib.error.HTTPError as error:
            kind = json.load(error)["error"]["kind"]
            time.sleep(0.05)
            return "unknown" if kind in ("outcome_unknown", "internal") else "refused"
        except urllib.error.URLError as error:
            time.sleep(0.05)
            return "refused" if isinstance(error.reason, ConnectionRefusedError) else "unknown"
        except OSError:
            return "unknown"


def writes(work: Path):
    """Every write of the journals with how it ended; one that was cut off is unknown."""
    for journal in sorted(work.glob("*.journal")):
        lines = journal.read_text().splitlines()
        for at, line in enumerate(lines):
            if line.startswith("["):
                ended = lines[at + 1] if at + 1 < len(lines) else "unknown"
                yield (*json.loads(line), ended)


def in_the_log(place: Place, collection: str) -> Counter[str]:
    """How many rows of all commits put each document."""
    pq = pytest.importorskip("pyarrow.parquet")
    counter: Counter[str] = Counter()
    for body in place.commits(collection):
        table = pq.read_table(io.BytesIO(body), columns=["op", "document"])
        rows = zip(table["op"].to_pylist(), table["document"].to_pylist(), strict=True)
        counter.update(document for op, document in rows if op == "put")
    return counter


def test_two_processes_and_a_server_killed_at_random_lose_and_double_nothing(place: Place, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    chance = random.Random(SEED)
    with drumlin.connect(place.address) as db:
        collection = db.collection("shared", create=True, metric="l2").id
    server = Server(place, work)
    writers = [PythonWriter(place, work, "one-"), PythonWriter(place, work, "other-"), server]
    for writer in writers:
        writer.start()
    server.thread.start()
    try:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.5, 2))
            writer = chance.choice(writers)
            writer.kill()
            time.sleep(chance.uniform(0, 0.3))
            writer.start()
        time.sleep(3)
    finally:
        server.stopped.set()
        for writer in writers:
            writer.kill()
        server.thread.join()

    possible: dict[str, set[str | None]] = {}
    allowed: dict[str, tuple[int, ...]] = {}
    applied = 0
    for kind, record, document, ended in writes(work):
        new = None if kind == "delete" else document
        before = possible.get(record, {None})
        applied += ended == "applied"
        possible[record] = {"applied": {new}, "unknown": before | {new}, "refused": before}[ended]
        if new is not None:
            allowed[document] = {"applied": (1,), "unknown": (0, 1), "refused": (0,)}[ended]
    with drumlin.connect(place.address) as db:
        found = {row["id"]: row for row in db.collection("shared").get(include=["documents", "embeddings"])}
    assert set(found) <= set(possible), "a record that nobody wrote"
    for record, values in possible.items():
        assert (found[record]["document"] if record in found else None) in values, record
    for row in found.values():
        assert row["embedding"].tolist() == [ord(letter) for letter in row["document"][-8:].rjust(8)], "not whole"
    seen = in_the_log(place, collection)
    assert set(seen) <= set(allowed), "a write that nobody made"
    wrong = {document: seen[document] for document, times in allowed.items() if seen[document] not in times}
    assert not wrong, f"written more or less often than acknowledged (seed {SEED}): {wrong}"
    print(f"\nseed {SEED}: {KILLS} kills, {applied} writes applied, {len(found)} records; none lost, none doubled")
    assert applied > 5 * KILLS
