"""The programs of python/examples and the bench of workers, each as a process of its own on a folder: what they print,
what is in the store afterwards, and that no process of theirs is left.

The tests with Spark need pyspark (spark_requirements.txt) and Java."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_many_writers import folder_place, in_the_log

import drumlin

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "python" / "examples"

# Ray as an example starts it alone. It stays until its standard input ends, so that starting it is paid for once.
RAY = """
import sys
from local_ray import local_ray
import ray
with local_ray(4):
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
"""


def marked(mark: str) -> list[int]:
    """The processes that have the mark in their environment. Dead ones have no environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            pass  # it ended meanwhile
    return found


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """The environment of the examples. At the end no process that had it may be left."""
    mark = uuid.uuid4().hex
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_", "S3_", "DRUMLIN_"))
    }
    yield {**kept, "PYTHONPATH": str(EXAMPLES), "DRUMLIN_TEST_MARK": mark}
    for _ in range(100):
        if not (left := marked(mark)):
            return
        time.sleep(0.1)
    names = [(Path("/proc") / str(process) / "cmdline").read_bytes()[:200] for process in left]
    for process in left:
        os.kill(process, signal.SIGKILL)
    pytest.fail(f"processes were left: {names}")


@pytest.fixture(scope="module")
def ray_environment(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment with one Ray for all tests."""
    pytest.importorskip("ray")
    # Short, as the paths of sockets are limited to 107 bytes.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    # A token of our own: otherwise one is written to the home directory.
    of_ray = {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex * 2}
    ray = subprocess.Popen(
        [sys.executable, "-c", RAY],
        env={**environment, **of_ray},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = ray.stdout.readline().strip()
        assert address.startswith("127.0.0.1:"), f"Ray did not start: {address}"
        # The last variable makes programs look for it on 127.0.0.1.
        yield {**environment, **of_ray, "RAY_ADDRESS": address, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
        ray.stdin.close()
        assert ray.wait(timeout=60) == 0
    finally:
        ray.kill()
        shutil.rmtree(folder, ignore_errors=True)


def run(environment: dict[str, str], program: Path, *arguments: object) -> list[dict[str, Any]]:
    """Runs a program to its end. Returns the lines of JSON that it prints."""
    command = [sys.executable, str(program), *map(str, arguments)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]


def check_texts(folder: Path, count: int) -> None:
    """Each text is in the collection once, and was written once."""
    with drumlin.connect(folder) as db:
        texts = db.collection("texts")
        records = texts.get(include=["documents", "embeddings"])
    assert sorted(records.ids) == sorted(f"text-{n}" for n in range(count))
    words = [len(record["document"].split()) for record in records]
    np.testing.assert_array_equal(records.embeddings.sum(axis=1), words)
    written = in_the_log(folder_place(folder), texts.id)
    assert len(written) == count and set(written.values()) == {1}


def test_ray_workers_embed_and_add_to_one_collection_and_a_second_run_doubles_nothing(ray_environment, folder):
    first = run(ray_environment, EXAMPLES / "ray_embed.py", folder, "--texts", 3_000, "--workers", 2)
    assert first == [{"added": 3_000, "skipped": 0, "writers": 2, "records": 3_000}]
    again = run(ray_environment, EXAMPLES / "ray_embed.py", folder, "--texts", 3_000)[0]
    assert (again["added"], again["skipped"], again["records"]) == (0, 3_000, 3_000)
    check_texts(folder, 3_000)
    # The workers embed and one process adds, to what is there.
    more = run(ray_environment, EXAMPLES / "ray_embed.py", folder, "--texts", 4_000, "--one-writer")
    assert more == [{"added": 1_000, "skipped": 3_000, "records": 4_000}]
    check_texts(folder, 4_000)


def test_a_join_by_ray_sees_one_version_while_records_are_added(ray_environment, folder):
    # It compares all distances with those of NumPy itself.
    joined = run(ray_environment, EXAMPLES / "ray_join.py", folder)[0]
    assert (joined["queries"], joined["records"]) == (1_000, 3_000)
    assert joined["added meanwhile"] > 100, "nothing was added after the first records of the other process"
    with drumlin.connect(folder) as db:
        rows = db.collection("rows")
        assert rows.count() == 3_000 + joined["added meanwhile"]
        assert rows.at(joined["version"]).count() == 3_000


def test_partitions_served_by_ray_answer_as_one_collection_does(ray_environment, folder):
    # It compares all answers with those of one collection itself.
    report = run(ray_environment, EXAMPLES / "ray_partitions.py", folder)[0]
    assert report == {
        "added": 4_000, "deleted": 400, "records": 3_600, "of the first 20": 18, "searches": 50, "partitions": 4,
    }  # fmt: skip
    expected: list[set[str]] = [set() for _ in range(4)]
    for name in (f"record-{n}" for n in range(4_000) if n % 10):
        expected[zlib.crc32(name.encode()) % 4].add(name)
    with drumlin.connect(folder) as db:
        assert [set(db.collection(f"large-{n}").get(include=()).ids) for n in range(4)] == expected
    with pytest.raises(AssertionError, match="expected 3 partitions, got large-0"):
        run(ray_environment, EXAMPLES / "ray_partitions.py", folder, "--partitions", 3)


def test_ray_on_one_machine_listens_on_the_loopback_address_alone(ray_environment):
    sockets = {
        os.readlink(descriptor).removeprefix("socket:[").removesuffix("]")
        for process in marked(ray_environment["DRUMLIN_TEST_MARK"])
        for descriptor in Path(f"/proc/{process}/fd").glob("*")
        if descriptor.is_symlink() and os.readlink(descriptor).startswith("socket:[")
    }
    listening = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and inode in sockets:
                listening.append(local.split(":")[0])
    assert listening, "no port of Ray was found"
    # 127.0.0.1 and the same within IPv6, in the kernel's byte order.
    assert set(listening) <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_spark_tasks_embed_and_add_to_one_collection_and_a_second_run_doubles_nothing(environment, folder):
    pytest.importorskip("pyspark")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    first = run(environment, EXAMPLES / "spark_embed.py", folder, "--texts", 3_000)[0]
    assert (first["added"], first["skipped"], first["records"]) == (3_000, 0, 3_000)
    assert first["workers"] == 2
    again = run(environment, EXAMPLES / "spark_embed.py", folder, "--texts", 3_000)[0]
    assert (again["added"], again["skipped"], again["records"]) == (0, 3_000, 3_000)
    check_texts(folder, 3_000)


def test_the_bench_of_workers_counts_what_was_added(environment):
    # Every round compares what was sent, added and stored itself.
    options = ("--workers", "1,2", "--records", 2_000, "--batch", 250, "--rounds", 1, "--dimension", 32)
    lines = run(environment, REPOSITORY / "benches" / "python_workers.py", *options)
    assert [line["what"] for line in lines] == ["embed and add", "embed and add", "embed alone"]
    assert [line.get("workers") for line in lines] == [1, 2, None]
    assert all(line["per_second"] > 0 for line in lines)
