"""Runs the tests of Chroma's own client, which its package brings along, on `drumlin.chroma` within this process.

    pip install ./python -r python/tests/chroma_suite_requirements.txt
    python python/tests/chroma_suite.py

Further arguments go to pytest, such as `-k query`. The tests that take a client of a server run, unless `NOT_OURS`
names them; those of Chroma's servers, clusters, embedding models and configuration objects are left out, as they meet
nothing of Drumlin. The default embedding function, which would download a model, counts hashed words instead."""

from __future__ import annotations

import os
import sys
import types
import zlib
from pathlib import Path
from typing import Any

# Chroma's conftest then has clients of a running server alone.
os.environ["CHROMA_INTEGRATION_TEST_ONLY"] = "1"
os.environ["CHROMA_SERVER_HOST"], os.environ["CHROMA_SERVER_HTTP_PORT"] = "localhost", "8000"
# Its old server in Python, which conftest imports, needs packages that nothing else does.
sys.modules["chromadb.server.fastapi"] = types.ModuleType("chromadb.server.fastapi")

import chromadb
import httpx
import numpy as np
import pytest
from chromadb.api.fastapi import FastAPI
from chromadb.utils.embedding_functions.onnx_mini_lm_l6_v2 import ONNXMiniLM_L6_V2

import drumlin
import drumlin.chroma

SUITE = Path(chromadb.__file__).parent / "test"
# Modules that cannot be imported without packages that only they need, and folders of tests that take no client.
LEFT_OUT = (
    "client/test_database_tenant_auth.py",
    "property/test_cross_version_persist.py",
    "property/test_persist.py",
    "distributed",
    "ef",
    "segment",
    "utils/test_result_df_transform.py",
)
NOT_OURS = {
    "test_persist_index_loading_params": "opens Chroma's own store in a folder",
}
DIMENSION = 384


def embed(_: Any, texts: list[str]) -> list[np.ndarray]:
    rows = np.zeros((len(texts), DIMENSION), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in text.lower().split():
            row[zlib.crc32(word.encode()) % DIMENSION] += 1
    return list(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1))


class InProcess:
    """The plugin: every client that a test makes has one store in memory."""

    def __init__(self) -> None:
        self.db = drumlin.connect("memory://")

    def pytest_configure(self) -> None:
        ONNXMiniLM_L6_V2.__call__ = embed
        over_http = FastAPI.__init__

        def within(server: FastAPI, system: Any) -> None:
            over_http(server, system)
            drumlin.chroma._take_over(server, self.db, allow_reset=True)

        FastAPI.__init__ = within

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        ours, others = [], []
        for item in items:
            of_a_client = "integration" in getattr(getattr(item, "callspec", None), "params", {}).values()
            (ours if of_a_client else others).append(item)
            if why := NOT_OURS.get(getattr(item, "originalname", "")):
                item.add_marker(pytest.mark.skip(reason=why))
        config.hook.pytest_deselected(items=others)
        items[:] = ours


if __name__ == "__main__":
    left_out = [f"--ignore={SUITE / name}" for name in LEFT_OUT]
    # Two files have the same name.
    fixed = ["--import-mode=importlib", "-p", "no:cacheprovider", "-rfs", "--timeout", "3600", str(SUITE), *left_out]
    sys.exit(pytest.main([*fixed, *sys.argv[1:]], plugins=[InProcess()]))
