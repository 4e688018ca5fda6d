"""Clients that speak `/api/v1`, which Chroma dropped: the last Python and JavaScript ones that do, and requests as they
are sent. What Chroma 0.5.23's own server answered to all of it lies in older/answers.

CHROMA_0_5 is the program `chroma` of older/server_requirements.txt: with it, that server is asked again, and must
answer what is recorded. RECORD=1 records it anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from differential.comparison import difference
from differential.wire import Answer, Request, Wire
from drumlin import Drumlin
from older.requests_of_v1 import DIFFERENCES, REQUESTS
from server_process import ServerProcess

OLDER = Path(__file__).resolve().parent / "older"
ANSWERS = OLDER / "answers"
CHROMA_0_5 = os.environ.get("CHROMA_0_5")


class OldChromaServer(ServerProcess):
    """Chroma's server of version 0.5.23."""

    ready_path = "/api/v1/heartbeat"

    def command(self) -> list[str]:
        return [str(CHROMA_0_5), "run", "--path", str(self.folder / "data"), "--port", str(self.port)]

    def environment(self) -> dict[str, str]:
        quiet = {"ANONYMIZED_TELEMETRY": "False", "ALLOW_RESET": "TRUE"}
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), **quiet}


@pytest.fixture
def drumlin(tmp_path: Path) -> Iterator[Drumlin]:
    server = Drumlin(tmp_path / "server", {"ALLOW_RESET": "TRUE", "DRUMLIN_DATA": str(tmp_path / "bucket")})
    yield server.start()
    server.close()
    assert "panicked at" not in server.output(), server.output()[-3000:]


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Python's client in an environment of its own, as the newer one has the same name."""
    folder = tmp_path_factory.mktemp("older") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
    program = str(folder / "bin" / "python")
    install = ["-m", "pip", "--quiet", "install", "--no-compile", "--requirement", str(OLDER / "requirements.txt")]
    subprocess.run([program, *install], check=True, timeout=300)
    return [program, str(OLDER / "walk_through.py")]


@pytest.fixture(scope="session")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("older-javascript")
    for file in (OLDER / "js").glob("*.*"):
        (folder / file.name).write_bytes(file.read_bytes())
    options = ["--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(["npm", "ci", *options], cwd=folder, check=True, timeout=300)
    return ["node", str(folder / "walk_through.mjs")]


def told(command: list[str], server: ServerProcess) -> dict[str, Any]:
    """What a client's calls answered, by their names."""
    quiet = {**os.environ, "ANONYMIZED_TELEMETRY": "False"}
    ended = subprocess.run([*command, str(server.port)], capture_output=True, text=True, timeout=120, env=quiet)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout)


def recorded(name: str, now: Any = None) -> Any:
    """The answers of Chroma 0.5.23."""
    file = ANSWERS / f"{name}.json"
    if now is not None and os.environ.get("RECORD"):
        file.write_text(json.dumps(now, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return json.loads(file.read_text())


def compared(answers: dict[str, Any]) -> dict[str, Any]:
    """Without the calls in which both are meant to differ."""
    return {name: answer for name, answer in answers.items() if not name.endswith("*")}


def test_the_older_python_client_gets_the_answers_of_its_own_server(python: list[str], drumlin: Drumlin) -> None:
    ours = told(python, drumlin)
    assert compared(ours) == compared(recorded("python"))
    assert ours["peek*"]["ids"] == ["oak", "pine"]
    assert ours["query without a filter*"]["ids"] == [["oak"]]


def test_the_older_javascript_client_gets_the_answers_of_its_own_server(
    javascript: list[str], drumlin: Drumlin
) -> None:
    ours = told(javascript, drumlin)
    assert compared(ours) == compared(recorded("javascript"))
    assert ours["delete by ids*"] == ["fern"] and ours["delete by a filter*"] == ["moss"]
    assert ours["add of another dimension*"] == {"error": "InvalidDimension"}


def sent(server: ServerProcess) -> tuple[list[Answer], Wire]:
    wire = Wire(server.url)
    return [wire.send(request) for request in REQUESTS], wire


def alike(answer: Answer) -> Answer:
    """An answer without what depends on the machine, or has no order."""
    body = answer.json()
    if isinstance(body, dict) and isinstance(body.get("included"), list):
        body["included"].sort()
    for each in body if isinstance(body, list) else [body]:
        if isinstance(each, dict) and "configuration_json" in each:
            hnsw = each["configuration_json"]["hnsw_configuration"]
            # Ours shows the newer server's default.
            hnsw["num_threads"], hnsw["ef_search"] = 1, 10
    text = answer.text if body is None and answer.text != "null" else json.dumps(body, sort_keys=True)
    return Answer(answer.status, answer.kind, text)


def differs(request: Request, theirs: tuple[Answer, Wire], ours: tuple[Answer, Wire]) -> str | None:
    what = difference(request, (alike(theirs[0]), theirs[1]), (alike(ours[0]), ours[1]))
    if not request.edge:
        return what
    status = DIFFERENCES[request.edge][0]
    expected = theirs[0].status if status is None else status
    if ours[0].status != expected:
        return f"status: expected {expected}, ours {ours[0].status}"
    return None if what else "named as a difference, and there is none"


def replayed() -> tuple[list[Answer], Wire]:
    record = recorded("http")
    wire = Wire("http://127.0.0.1")
    wire.ids.update(record["ids"])
    return [Answer(**each["answer"]) for each in record["exchanges"]], wire


def differences(theirs: tuple[list[Answer], Wire], ours: tuple[list[Answer], Wire]) -> list[str]:
    found = []
    for request, their, our in zip(REQUESTS, theirs[0], ours[0], strict=True):
        if what := differs(request, (their, theirs[1]), (our, ours[1])):
            found.append(f"{request.method} {request.path} {request.body}: {what}\n  theirs {their}\n  ours   {our}")
    return found


def test_every_request_is_answered_as_chroma_0_5_23_did_or_as_is_told(drumlin: Drumlin) -> None:
    found = differences(replayed(), sent(drumlin))
    assert not found, "\n".join(found)
    assert {request.edge for request in REQUESTS} - {""} == set(DIFFERENCES), "each is shown by some request"


@pytest.mark.skipif(CHROMA_0_5 is None, reason="CHROMA_0_5 names no program")
def test_the_recorded_answers_are_those_of_chroma_0_5_23(
    python: list[str], javascript: list[str], tmp_path: Path
) -> None:
    server = OldChromaServer(tmp_path / "theirs").start()
    try:
        for name, command in (("python", python), ("javascript", javascript)):
            answers = told(command, server)
            assert answers == recorded(name, answers)
        assert server.client.post("/api/v1/reset").status_code == 200
        answers, wire = sent(server)
        pairs = zip(REQUESTS, answers, strict=True)
        exchanges = [{"request": f"{request.method} {request.path}", "answer": vars(each)} for request, each in pairs]
        recorded("http", {"ids": wire.ids, "exchanges": exchanges})
        again = replayed()
    finally:
        server.close()
    for request, now, then in zip(REQUESTS, answers, again[0], strict=True):
        # The number of records in a batch depends on the SQLite of the machine.
        what = None if request.edge == "limits" else difference(request, (alike(then), again[1]), (alike(now), wire))
        assert what is None, f"{request.method} {request.path}: {what}"
