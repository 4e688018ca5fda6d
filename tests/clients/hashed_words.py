"""An embedding that needs no model: words are hashed (FNV-1a) into 32 counters, the counts normalised. The JavaScript
twin is js/hashed_words.mjs; both give a text the same vector."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from chromadb.utils.embedding_functions import register_embedding_function
from chromadb.api.types import Documents, EmbeddingFunction, Embeddings, Space
from langchain_core.embeddings import Embeddings as LangChainEmbeddings

DIMENSION = 32


def fnv1a(word: str) -> int:
    value = 0x811C9DC5
    for byte in word.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def embed(text: str) -> list[float]:
    counts = np.zeros(DIMENSION)
    for word in re.findall(r"[a-z0-9]+", text.lower()):
        counts[fnv1a(word) % DIMENSION] += 1
    return (counts / (np.linalg.norm(counts) or 1)).tolist()


@register_embedding_function
class HashedWords(EmbeddingFunction[Documents]):
    """The embedding as Chroma's clients take it. They store its name and configuration with the collection, and make
    it anew from them."""

    def __init__(self, note: str = "") -> None:
        self.note = note

    def __call__(self, input: Documents) -> Embeddings:
        return [np.array(embed(text), dtype=np.float32) for text in input]

    @staticmethod
    def name() -> str:
        return "hashed-words"

    def get_config(self) -> dict[str, Any]:
        return {"note": self.note}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> HashedWords:
        return HashedWords(config["note"])

    def default_space(self) -> Space:
        return "cosine"


class LangChainHashedWords(LangChainEmbeddings):
    """The same for LangChain."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [embed(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return embed(text)
