"""The sentences fixture as records of the native API."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pyarrow.parquet as pq
from drumlin import ROOT

FIXTURES = ROOT / "data-fixtures" / "sentences"


@cache
def sentences() -> list[dict[str, Any]]:
    rows = pq.read_table(FIXTURES / "sentences.parquet").to_pylist()
    return [{**row, "metadata": json.loads(row["metadata"])} for row in rows]


@cache
def questions() -> list[dict[str, Any]]:
    return pq.read_table(FIXTURES / "queries.parquet").to_pylist()
