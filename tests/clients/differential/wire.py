"""Requests as bytes, and what a server answered. Nothing is checked here: a request may be as wrong as it likes."""

from __future__ import annotations

import http.client
import json
import re
import shlex
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

JSON = {"Content-Type": "application/json"}
# What a collection that was never made is called by.
NO_ID = "00000000-0000-4000-8000-00000000dead"


@dataclass(frozen=True)
class Request:
    """One request. `{slot}` in the path stands for the id of a collection, which each server chooses itself; `into`
    names the slot that takes the id of this answer. `edge` says what is asked for, where it is not an ordinary
    request; intended differences are found by it."""

    method: str
    path: str
    body: Any = None
    edge: str = ""
    into: str | None = None
    headers: dict[str, str] = field(default_factory=lambda: JSON)

    def payload(self) -> bytes | None:
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()

    def mutates(self) -> bool:
        route = self.path.split("?")[0].rsplit("/", 1)[-1]
        return self.method != "GET" and route not in ("get", "query", "search")


@dataclass(frozen=True)
class Answer:
    """What came back; `status` 0 is a connection that was dropped without an answer."""

    status: int
    kind: str
    text: str

    def json(self) -> Any:
        """The body, or None where it is no JSON."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None

    def error(self) -> str | None:
        body = self.json()
        return body.get("error") if isinstance(body, dict) and self.status >= 400 else None


class Wire:
    """A kept-alive connection to one server, and the ids it gave to the slots."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self.ids: dict[str, str] = {}

    def target(self, request: Request) -> str:
        return re.sub(r"\{(\w+)\}", lambda slot: self.ids.get(slot[1], NO_ID), request.path)

    def exchange(self, request: Request) -> Answer | None:
        """One attempt; None where the connection was dropped."""
        try:
            self.connection.request(request.method, self.target(request), request.payload(), request.headers)
            response = self.connection.getresponse()
            text = response.read().decode(errors="replace")
            return Answer(response.status, response.headers.get("content-type", "").split(";")[0], text)
        except (http.client.HTTPException, OSError):
            self.connection.close()
            return None

    def send(self, request: Request) -> Answer:
        """Tries again once, since a server may close a connection after it refused a body unread."""
        answer = self.exchange(request) or self.exchange(request) or Answer(0, "", "")
        if request.into is not None and answer.status == 200:
            self.ids[request.into] = answer.json()["id"]
        return answer

    def curl(self, request: Request) -> str:
        """The request as a command line."""
        parts = ["curl", "-i", "-X", request.method, self.url + self.target(request)]
        for name, value in request.headers.items():
            parts += ["-H", f"{name}: {value}"]
        if (payload := request.payload()) is not None:
            shown = payload.decode(errors="replace")
            parts += ["--data-binary", shown if len(shown) <= 2_000 else f"{shown[:2_000]}…"]
        return shlex.join(parts)
