"""Chroma's client on a bucket, without a server. Needs ``chromadb`` (``pip install './python[chroma]'``).

Programs that take a client of Chroma take this one: LangChain's ``Chroma(client=…)``, LlamaIndex's
``ChromaVectorStore`` and others. Requests go to the server's own routes of ``/api/v2`` within this process, so filters,
defaults and errors are the same.

    import drumlin, drumlin.chroma

    client = drumlin.chroma.Client(drumlin.connect("s3://bucket/prefix"))
    notes = client.get_or_create_collection("notes")
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import httpx
from chromadb.api import ServerAPI
from chromadb.api.client import AdminClient
from chromadb.api.client import Client as _HttpClient
from chromadb.api.shared_system_client import SharedSystemClient
from chromadb.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings, System

from . import connect
from ._database import Database
from ._drumlin import Routes

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.fastapi import FastAPI

__all__ = ["Client"]


def Client(
    db: Database | str | os.PathLike[str],
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
    *,
    allow_reset: bool = False,
) -> ClientAPI:
    """A client of Chroma for the collections of ``db``.

    Parameters
    ----------
    db : Database, str or path
        A store, or where it is.
    tenant, database : str
        Where names of collections are looked up.
    allow_reset : bool
        Whether ``client.reset()`` may drop everything.

    Returns
    -------
    chromadb.api.ClientAPI
        It keeps the store open.
    """
    opened = db if isinstance(db, Database) else connect(db)
    return _Client(opened, tenant, database, allow_reset)


class _Client(_HttpClient):
    def __init__(self, db: Database, tenant: str, database: str, allow_reset: bool) -> None:
        # The host is never looked up: it only makes URLs that are taken apart again by the transport.
        settings = Settings(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host="localhost",
            chroma_server_http_port=8000,
            anonymized_telemetry=False,
            allow_reset=allow_reset,
        )
        system = System(settings)
        server = system.instance(ServerAPI)
        _take_over(server, db, allow_reset=allow_reset)
        system.start()
        self._identifier = f"drumlin:{uuid.uuid4()}"
        SharedSystemClient._identifier_to_system[self._identifier] = system
        admin = AdminClient.__new__(AdminClient)
        admin._identifier, admin._server = self._identifier, server
        for _ in (self, admin):
            SharedSystemClient._increment_refcount(self._identifier)
        self._server, self._admin_client, self.tenant, self.database = server, admin, tenant, database
        try:
            self._validate_tenant_database(tenant=tenant, database=database)
        except Exception:
            self.close()
            raise


def _take_over(server: FastAPI, db: Database, *, allow_reset: bool) -> None:
    """Let Chroma's code that speaks HTTP use the routes of ``db`` within this process; :func:`Client` is made so."""
    session: httpx.Client = server._session
    transport = _InProcess(db, allow_reset)
    server._session = httpx.Client(transport=transport, headers=session.headers, timeout=None, trust_env=False)
    session.close()


class _InProcess(httpx.BaseTransport):
    """Hands requests to the routes within this process."""

    def __init__(self, db: Database, allow_reset: bool) -> None:
        self._db, self._allow_reset = db, allow_reset
        self._made: tuple[int, Routes] | None = None

    def _routes(self) -> Routes:
        if self._made is None or self._made[0] != os.getpid():
            self._made = os.getpid(), Routes(self._db._store, self._allow_reset)
        return self._made[1]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        target = request.url.raw_path.decode("ascii")
        answer: tuple[int, list[tuple[bytes, bytes]], bytes] = (
            self._routes().call(request.method, target, list(request.headers.raw), request.read()).wait()
        )
        status, headers, body = answer
        return httpx.Response(status, headers=headers, content=body)
