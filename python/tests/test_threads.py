"""Threads, signals, event loops, forks and the end of the interpreter."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import drumlin

VECTORS = np.random.default_rng(1).normal(size=(20_000, 64)).astype(np.float32)


@pytest.fixture
def filled(notes):
    notes.add(ids=[str(n) for n in range(len(VECTORS))], embeddings=VECTORS)
    return notes


def test_another_thread_goes_on_while_one_searches(filled):
    ticks, done = 0, threading.Event()

    def tick():
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.monotonic()
    # As long as it takes: one call may be over too soon to tell anything.
    while (took := time.monotonic() - began) < 0.5:
        filled.search(VECTORS[:1000], k=100, exact=True, include=())
    done.set()
    thread.join()
    # A tick takes a little over a millisecond, and much longer on a machine that is busy.
    assert ticks > took * 50


def test_threads_search_and_write_at_once(filled):
    def work(number):
        filled.add(ids=[f"new-{number}"], embeddings=[VECTORS[number]])
        return filled.search(VECTORS[number], k=1, include=()).ids[0][0]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(64)))
    assert all(name in (str(number), f"new-{number}") for number, name in enumerate(found))
    assert filled.count() == len(VECTORS) + 64


def test_ctrl_c_ends_a_long_call_within_a_second(filled):
    pressed = []

    def press():
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Timer(0.3, press).start()
    with pytest.raises(KeyboardInterrupt):
        # Repeated calls: the signal must end whichever is under way.
        while True:
            filled.search(VECTORS[:1000], k=100, exact=True, include=())
    assert time.monotonic() - pressed[0] < 1
    assert filled.count() == len(VECTORS)


def test_ctrl_c_ends_the_wait_for_a_bucket_that_does_not_answer(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
            monkeypatch.setenv(name, "none")
        pressed = []

        def press():
            pressed.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        threading.Timer(0.5, press).start()
        # One call, which would take half a minute: nothing but its wait can notice the signal.
        with pytest.raises(KeyboardInterrupt):
            drumlin.connect("s3://bucket", start_timeout=30.0)
        assert time.monotonic() - pressed[0] < 1


def test_async_twins_do_as_their_plain_calls(folder):
    async def work():
        async with await drumlin.aconnect(folder) as db:
            notes = await db.acollection("notes", create=True, metric="l2")
            assert (await notes.aadd(ids=["a", "b"], embeddings=[[0, 0], [1, 0]])).applied == 2
            results = await asyncio.gather(*(notes.asearch([n, 0], k=1) for n in (0, 1)))
            assert [result.ids for result in results] == [[["a"]], [["b"]]]
            assert (await notes.aupsert(ids=["a"], embeddings=[[0, 1]])).applied == 1
            assert (await notes.aupdate(["a"], documents=["x"])).applied == 1
            assert (await notes.aget("a"))[0]["document"] == "x" and await notes.acount() == 2
            assert [page.ids async for page in notes.scan(page_size=1)] == [["a"], ["b"]]
            assert (await notes.adelete(["a"])).applied == 1
            with pytest.raises(drumlin.NotFound):
                await db.acollection("nothing")

    asyncio.run(work())


def test_a_loop_goes_on_while_a_search_runs_and_cancelling_ends_it(filled):
    async def work():
        search = asyncio.ensure_future(filled.asearch(VECTORS[:1000], k=100, exact=True, include=()))
        ticks = 0
        while ticks < 20:
            ticks += 1
            await asyncio.sleep(0.001)
        search.cancel()
        with pytest.raises(asyncio.CancelledError):
            await search
        return await filled.acount()

    assert asyncio.run(work()) == len(VECTORS)


def test_a_pickled_collection_opens_the_store_anew(folder):
    with drumlin.connect(folder, sync_interval=5.0) as db:
        notes = db.collection("notes", create=True)
        notes.add(ids=["a"], embeddings=[[1, 2]])
        sent = pickle.dumps([notes, db])
        assert b"SECRET" not in sent
        copy, store = pickle.loads(sent)
        assert copy.count(strong=True) == 1 and store.collections() == ["notes"]
        assert copy.database._home is store._home, "one process opens a store once"
    with pytest.raises(drumlin.DrumlinError, match="in this process alone"):
        pickle.dumps(drumlin.connect("memory://"))


def test_secrets_are_not_pickled(folder, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-send")
    with drumlin.connect(folder) as db:
        assert b"do-not-send" not in pickle.dumps(db)


def in_child(work) -> str:
    """What `work` returns in a forked child; fails where that takes longer than a minute."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = str(work())
        except BaseException as error:  # The parent asserts on it.
            answer = f"{type(error).__name__}: {error}"
        os.write(write, answer.encode()[:4000])
        os._exit(0)
    os.close(write)
    deadline = time.monotonic() + 60
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.02)
    with os.fdopen(read) as pipe:
        return pipe.read()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_handle_keeps_to_its_collection_when_another_takes_its_name(folder):
    with drumlin.connect(folder) as db:
        old = db.collection("notes", create=True)
        old.add(ids=["a"], embeddings=[[1, 2]])
        db.collection("notes").rename("letters")
        db.collection("notes", create=True)
        assert pickle.loads(pickle.dumps(old)).count(strong=True) == 1
        assert in_child(lambda: old.count(strong=True)) == "1"
        assert old.at().count() == 1
        old.rename("mail")
        assert db.collections() == ["mail", "notes"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_stream_that_was_begun_before_a_fork_says_so_in_the_child(folder):
    pa = pytest.importorskip("pyarrow")
    with drumlin.connect(folder) as db:
        notes = db.collection("notes", create=True)
        notes.add(ids=["a"], embeddings=[[1, 2]])
        reader = pa.RecordBatchReader.from_stream(notes.scan())
        assert "before the process was forked" in in_child(reader.read_all)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_store_in_memory_that_the_environment_names_is_nowhere_else(monkeypatch):
    monkeypatch.setenv("DRUMLIN_STORAGE", "memory")
    with drumlin.connect() as db:
        notes = db.collection("notes", create=True)
        with pytest.raises(drumlin.DrumlinError, match="in this process alone"):
            pickle.dumps(db)
        assert in_child(notes.count).startswith("ForkedProcess: a store in memory")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_opens_the_store_by_itself(folder):
    with drumlin.connect(folder) as db:
        notes = db.collection("notes", create=True)
        notes.add(ids=["a"], embeddings=[[1, 2]])

        def work():
            notes.add(ids=["b"], embeddings=[[3, 4]])
            return notes.get().ids, db.collections()

        assert in_child(work) == "(['a', 'b'], ['notes'])"
        assert notes.count(strong=True) == 2
        assert notes.search([3, 4], k=1).ids == [["b"]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_while_threads_search_and_write_does_not_hang_the_child(folder):
    with drumlin.connect(folder) as db:
        notes = db.collection("notes", create=True)
        notes.add(ids=[str(n) for n in range(2000)], embeddings=VECTORS[:2000])
        stopped = threading.Event()

        def work(number):
            step = 0
            while not stopped.is_set():
                step += 1
                notes.search(VECTORS[:20], k=10, exact=True)
                notes.add(ids=[f"{number}-{step}"], embeddings=[VECTORS[step]])

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(5):
                assert in_child(lambda: notes.search(VECTORS[7], k=1, include=()).ids) == "[['7']]"
        finally:
            stopped.set()
            for thread in threads:
                thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_store_in_memory_says_in_a_child_that_it_is_not_there(notes):
    assert in_child(notes.count).startswith("ForkedProcess: a store in memory")
    assert in_child(lambda: notes._opened.dimension).startswith("ForkedProcess: this was opened before")


def _count(collection):
    return collection.count(strong=True)


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_workers_of_a_pool_use_the_collection(folder, method):
    with drumlin.connect(folder) as db:
        notes = db.collection("notes", create=True)
        notes.add(ids=["a"], embeddings=[[1, 2]])
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map_async(_count, [notes] * 4).get(timeout=120) == [1] * 4


AT_EXIT = """
import asyncio, threading, time, sys
import numpy as np
import drumlin
db = drumlin.connect(sys.argv[1])
notes = db.collection("notes", create=True)
rows = np.random.default_rng(1).normal(size=(500, 64)).astype(np.float32)
def work(number):
    step = 0
    while True:
        step += 1
        notes.upsert(ids=[f"{number}-{n}" for n in range(500)], embeddings=rows)
        notes.search(rows, k=10, include=())
async def on_a_loop(number):
    while True:
        await asyncio.gather(*(notes.aupsert(ids=[f"loop-{n}" for n in range(500)], embeddings=rows) for _ in range(4)))
for number in range(4):
    threading.Thread(target=work, args=(number,), daemon=True).start()
threading.Thread(target=lambda: asyncio.run(on_a_loop(4)), daemon=True).start()
time.sleep(0.7)
print("the end", flush=True)
"""


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "raise SystemExit", "db.close()"])
def test_the_interpreter_ends_with_writes_in_flight(folder, ending):
    command = [sys.executable, "-c", AT_EXIT + ending, str(folder)]
    ended = subprocess.run(command, timeout=60, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout == "the end\n" and "panicked" not in ended.stderr, ended.stderr[-2000:]
    with drumlin.connect(folder) as db:
        assert db.collection("notes").count() % 500 == 0


def test_searches_leak_nothing(notes):
    resource = pytest.importorskip("resource")
    notes.add(ids=[str(n) for n in range(500)], embeddings=VECTORS[:500], documents=["text"] * 500)

    def resident():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()

    if not os.path.exists("/proc/self/statm"):
        pytest.skip("this system does not tell the resident size")
    searches = int(os.environ.get("DRUMLIN_LEAK_SEARCHES", "20000"))
    sizes = []
    for number in range(searches):
        result = notes.search(VECTORS[number % 500], k=5)
        if number % 100 == 0:
            result.to_list(), result.distances, result.to_arrow() if number % 1000 == 0 else None
        if number in (searches // 4, searches - 1):
            sizes.append(resident())
    grown = sizes[1] - sizes[0]
    # A hit that leaked would be about 200 bytes; five of each search would be far more than this.
    assert grown < 8 << 20, f"{grown >> 10} KiB more after {searches * 3 // 4} searches"
