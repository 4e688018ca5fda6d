"""The official JavaScript client (npm), and the Python client on what it wrote."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import chromadb
import pytest
from conftest import TARGET
from hashed_words import HashedWords
from server_process import ServerProcess

SOURCES = Path(__file__).resolve().parent / "js"


@pytest.fixture(scope="session")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of js/ with the packages of its lock file installed."""
    folder = tmp_path_factory.mktemp("javascript") / "js"
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("node_modules"))
    options = ["--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(["npm", "ci", *options], cwd=folder, check=True, timeout=300)
    return folder


def run(javascript: Path, script: str, phase: str, server: ServerProcess) -> None:
    command = ["node", script, phase, str(server.port)]
    ended = subprocess.run(command, cwd=javascript, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_javascript_client_works_across_kill_9(javascript: Path, server: ServerProcess) -> None:
    run(javascript, "walk_through.mjs", "write", server)
    run(javascript, "walk_through.mjs", "check", server)
    server.kill()
    server.start()
    run(javascript, "walk_through.mjs", "check", server)

    plants = chromadb.HttpClient(host="127.0.0.1", port=server.port).get_collection("plants")
    assert isinstance(plants.configuration["embedding_function"], HashedWords)
    found = plants.query(query_texts=["a tall tree with needles"], n_results=1)
    assert found["ids"] == [["pine"]] and found["distances"][0][0] == pytest.approx(0, abs=1e-6)
    assert plants.get(ids=["rose"])["metadatas"] == [{"kind": "shrub", "height": 2, "cut": True}]


@pytest.mark.skipif(TARGET == "chroma", reason="its local server does not search")
def test_the_javascript_client_searches_by_words_sparse_vectors_and_both_at_once(
    javascript: Path, server: ServerProcess
) -> None:
    run(javascript, "search.mjs", "write", server)
    server.kill()
    server.start()
    run(javascript, "search.mjs", "check", server)
