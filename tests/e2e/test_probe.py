"""Buckets that do not keep Drumlin's conditions are refused at the start, with the reason; those that do are used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from drumlin import Drumlin
from s3_servers import Moto, Nanio


def test_a_server_that_ignores_if_none_match_is_refused(tmp_path: Path) -> None:
    with Nanio() as s3:
        s3.create_bucket("careless")
        server = Drumlin(tmp_path / "server", s3.settings("careless", "vectors/"))
        try:
            output = server.refuses_to_start()
        finally:
            server.close()
        assert "if-none-match" in output.lower(), output
        assert "careless" in output, output
        assert "panicked" not in output, output


def test_motos_s3_is_used(start: Callable[..., Drumlin]) -> None:
    with Moto() as s3:
        s3.create_bucket("second-opinion")
        server = start(s3.settings("second-opinion", "vectors/"))
        server.create("things")
        server.add("things", [{"id": "one", "embedding": [1, 0]}])
        server.kill()
        assert server.start().count("things") == 1
        server.kill()
