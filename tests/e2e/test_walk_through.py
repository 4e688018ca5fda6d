"""The commands of README and the book, typed as printed. Every section (`##`) with a `sh` block that has `curl` in it
gets a server of its own; its blocks with `drumlin model` are typed too, so that the model is there. A `json` block right after a `sh` block is the answer its last command has to give; "…" in it
stands for any value, and numbers agree to a thousandth."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from drumlin import ROOT, Drumlin, binary

README_PORT = 8000
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANYTHING = "…"
# With pip, and with the program under its name, as on a newcomer's machine.
TOOLS = f"{Path(sys.executable).parent}:{binary().parent}"
ENVIRONMENT = os.environ | {"PATH": f"{TOOLS}:{os.environ['PATH']}", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
# Sections whose server is not started plainly.
FLAGS = {("docs/getting-started.md", "Demo"): ("--demo",)}


@dataclass(frozen=True)
class Step:
    """A block of commands and what the last of them answers, if the page says."""

    commands: str
    answer: Any


@dataclass(frozen=True)
class Section:
    """A section of a page with the steps in it; the heading is empty above the first."""

    page: str
    heading: str
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return f"{self.page}: {self.heading}"


def steps_of(body: str) -> Iterator[Step]:
    blocks = BLOCK.findall(body)
    for (language, commands), (next_language, answer) in pairwise([*blocks, ("", "")]):
        if language == "sh" and ("curl" in commands or "drumlin model" in commands):
            yield Step(commands, json.loads(answer) if next_language == "json" else None)


def sections() -> list[Section]:
    """Every section with something to type, of README and of all pages of the book."""
    found = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        page = path.relative_to(ROOT).as_posix()
        above, *rest = re.split(r"^## (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for heading, body in [("", above), *zip(rest[::2], rest[1::2], strict=True)]:
            steps = tuple(steps_of(body))
            if any("curl" in step.commands for step in steps):
                found.append(Section(page, heading.strip(), steps))
    return found


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


def take(steps: tuple[Step, ...], folder: Path) -> None:
    for step in steps:
        shell = ["bash", "-euc", step.commands]
        typed = subprocess.run(shell, capture_output=True, text=True, timeout=180, cwd=folder, env=ENVIRONMENT)
        assert typed.returncode == 0, f"{step.commands}\n{typed.stderr}"
        if step.answer is not None:
            found = last_json(typed.stdout)
            assert agrees(found, step.answer), f"{step.commands}\nanswered {found}\nthe page says {step.answer}"


def last_json(text: str) -> Any:
    """The last of the JSON values that stand one after the other; curl puts nothing between them."""
    decoder, at, value = json.JSONDecoder(), 0, None
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError:
            # Something else, such as a file's text: JSON may begin behind it.
            value, at = None, at + 1
    return value


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[..., Drumlin]]:
    """A server as a newcomer starts it: nothing configured, in an empty folder, on the port that README names."""
    server = Drumlin(tmp_path / "clone", port=README_PORT)

    def fresh(*arguments: str) -> Drumlin:
        server.arguments = arguments
        return server.start()

    yield fresh
    server.close()


def wait_for_the_demo(server: Drumlin) -> None:
    deadline = time.monotonic() + 30
    while "curl" not in server.output():  # the server prints a line to paste once the sentences are there
        assert time.monotonic() < deadline, server.output()
        time.sleep(0.1)


@pytest.mark.parametrize("section", sections(), ids=str)
def test_every_command_answers_as_printed(section: Section, fresh: Callable[..., Drumlin]) -> None:
    flags = FLAGS.get((section.page, section.heading), ())
    server = fresh(*flags)
    if "--demo" in flags:
        wait_for_the_demo(server)
    take(section.steps, server.folder)
    assert (server.folder / "drumlin-data" / "drumlin.json").exists()


def test_the_pages_have_what_is_to_be_typed() -> None:
    typed = {(section.page, section.heading): section.steps for section in sections()}
    assert FLAGS.keys() <= typed.keys()
    for page, heading, commands, answers in [
        ("README.md", "Try it", 5, 3),
        ("README.md", "With texts", 3, 1),
        ("docs/getting-started.md", "Walk-through", 11, 9),
        ("docs/getting-started.md", "Demo", 1, 1),
        ("docs/http-api.md", "Search", 4, 2),
        ("docs/http-api.md", "Filters", 5, 3),
        ("docs/files.md", "Try it", 4, 2),
        ("docs/files.md", "Results of jobs", 3, 2),
    ]:
        steps = typed[page, heading]
        assert sum(step.commands.count("curl") for step in steps) >= commands, f"{page}: {heading}"
        assert sum(step.answer is not None for step in steps) >= answers, f"{page}: {heading}"
