"""A proxy before an S3 server that answers a share of the requests wrongly, as captive portals, worn-out proxies and
broken disks do: a page of text or nothing with status 200 (the request never reaches the store), half of the body or
a flipped bit (the store has done what it was asked). It listens on 127.0.0.1 and stops with its `with` block."""

from __future__ import annotations

import http.client
import random
import socketserver
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer

PAGE = b"<html><body>Please sign in.</body></html>"
LIES = ("page", "empty", "cut", "flipped")
# Headers that belong to one connection, or that http.server writes by itself.
HOP = {"connection", "keep-alive", "transfer-encoding", "date", "server", "content-length"}


class LyingProxy:
    """`with LyingProxy(port, 0.03, seed) as proxy: …`; `proxy.share` may be changed while it runs."""

    def __init__(self, upstream_port: int, share: float, seed: int) -> None:
        self.upstream_port = upstream_port
        self.share = share
        self.told: Counter[str] = Counter()
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.upstream = threading.local()
        self.server = _Server(("127.0.0.1", 0), _handler(self))
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> LyingProxy:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def draw(self, method: str) -> str | None:
        """Whether this request is answered wrongly, and how."""
        with self.lock:
            lie = self.random.choice(LIES) if self.random.random() < self.share else None
            self.told[f"{method} {lie or 'true'}"] += 1
            return lie

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, list, bytes]:
        connection = getattr(self.upstream, "connection", None)
        if connection is None:
            connection = self.upstream.connection = http.client.HTTPConnection("127.0.0.1", self.upstream_port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        except (http.client.HTTPException, OSError):
            connection.close()
            self.upstream.connection = None
            raise


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    daemon_threads = True
    request_queue_size = 128


def _handler(proxy: LyingProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            lie = proxy.draw(self.command)
            if lie == "page":
                return self.send(200, [("Content-Type", "text/html")], PAGE)
            if lie == "empty":
                return self.send(200, [], b"")
            # The name of the host is signed: it goes on as the client sent it.
            try:
                status, headers, content = proxy.forward(self.command, self.path, dict(self.headers.items()), body)
            except (http.client.HTTPException, OSError):
                self.close_connection = True
                return None
            if lie == "cut":
                content = content[: len(content) // 2]
            if lie == "flipped" and content:
                at = len(content) // 2
                content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            # The answer to a HEAD request tells a length without a body of that length.
            kept = {"content-length"} if self.command == "HEAD" else set()
            through = [(name, value) for name, value in headers if name.lower() not in HOP - kept]
            return self.send(status, through, content)

        def send(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            if self.command != "HEAD" or not any(name.lower() == "content-length" for name, _ in headers):
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

    return Handler
