"""S3 servers that this project did not write, each started on 127.0.0.1 in a temporary folder and stopped with
the process that started it. SeaweedFS has its own file; here are what they share, moto and nanio."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ACCESS_KEY = "drumlin-test-key"
SECRET_KEY = "drumlin-test-secret"
REGION = "us-east-1"
START_TIMEOUT_S = 60
STARTS = 3


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, below the range from which the kernel takes ports for outgoing connections."""
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            candidate = socket.socket()
            try:
                candidate.bind(("127.0.0.1", random.randrange(20_000, 32_000)))
                held.append(candidate)
            except OSError:
                candidate.close()
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


def tool(name: str) -> str:
    """The path of a program that pip installed beside this interpreter, or that is on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed; pip install -r tests/e2e/requirements.txt")
    return found


def dies_with_parent(command: list[str]) -> list[str]:
    """The command, killed by the kernel when the thread that started it ends, so that nothing outlives a test run."""
    return ["setpriv", "--pdeathsig", "KILL", *command]


class S3Server:
    """An S3 server with one identity. `with SeaweedFs() as s3: s3.create_bucket("b")`."""

    name = "s3"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"drumlin-{self.name}-"))
        self.port = free_ports(1)[0]
        self.log = self.folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def start(self) -> None:
        """Starts it, again on other ports where it does not become ready: between the choice of a port and the moment
        a server listens on it, another process of the suites beside this one may have taken it."""
        for left in reversed(range(STARTS)):
            try:
                return self.start_once()
            except RuntimeError as error:
                if left == 0:
                    raise
                print(f"{error}\nstarting {self.name} again", file=sys.stderr)
                self.folder = Path(tempfile.mkdtemp(prefix=f"drumlin-{self.name}-"))
                self.port = free_ports(1)[0]
                self.log = self.folder / "server.log"

    def start_once(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                dies_with_parent(self.command()),
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = self.tail()
                self.stop()
                raise RuntimeError(f"{self.name} did not become ready within {START_TIMEOUT_S} s:\n{tail}")
            time.sleep(0.1)

    def tail(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-2000:]

    def is_ready(self) -> bool:
        """Whether a bucket can be made and an object written: some servers answer long before they store."""
        try:
            self.create_bucket("readiness")
            self.client().put_object(Bucket="readiness", Key="probe", Body=b"ready")
            return True
        except (BotoCoreError, ClientError):
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=30)
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> S3Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def client(self):  # boto3 makes its client types at run time
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
            config=Config(
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 1},
                connect_timeout=5,
                read_timeout=30,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def create_bucket(self, bucket: str) -> None:
        try:
            self.client().create_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    def settings(self, bucket: str, prefix: str) -> dict[str, str]:
        """Drumlin's environment for this server."""
        return {
            "S3_ENABLED": "true",
            "S3_BUCKET_NAME": bucket,
            "S3_PREFIX": prefix,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
        }


class Moto(S3Server):
    """moto's server: AWS's behaviour re-told in Python. Slow, and it checks no signatures."""

    name = "moto"

    def command(self) -> list[str]:
        return [tool("moto_server"), "-H", "127.0.0.1", "-p", str(self.port)]


class Nanio(S3Server):
    """A server that ignores If-None-Match: every put succeeds. Drumlin has to refuse it."""

    name = "nanio"

    def command(self) -> list[str]:
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--data-dir", str(self.folder / "data")]
        return [tool("nanio"), "serve", *where, "--region", REGION, "--log-level", "warning"]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "NANIO_ACCESS_KEY": ACCESS_KEY, "NANIO_SECRET_KEY": SECRET_KEY}
