"""Agents: the official Python and TypeScript clients of the Model Context Protocol call every tool over both
transports, and many `drumlin mcp` processes share one bucket while some are killed.

DRUMLIN_E2E_KILLS sets the number of kills (20), DRUMLIN_E2E_SEED the seed of the agents and kills."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import Place
from drumlin import Drumlin, binary
from mcp import Client, StdioServerParameters

SEED = int(os.environ.get("DRUMLIN_E2E_SEED", str(random.randrange(1 << 32))))
KILLS = int(os.environ.get("DRUMLIN_E2E_KILLS", "20"))
AGENTS = 8
# How many calls all agents get done before one of them is killed.
CALLS_PER_KILL = 16
JAVASCRIPT = Path(__file__).resolve().parent / "agents_js"
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "agent", "version": "1"}}
TOOLS = ["remember", "search", "read", "update", "forget", "list_collections"]


def environment(settings: dict[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **settings}


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer
    assert json.loads(answer.content[0].text) == answer.structured_content
    return answer.structured_content


async def use_everything(client: Client, collection: str) -> None:
    """Lists and calls every tool, lists and reads every kind of resource."""
    assert client.server_info.name == "drumlin" and "memory" in client.instructions
    assert [tool.name for tool in (await client.list_tools()).tools] == TOOLS
    texts = [
        {"text": "Pytest runs the tests.", "id": "pytest", "metadata": {"year": 2026, "tags": ["tests", "python"]}},
        {"text": "Foxes are quick."},
    ]
    stored = await call(client, "remember", texts=texts, collection=collection, description="Of a client.")
    assert stored["remembered"] == 2 and stored["made_collection"] is True
    query = {"query": "which tests?", "filter": {"tags": {"$contains": "python"}}, "k": 3, "mode": "words"}
    found = await call(client, "search", collection=collection, **query)
    assert [result["id"] for result in found["results"]] == ["pytest"]
    update = {"id": "pytest", "text": "Pytest 9 runs the tests.", "metadata": {"year": None}}
    await call(client, "update", updates=[update], collection=collection)
    read = await call(client, "read", ids=["pytest"], collection=collection)
    expected = {"id": "pytest", "text": "Pytest 9 runs the tests.", "metadata": {"tags": ["tests", "python"]}}
    assert read["records"] == [expected]
    assert (await call(client, "forget", ids=[stored["ids"][1]], collection=collection))["forgotten"] == 1
    (told,) = [told for told in (await call(client, "list_collections"))["collections"] if told["name"] == collection]
    assert (told["texts"], told["description"]) == (1, "Of a client.")

    refused = await client.call_tool("forget", {"collection": collection})
    assert refused.is_error and "nothing was deleted" in refused.content[0].text
    (resource,) = [known for known in (await client.list_resources()).resources if known.name == collection]
    (content,) = (await client.read_resource(resource.uri)).contents
    assert json.loads(content.text)["metadata_keys"] == {"tags": ["string"], "year": ["int"]}
    assert len((await client.list_resource_templates()).resource_templates) == 1


def of_bucket(settings: dict[str, str]) -> StdioServerParameters:
    return StdioServerParameters(command=str(binary()), args=["mcp"], env=environment(settings))


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_the_python_client_calls_every_tool(place: Place, start: Callable[..., Drumlin], mode: str) -> None:
    async def over(server: Any, collection: str) -> None:
        async with Client(server, mode=mode) as client:
            await use_everything(client, collection)

    server = start(place.settings)
    asyncio.run(over(f"{server.url}/mcp", "by-http"))
    asyncio.run(over(of_bucket(place.settings), "by-stdio"))
    server.kill()
    server.start()
    told = {told["name"]: told["count"] for told in server.call("GET", "/api/collections", consistency="strong")}
    assert told == {"by-http": 1, "by-stdio": 1}


def test_the_typescript_client_calls_every_tool(tmp_path: Path, place: Place, start: Callable[..., Drumlin]) -> None:
    folder = tmp_path / "js"
    shutil.copytree(JAVASCRIPT, folder, ignore=shutil.ignore_patterns("node_modules"))
    options = ["--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(["npm", "ci", *options], cwd=folder, check=True, timeout=300)
    server = start(place.settings)
    for target in (["http", f"{server.url}/mcp"], ["stdio", str(binary()), "mcp"]):
        ended = subprocess.run(
            ["node", "call_tools.mjs", *target],
            cwd=folder,
            env=environment(place.settings),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        server.call("DELETE", "/api/collections/typescript")


def test_standard_output_has_messages_only_and_the_end_of_input_ends_the_process(tmp_path: Path) -> None:
    messages = [
        {"method": "initialize", "params": HELLO},
        {"method": "tools/call", "params": {"name": "remember", "arguments": {"texts": [{"text": "the last words"}]}}},
    ]
    lines = [json.dumps({"jsonrpc": "2.0", "id": number, **message}) for number, message in enumerate(messages)]
    settings = environment({"DRUMLIN_LOG": "rmcp=info"})
    command = [str(binary()), "mcp", "--data", str(tmp_path / "bucket")]
    sent = "".join(f"{line}\n" for line in lines)
    ended = subprocess.run(command, input=sent, env=settings, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == [0, 1], "a call under way is answered before the process ends"
    assert answers[1]["result"]["isError"] is False
    assert "rmcp" in ended.stderr


@dataclass
class Agent:
    """One `drumlin mcp` process at a time, started again after each kill. What was acknowledged is kept here; a call
    that a kill cut off may or may not have happened."""

    number: int
    settings: dict[str, str]
    process: asyncio.subprocess.Process | None = None
    next_id: int = 0
    acknowledged: dict[str, str] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    unsettled: dict[str, str] = field(default_factory=dict)
    calls: int = 0
    searches: int = 0
    kills: int = 0

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            str(binary()),
            "mcp",
            env=environment(self.settings),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=1 << 24,
        )
        await self.ask("initialize", HELLO)

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result of a request; ConnectionError if the process ends before it answers."""
        assert self.process and self.process.stdin and self.process.stdout
        self.next_id += 1
        message = {"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params}
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        await self.process.stdin.drain()
        line = await self.process.stdout.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("killed")
        answer = json.loads(line)
        assert answer["id"] == self.next_id, answer
        return answer["result"]

    async def tool(self, name: str, **arguments: Any) -> dict[str, Any]:
        result = await self.ask("tools/call", {"name": name, "arguments": arguments})
        if result["isError"]:
            raise RuntimeError(result["content"][0]["text"])
        return result["structuredContent"]

    async def live(self, stopped: asyncio.Event, chance: random.Random) -> None:
        step = 0
        while not stopped.is_set():
            step += 1
            try:
                if self.process is None:
                    await self.start()
                await self.act(step, chance)
                self.calls += 1
            except ConnectionError:
                await self.process.wait()
                self.process = None
            except RuntimeError as error:
                assert "again" in str(error), error

    async def act(self, step: int, chance: random.Random) -> None:
        if step % 4 == 3 and self.acknowledged:
            await self.search(chance)
        elif step % 10 == 9 and self.acknowledged:
            name = chance.choice(list(self.acknowledged))
            self.unsettled[name] = self.acknowledged.pop(name)
            await self.tool("forget", ids=[name])
            self.forgotten.add(name)
            del self.unsettled[name]
        else:
            name, text = f"a{self.number}-{step}", f"agent {self.number} says word{self.number}x{step}"
            self.unsettled[name] = text
            await self.tool("remember", texts=[{"text": text, "id": name}])
            self.acknowledged[name] = self.unsettled.pop(name)

    async def search(self, chance: random.Random) -> None:
        """Finds again what was acknowledged, in spite of everybody's writes."""
        name = chance.choice(list(self.acknowledged))
        found = await self.tool("search", query="+" + self.acknowledged[name].split()[-1])
        assert [result["id"] for result in found["results"]] == [name], found
        self.searches += 1

    def kill(self) -> None:
        if self.process and self.process.returncode is None:
            self.process.kill()
            self.kills += 1


async def share(settings: dict[str, str]) -> list[Agent]:
    """Lets the agents live until so many of them were killed."""
    agents = [Agent(number, settings) for number in range(AGENTS)]
    stopped, chance = asyncio.Event(), random.Random(SEED)
    async with asyncio.TaskGroup() as running:
        for agent in agents:
            running.create_task(agent.live(stopped, random.Random(SEED + agent.number)))
        for kill in range(1, KILLS + 1):
            # On a busy machine a process takes seconds to start: kills go by what the agents get done.
            while sum(agent.calls for agent in agents) < kill * CALLS_PER_KILL:
                await asyncio.sleep(0.02)
            chance.choice([agent for agent in agents if agent.process]).kill()
        stopped.set()
    for process in [agent.process for agent in agents if agent.process]:
        if process.returncode is None:
            process.kill()
        await process.wait()
    return agents


def test_eight_processes_on_one_bucket_lose_nothing_that_was_acknowledged(
    place: Place, start: Callable[..., Drumlin]
) -> None:
    settings = {**place.settings, "DRUMLIN_FLUSH_COMMITS": "32", "S3_SYNC_INTERVAL": "1"}
    agents = asyncio.run(share(settings))
    server = start(settings)
    held = {name: record["document"] for name, record in server.records("memory").items()}
    for agent in agents:
        lost = {name for name, text in agent.acknowledged.items() if held.get(name) != text}
        assert not lost, f"seed {SEED}: agent {agent.number} lost {lost}"
        assert not agent.forgotten & held.keys(), f"seed {SEED}: what was forgotten is back"
    known = {name: text for agent in agents for name, text in {**agent.acknowledged, **agent.unsettled}.items()}
    assert held.items() <= known.items(), "what was never sent is there"
    kills, searches = sum(agent.kills for agent in agents), sum(agent.searches for agent in agents)
    cut_off = sum(len(agent.unsettled) for agent in agents)
    counts = f"{kills} kills, {cut_off} calls cut off, {searches} searches; {len(held)} texts at the end"
    print(f"\nseed {SEED}: {counts}; none lost")
    assert kills and searches > AGENTS
    verify = [str(binary()), "verify"]
    verified = subprocess.run(verify, env=environment(settings), capture_output=True, text=True, timeout=120)
    assert verified.returncode == 0, verified.stdout + verified.stderr
