"""Hits that are near the query and unlike each other (maximal marginal relevance)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def diverse(query: NDArray[np.float32], candidates: NDArray[np.float32], k: int, weight: float) -> list[int]:
    """The places of ``k`` rows of ``candidates`` (n × d), in the order they were chosen.

    Each is the one whose ``weight × cos(query) − (1 − weight) × max cos(chosen before)`` is greatest.
    """
    if not len(candidates):
        return []
    rows = candidates / np.maximum(np.linalg.norm(candidates, axis=1, keepdims=True), 1e-12)
    relevance = rows @ (query / max(float(np.linalg.norm(query)), 1e-12))
    chosen = [int(np.argmax(relevance))]
    likeness = rows @ rows[chosen[0]]
    while len(chosen) < min(k, len(rows)):
        score = weight * relevance - (1 - weight) * likeness
        score[chosen] = -np.inf
        chosen.append(int(np.argmax(score)))
        likeness = np.maximum(likeness, rows @ rows[chosen[-1]])
    return chosen[:k]
