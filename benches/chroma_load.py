"""The load of benches/chroma.py: processes that send ready-made bodies over kept-alive connections and note how long
each answer took. No client library is in the way: it would cost more than the servers do."""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

# Threads of one process: each request takes the interpreter for some 50 µs.
THREADS = 16
fork = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Load:
    """Requests to one server. `requests(client)` gives each client its endless own, whole as they go over the wire."""

    port: int
    requests: Callable[[int], Iterator[bytes]]
    clients: int
    seconds: float


@dataclass(frozen=True)
class Measured:
    """Answers per second, times of one, and the processor time that sending one request cost the load itself."""

    per_second: float
    p50_ms: float
    p99_ms: float
    load_us: float


def request(path: str, body: bytes) -> bytes:
    """A POST as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """A kept-alive connection that reads as much of HTTP as a server's answers need."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def received(self) -> bytes:
        if some := self.socket.recv(1 << 16):
            return some
        raise ConnectionError("the server closed the connection")

    def exchange(self, whole: bytes) -> None:
        """Sends a request and reads its answer to the end; anything but success is an error."""
        self.socket.sendall(whole)
        answer = self.received()
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self.received()
        head, body = answer[:end].lower(), answer[end + 4 :]
        if not head.startswith(b"http/1.1 20"):
            raise RuntimeError(f"{head!r} {body[:300]!r}")
        _, named, length = head.partition(b"\r\ncontent-length:")
        if named:
            missing = int(length.partition(b"\r\n")[0]) - len(body)
            while missing > 0:
                missing -= len(self.received())
        else:
            while not body.endswith(b"0\r\n\r\n"):  # the last chunk
                body = body[-5:] + self.received()


def client(load: Load, number: int, begin: Callable[[], object], times: list[tuple[float, float]]) -> None:
    """One client: connects, waits for all others, then sends until the time is over."""
    connection = Connection(load.port)
    requests = load.requests(number)
    begin()
    until = time.monotonic() + load.seconds
    while (sent := time.monotonic()) < until:
        connection.exchange(next(requests))
        times.append((sent, time.monotonic()))


def process(load: Load, numbers: range, barrier, pipe) -> None:
    times: list[list[tuple[float, float]]] = [[] for _ in numbers]
    # The barrier counts processes; within each, all threads wait for the one that speaks for it.
    ready = threading.Barrier(len(numbers), action=barrier.wait)
    failures: list[BaseException] = []

    def run(place: int, number: int) -> None:
        try:
            client(load, number, ready.wait, times[place])
        except BaseException as error:  # told to the parent, which has to fail
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=run, args=place) for place in enumerate(numbers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipe.send(RuntimeError(repr(failures[0])) if failures else [each for some in times for each in some])


def run(load: Load) -> Measured:
    """Runs the load from as many processes as its clients need."""
    per_process = max(1, min(THREADS, load.clients // 2))
    groups = [range(first, min(first + per_process, load.clients)) for first in range(0, load.clients, per_process)]
    barrier = fork.Barrier(len(groups))
    pipes = [fork.Pipe(duplex=False) for _ in groups]
    processes = [
        fork.Process(target=process, args=(load, group, barrier, writer), daemon=True)
        for group, (_, writer) in zip(groups, pipes, strict=True)
    ]
    used = os.times()
    for each in processes:
        each.start()
    answers = [reader.recv() for reader, _ in pipes]
    for each in processes:
        each.join()
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    times = np.array([pair for answer in answers for pair in answer])
    took = times[:, 1] - times[:, 0]
    elapsed = times[:, 1].max() - times[:, 0].min()
    now = os.times()
    cpu = now.children_user + now.children_system - used.children_user - used.children_system
    return Measured(len(times) / elapsed, *(1_000 * np.percentile(took, [50, 99])).tolist(), 1e6 * cpu / len(times))
