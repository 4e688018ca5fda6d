"""chroma-mcp: the tools that give language models a Chroma server, over stdio."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from server_process import ServerProcess

PROGRAM = Path(__file__).resolve().parent / "chroma_mcp_offline.py"
Call = Callable[..., Awaitable[Any]]


async def with_tools(server: ServerProcess, use: Callable[[Call], Awaitable[None]]) -> None:
    """Starts chroma-mcp on the server and hands over what calls its tools."""
    options = ["--client-type", "http", "--host", "127.0.0.1", "--port", str(server.port), "--ssl", "false"]
    path = os.pathsep.join([str(PROGRAM.parent), str(PROGRAM.parent.parent / "e2e")])
    parameters = StdioServerParameters(
        command=sys.executable,
        args=[str(PROGRAM), *options],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path},
    )
    async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
        await session.initialize()

        async def call(tool: str, **arguments: Any) -> Any:
            answer = await session.call_tool(f"chroma_{tool}", arguments)
            texts = [content.text for content in answer.content]
            assert not answer.isError, texts
            return texts

        await use(call)


async def fill(call: Call) -> None:
    await call("create_collection", collection_name="notes", metadata={"owner": "tests"})
    assert await call("list_collections") == ["notes"]
    await call(
        "add_documents",
        collection_name="notes",
        ids=["a", "b", "c"],
        documents=["the cat sleeps", "a dog runs", "an owl hunts"],
        metadatas=[{"legs": 4}, {"legs": 4}, {"legs": 2}],
    )
    await call("update_documents", collection_name="notes", ids=["b"], documents=["a dog swims"])
    await call("delete_documents", collection_name="notes", ids=["c"])
    await call("modify_collection", collection_name="notes", new_name="diary")


async def look(call: Call) -> None:
    assert await call("list_collections") == ["diary"]
    assert await call("get_collection_count", collection_name="diary") == ["2"]
    (info,) = await call("get_collection_info", collection_name="diary")  # Python's notation, not JSON
    assert "'name': 'diary', 'count': 2" in info
    (got,) = map(json.loads, await call("get_documents", collection_name="diary", where={"legs": 4}))
    assert (got["ids"], got["documents"]) == (["a", "b"], ["the cat sleeps", "a dog swims"])
    query = {"query_texts": ["dog swims"], "n_results": 1, "where": {"legs": {"$gt": 3}}}
    (found,) = map(json.loads, await call("query_documents", collection_name="diary", **query))
    assert found["ids"] == [["b"]]


def test_the_tools_work_across_kill_9(server: ServerProcess) -> None:
    asyncio.run(with_tools(server, fill))
    asyncio.run(with_tools(server, look))
    server.kill()
    server.start()
    asyncio.run(with_tools(server, look))
