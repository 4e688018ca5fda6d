"""Chroma's own server (`chroma run`, PyPI) as a process. Every test of this folder must hold on it too: it says what
its clients expect."""

from __future__ import annotations

import json
import os
from typing import Any

from s3_servers import tool
from server_process import ServerProcess


# Without its cache of collections, as Chroma's own tests run it: with the cache, a collection that was deleted or
# renamed goes on answering for a while.
UNCACHED: dict[str, Any] = {
    "collections_with_segments_provider": {
        "cache": {"nop": None},
        "cache_ttl_secs": 60,
        "permitted_parallelism": 32,
        "cache_invalidation_retry_policy": {"delay_ms": 0, "max_retries": 0},
    }
}


class ChromaServer(ServerProcess):
    """The real server on a folder of its own. `settings` are those of its configuration file."""

    ready_path = "/api/v2/heartbeat"

    def command(self) -> list[str]:
        config = {
            "port": self.port,
            "listen_address": "127.0.0.1",
            "persist_path": str(self.folder / "data"),
            "allow_reset": True,
            **self.settings,
        }
        file = self.folder / "chroma.yaml"
        file.write_text(json.dumps(config))  # JSON is YAML
        return [tool("chroma"), "run", str(file)]

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
