"""A server under test as a process: started, waited for, killed. What is run and when it is ready, its kinds say."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from s3_servers import dies_with_parent, free_ports

START_TIMEOUT_S = 60


@dataclass
class ServerProcess:
    """One server on 127.0.0.1, in a folder of its own; its log goes to `folder/server.log`."""

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    port: int = field(default_factory=lambda: free_ports(1)[0])

    # What is_ready asks for.
    ready_path = "/"

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "server.log"
        self.client = httpx.Client(base_url=self.url, timeout=90)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        raise NotImplementedError

    def spawn(self, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                dies_with_parent([*self.prefix, *self.command()]),
                cwd=cwd or self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self.process

    def start(self, cwd: Path | None = None) -> Self:
        process = self.spawn(cwd)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not become ready (exit {process.poll()}):\n{self.events()[-6000:]}")
            time.sleep(0.05)
        return self

    def is_ready(self) -> bool:
        try:
            return self.client.get(self.ready_path, timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def events(self) -> str:
        """What it printed, without a line for each request."""
        lines = self.output().splitlines(keepends=True)
        return "".join(line for line in lines if " drumlin::access: " not in line)

    def running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise RuntimeError("the server was never started")
        return self.process

    def kill(self) -> None:
        """kill -9."""
        self.running().kill()
        self.running().wait(timeout=30)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.running().terminate()
        return self.running().wait(timeout=60)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.client.close()

    def refuses_to_start(self) -> str:
        """Starts it, expects it to end by itself with an error; what it printed."""
        code = self.spawn().wait(timeout=START_TIMEOUT_S)
        assert code != 0, f"the server ended with success, it should have refused:\n{self.output()}"
        return self.output()
