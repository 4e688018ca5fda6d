"""Azurite (npm: azurite), Microsoft's emulator of Azure Blob Storage, beside a command:

python tests/e2e/azurite.py FOLDER cargo test --test bucket_conformance

FOLDER gets the npm package unless it holds it already. The command gets DRUMLIN_TEST_AZURE_CONNECTION_STRING and
DRUMLIN_TEST_AZURE_CONTAINER, which names a container that exists."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import os
import subprocess
import sys
import tempfile
import time
from email.utils import formatdate
from pathlib import Path

from s3_servers import dies_with_parent, free_ports

VERSION = "3.37.0"
ACCOUNT = "drumlintest"
KEY = base64.b64encode(b"a key of the tests, known to all").decode()
CONTAINER = "conformance"
START_TIMEOUT_S = 60


def install(folder: Path) -> Path:
    """The program, installed into the folder if it is not there."""
    program = folder / "node_modules" / ".bin" / "azurite-blob"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
        subprocess.run(["npm", "install", *options, f"azurite@{VERSION}"], check=True, timeout=600)
    return program


def create_container(port: int) -> int:
    """Makes the container with a request signed by hand, and answers with the status."""
    path = f"/{ACCOUNT}/{CONTAINER}"
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
    canonical = "".join(f"{name}:{value}\n" for name, value in headers.items())
    text = "PUT" + "\n" * 12 + canonical + f"/{ACCOUNT}{path}\nrestype:container"
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        headers |= {"Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Length": "0"}
        connection.request("PUT", f"{path}?restype=container", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def wait_for_container(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            status = create_container(port)
            if status in (201, 409):
                return
            raise RuntimeError(f"azurite answers {status} to the creation of a container")
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"azurite did not become ready within {START_TIMEOUT_S} s") from None
            time.sleep(0.2)


def main(arguments: list[str]) -> int:
    if len(arguments) < 2:
        sys.exit(__doc__)
    program = install(Path(arguments[0]))
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="drumlin-azurite-") as data:
        options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", data]
        options += ["--skipApiVersionCheck", "--silent", "--disableTelemetry"]
        environment = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
        process = subprocess.Popen(dies_with_parent([str(program), *options]), env=environment)
        try:
            wait_for_container(port, process)
            endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
            connection = f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint}"
            variables = {"CONNECTION_STRING": connection, "CONTAINER": CONTAINER}
            environment = {f"DRUMLIN_TEST_AZURE_{name}": value for name, value in variables.items()}
            return subprocess.call(arguments[1:], env={**os.environ, **environment})
        finally:
            process.kill()
            process.wait(timeout=30)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
