"""Chroma's own server (`chroma run`, PyPI) as a process. Every test of this folder must hold on it too: it says what
its clients expect."""

from __future__ import annotations

import json
import os

from s3_servers import tool
from server_process import ServerProcess


class ChromaServer(ServerProcess):
    """The real server on a folder of its own. Collections are not cached, as in its own tests: with the cache, a
    deleted or renamed collection goes on answering for a while."""

    ready_path = "/api/v2/heartbeat"

    def command(self) -> list[str]:
        config = {
            "port": self.port,
            "listen_address": "127.0.0.1",
            "persist_path": str(self.folder / "data"),
            "allow_reset": True,
            "collections_with_segments_provider": {
                "cache": {"nop": None},
                "cache_ttl_secs": 60,
                "permitted_parallelism": 32,
                "cache_invalidation_retry_policy": {"delay_ms": 0, "max_retries": 0},
            },
        }
        file = self.folder / "chroma.yaml"
        file.write_text(json.dumps(config))  # JSON is YAML
        return [tool("chroma"), "run", str(file)]

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
