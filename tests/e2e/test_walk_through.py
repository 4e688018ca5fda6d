"""README's commands, typed as printed. A `json` block right after a `sh` block is the answer its last command has to
give; "…" in it stands for any value, and numbers agree to a thousandth."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from drumlin import ROOT, Drumlin

README_PORT = 8000
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANYTHING = "…"


@dataclass(frozen=True)
class Step:
    """A block of commands and what the last of them answers, if README says."""

    commands: str
    answer: Any


def walk_through(section: str) -> list[Step]:
    """The curl blocks under one heading of README.md."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    body = re.split(rf"^## {re.escape(section)}$", text, flags=re.MULTILINE)[1]
    blocks = BLOCK.findall(re.split(r"^## ", body, flags=re.MULTILINE)[0])
    steps = []
    for (language, commands), (next_language, answer) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "sh" and "curl" in commands:
            steps.append(Step(commands, json.loads(answer) if next_language == "json" else None))
    return steps


def agrees(found: Any, printed: Any) -> bool:
    if printed == ANYTHING:
        return True
    if isinstance(printed, dict) and isinstance(found, dict):
        return found.keys() == printed.keys() and all(agrees(found[key], printed[key]) for key in printed)
    if isinstance(printed, list) and isinstance(found, list):
        return len(found) == len(printed) and all(map(agrees, found, printed))
    if isinstance(printed, float):
        return type(found) in (int, float) and found == pytest.approx(printed, abs=1e-3)
    return type(found) is type(printed) and found == printed


def take(steps: list[Step]) -> None:
    for step in steps:
        typed = subprocess.run(["bash", "-euc", step.commands], capture_output=True, text=True, timeout=60)
        assert typed.returncode == 0, f"{step.commands}\n{typed.stderr}"
        if step.answer is not None:
            found = json.loads(typed.stdout.strip().splitlines()[-1])
            assert agrees(found, step.answer), f"{step.commands}\nanswered {found}\nREADME says {step.answer}"


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[..., Drumlin]]:
    """A server as a newcomer starts it: nothing configured, in an empty folder, on the port that README names."""
    server = Drumlin(tmp_path / "clone", port=README_PORT)

    def fresh(*arguments: str) -> Drumlin:
        server.arguments = arguments
        return server.start()

    yield fresh
    server.close()


def test_the_walk_through_answers_as_printed(fresh: Callable[..., Drumlin]) -> None:
    server = fresh()
    steps = walk_through("Walk-through")
    assert sum(step.commands.count("curl") for step in steps) >= 6
    assert sum(step.answer is not None for step in steps) >= 4
    take(steps)
    assert (server.folder / "drumlin-data" / "drumlin.json").exists()


def test_the_demo_answers_as_printed(fresh: Callable[..., Drumlin]) -> None:
    server = fresh("--demo")
    deadline = time.monotonic() + 30
    while "curl" not in server.output():  # the server prints a line to paste once the sentences are there
        assert time.monotonic() < deadline, server.output()
        time.sleep(0.1)
    steps = walk_through("Demo")
    assert steps
    take(steps)
