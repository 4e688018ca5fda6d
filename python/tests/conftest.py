"""Fixtures of the package's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import drumlin


@pytest.fixture
def db() -> Iterator[drumlin.Database]:
    """A store in memory."""
    with drumlin.connect("memory://") as opened:
        yield opened


@pytest.fixture
def notes(db: drumlin.Database) -> drumlin.Collection:
    """An empty collection of it."""
    return db.collection("notes", create=True, metric="l2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a store may be that several processes open."""
    return tmp_path / "bucket"
