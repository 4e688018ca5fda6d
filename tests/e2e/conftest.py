"""Fixtures of the end-to-end tests: one SeaweedFS for the whole run, and a place of its own for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from s3_servers import S3Server
from seaweed import SeaweedFs


@pytest.fixture(scope="session")
def seaweed() -> Iterator[S3Server]:
    with SeaweedFs() as s3:
        yield s3
