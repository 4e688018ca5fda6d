"""A Drumlin server as a process, and the native API as a client sees it. Nothing here knows how the server works."""

from __future__ import annotations

import enum
import os
from pathlib import Path
from typing import Any

import httpx
from server_process import ServerProcess

ROOT = Path(__file__).resolve().parent.parent.parent
# Records of one answer when all are read.
PAGE = 1_000


def binary() -> Path:
    """The server under test: DRUMLIN_BIN, or what cargo built last."""
    if named := os.environ.get("DRUMLIN_BIN"):
        return Path(named).resolve()
    built = [path for mode in ("release", "debug") if (path := ROOT / "target" / mode / "drumlin").exists()]
    if not built:
        raise FileNotFoundError("no drumlin binary: run `cargo build --release --bin drumlin`, or set DRUMLIN_BIN")
    return max(built, key=lambda path: path.stat().st_mtime)


class Outcome(enum.Enum):
    """What a client knows about its write."""

    APPLIED = "applied"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Drumlin(ServerProcess):
    """One server. Its environment is `settings` and nothing else of ours."""

    ready_path = "/ready"

    def command(self) -> list[str]:
        return [str(binary()), "serve", *self.arguments]

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": str(self.port), **self.settings}

    def call(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """The JSON of a 2xx answer; anything else fails the test."""
        answer = self.client.request(method, path, json=body, params=query)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def create(self, name: str, **spec: Any) -> Any:
        return self.call("POST", "/api/collections", {"name": name, **spec})

    def write(self, collection: str, kind: str, body: Any, timeout_s: float = 90) -> tuple[Outcome, Any]:
        """Sends add, upsert, update or delete once, and says what is known of it."""
        try:
            answer = self.client.post(f"/api/collections/{collection}/{kind}", json=body, timeout=timeout_s)
        except httpx.ConnectError:
            return Outcome.REFUSED, None
        except httpx.TransportError:
            return Outcome.UNKNOWN, None
        if answer.is_success:
            return Outcome.APPLIED, answer.json()
        error = answer.json()["error"]["kind"]
        return (Outcome.UNKNOWN if error in ("outcome_unknown", "internal") else Outcome.REFUSED), answer.json()

    def add(self, collection: str, records: list[dict[str, Any]]) -> Any:
        return self.call("POST", f"/api/collections/{collection}/add", {"records": records})

    def upsert(self, collection: str, records: list[dict[str, Any]]) -> Any:
        return self.call("POST", f"/api/collections/{collection}/upsert", {"records": records})

    def delete(self, collection: str, ids: list[str]) -> Any:
        return self.call("POST", f"/api/collections/{collection}/delete", {"ids": ids})

    def records(self, collection: str, consistency: str = "strong") -> dict[str, dict[str, Any]]:
        """All records by id, each seen exactly once, while nobody writes. `consistency=strong` looks for newer
        commits first."""
        by_id: dict[str, dict[str, Any]] = {}
        while True:
            body = {"limit": PAGE, "offset": len(by_id), "include": ["embedding", "document", "metadata"]}
            answer = self.call("POST", f"/api/collections/{collection}/get", body, consistency=consistency)
            page = {record["id"]: record for record in answer["records"]}
            assert len(page) == len(answer["records"]) and not page.keys() & by_id.keys(), "an id was listed twice"
            by_id |= page
            if len(page) < PAGE:
                return by_id

    def count(self, collection: str, consistency: str = "strong") -> int:
        answer = self.call("GET", f"/api/collections/{collection}/count", consistency=consistency)
        return answer["count"]

    def search(self, collection: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        return self.call("POST", f"/api/collections/{collection}/search", body)["results"][0]

    def nearest(self, collection: str, embedding: list[float], k: int = 10, **options: Any) -> list[dict[str, Any]]:
        answer = self.call("POST", f"/api/collections/{collection}/search", {"embedding": embedding, "k": k, **options})
        return answer["results"][0]
