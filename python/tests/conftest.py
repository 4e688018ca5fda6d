"""Fixtures of the package's tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="session")
def seaweed() -> Iterator[Any]:
    """SeaweedFS, as `tests/e2e` starts it."""
    pytest.importorskip("boto3")
    end_to_end = Path(__file__).resolve().parents[2] / "tests" / "e2e"
    if not end_to_end.exists():
        pytest.skip("SeaweedFS is started by tests/e2e, which is not here")
    # Last, as a file there is called drumlin.py.
    sys.path.append(str(end_to_end))
    from seaweed import SeaweedFs

    with SeaweedFs() as s3:
        yield s3


@pytest.fixture
def bucket(seaweed: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket of it. The environment has the credentials and the endpoint."""
    settings = seaweed.settings("python", "")
    seaweed.create_bucket("python")
    for name in (name for name in settings if name.startswith("AWS_")):
        monkeypatch.setenv(name, settings[name])
    return "s3://python"
