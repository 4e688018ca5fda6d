"""Models in the bucket and collections that embed texts with them, through the program: across kill -9, on several
servers, and with every tool that moves or checks data. The model is a small random one; equal texts are nearest."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import Place, folder_place
from drumlin import ROOT, Drumlin, binary
from test_tools import tool

TINY = ROOT / "data-fixtures" / "tiny-bert"
TEXTS = {"river": "a green river", "stone": "stones, light stones", "house": "greenhouse"}


def nearest(server: Drumlin, collection: str, text: str) -> dict[str, Any]:
    return server.search(collection, {"text": text, "mode": "meaning", "k": 1})[0]


def filled(server: Drumlin, name: str = "notes") -> None:
    server.create(name, embedder={"model": "tiny"})
    server.add(name, [{"id": id, "document": text} for id, text in TEXTS.items()])


def test_texts_survive_a_kill_and_every_server_embeds(start: Callable[..., Drumlin], place: Place) -> None:
    assert "16 dimensions" in tool(place, "model", "add", str(TINY), "--name", "tiny")
    assert json.loads(tool(place, "model", "list", "--json"))["dimension"] == 16
    one, two = start(place.settings), start(place.settings)
    filled(one)
    one.kill()
    assert two.call("GET", "/api/collections/notes", consistency="strong")["embedder"] == {"model": "tiny"}
    for id, text in TEXTS.items():
        assert (hit := nearest(two, "notes", text))["id"] == id and hit["distance"] < 1e-4
    two.call("POST", "/api/collections/notes/update", {"records": [{"id": "house", "document": "light"}]})
    two.kill()
    one.start()
    assert nearest(one, "notes", "light")["id"] == "house"
    assert "sound" in tool(place, "verify")


def test_tools_keep_embedders_and_models(start: Callable[..., Drumlin], tmp_path: Path) -> None:
    place, other = folder_place(tmp_path / "bucket"), folder_place(tmp_path / "copy")
    tool(place, "model", "add", str(TINY), "--name", "tiny")
    server = start(place.settings)
    filled(server)
    server.create("words", dimension=0)
    server.add("words", [{"id": "a", "document": "a green river"}])
    server.stop()
    tool(place, "fork", "--collection", "notes", "--as", "twin")
    tool(place, "restore", "--collection", "notes", "--at", "1", "--as", "before")
    file = tmp_path / "notes.parquet"
    tool(place, "export", "--collection", "notes", "--to", str(file))
    tool(place, "import", "parquet", str(file), "--collection", "again")
    assert "1 models" in tool(place, "copy", "--to-data", str(tmp_path / "copy"))
    assert "sound" in tool(place, "verify")
    assert "sound" in tool(other, "verify")
    for where, names in ((place, ("notes", "twin", "before", "again")), (other, ("notes", "twin", "before", "again"))):
        server = start(where.settings)
        for name in names:
            assert server.call("GET", f"/api/collections/{name}")["embedder"] == {"model": "tiny"}, name
            assert nearest(server, name, TEXTS["stone"])["id"] == "stone", name
        assert server.search("words", {"text": "rivers"})[0]["id"] == "a"
        server.stop()
    # A copy of one collection brings its model along.
    alone = folder_place(tmp_path / "alone")
    tool(place, "copy", "--to-data", str(tmp_path / "alone"), "--collection", "twin")
    assert "tiny" in tool(alone, "model", "list")
    tool(place, "model", "remove", "tiny")
    assert "no models" in tool(place, "model", "list")
    assert "sound" in tool(place, "verify")


def test_what_is_no_model_is_refused_with_a_sentence(tmp_path: Path) -> None:
    place = folder_place(tmp_path / "bucket")
    assert "config.json" in refusal(place, "model", "add", str(tmp_path))
    cut = tmp_path / "cut"
    cut.mkdir()
    for path in TINY.iterdir():
        body = path.read_bytes()
        (cut / path.name).write_bytes(body[: len(body) // 2] if path.suffix == ".safetensors" else body)
    assert "weights" in refusal(place, "model", "add", str(cut)) or "safetensors" in refusal(place, "model", "add", str(cut))
    assert "letters, digits" in refusal(place, "model", "add", str(TINY), "--name", "a/b")
    assert "cannot be read" in refusal(place, "model", "add", str(tmp_path / "absent"))
    assert "no model" in refusal(place, "model", "remove", "absent")


def refusal(place: Place, *arguments: str) -> str:
    """What a command says that is refused."""
    environment = {"PATH": os.environ["PATH"], **place.settings}
    done = subprocess.run([binary(), *arguments], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode not in (0, 101), f"{arguments}: {done.stdout}"
    return done.stderr
