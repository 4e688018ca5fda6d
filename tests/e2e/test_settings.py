"""The settings by the names that users already have (S3_*, AWS_*), and what happens when one is wrong."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import BUCKET, s3_place
from drumlin import ROOT, Drumlin, binary
from s3_servers import ACCESS_KEY, REGION, SECRET_KEY, S3Server

WRONG_SECRET = "a-secret-that-must-not-be-printed"


@pytest.fixture
def s3_settings(seaweed: S3Server, tmp_path: Path) -> dict[str, str]:
    return s3_place(seaweed, f"{tmp_path.name}/").settings


@pytest.fixture
def refusal(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], str]]:
    """What a server prints that refuses to start with these settings."""
    server = Drumlin(tmp_path / "refused")

    def refusal(settings: dict[str, str]) -> str:
        server.settings = settings
        output = server.refuses_to_start()
        server.log.unlink()
        assert "panicked" not in output, output
        for secret in (SECRET_KEY, WRONG_SECRET):
            assert secret not in output, f"a secret was printed:\n{output}"
        return output

    yield refusal
    server.close()


def keys_below(seaweed: S3Server, prefix: str) -> list[str]:
    listed = seaweed.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for item in listed.get("Contents", [])]


def add_one(server: Drumlin) -> None:
    server.create("things")
    server.add("things", [{"id": "one", "embedding": [1, 0]}])


def test_s3_prefix_is_honoured(
    seaweed: S3Server, s3_settings: dict[str, str], start: Callable[..., Drumlin], tmp_path: Path
) -> None:
    add_one(start({**s3_settings, "S3_PREFIX": f"{tmp_path.name}/a/b/"}))
    assert f"{tmp_path.name}/a/b/drumlin.json" in keys_below(seaweed, tmp_path.name)
    assert all(key.startswith(f"{tmp_path.name}/a/b/") for key in keys_below(seaweed, tmp_path.name))


def test_s3_prefix_is_vector_db_unless_told(
    seaweed: S3Server, s3_settings: dict[str, str], start: Callable[..., Drumlin]
) -> None:
    settings = {name: value for name, value in s3_settings.items() if name != "S3_PREFIX"}
    add_one(start(settings))
    assert "vector_db/drumlin.json" in keys_below(seaweed, "vector_db/")


def test_a_bucket_name_alone_selects_s3(s3_settings: dict[str, str], start: Callable[..., Drumlin]) -> None:
    settings = {name: value for name, value in s3_settings.items() if name != "S3_ENABLED"}
    assert start(settings).call("GET", "/health")["storage"]["kind"] == "s3"


def test_s3_enabled_false_means_the_folder_and_the_log_says_so(
    seaweed: S3Server, s3_settings: dict[str, str], start: Callable[..., Drumlin], tmp_path: Path
) -> None:
    server = start({**s3_settings, "S3_ENABLED": "false", "DRUMLIN_DATA": str(tmp_path / "bucket")})
    add_one(server)
    assert server.call("GET", "/health")["storage"]["kind"] == "folder"
    assert "S3_ENABLED" in server.output()
    assert keys_below(seaweed, tmp_path.name) == []


def test_settings_are_read_from_an_env_file(s3_settings: dict[str, str], tmp_path: Path) -> None:
    server = Drumlin(tmp_path / "server")
    (server.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in s3_settings.items()))
    try:
        add_one(server.start())
        assert server.call("GET", "/health")["storage"]["kind"] == "s3"
    finally:
        server.close()


def test_credentials_come_from_a_profile_too(
    s3_settings: dict[str, str], start: Callable[..., Drumlin], tmp_path: Path
) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text(f"[drumlin]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n")
    keyless = {name: value for name, value in s3_settings.items() if not name.startswith(("AWS_ACCESS", "AWS_SECRET"))}
    add_one(start({**keyless, "AWS_SHARED_CREDENTIALS_FILE": str(credentials), "AWS_PROFILE": "drumlin"}))


def test_another_servers_commits_arrive_within_the_sync_interval(
    s3_settings: dict[str, str], start: Callable[..., Drumlin]
) -> None:
    settings = {**s3_settings, "S3_SYNC_INTERVAL": "1"}
    writer, reader = start(settings), start(settings)
    add_one(writer)
    assert reader.count("things") == 1
    writer.add("things", [{"id": "two", "embedding": [0, 1]}])
    deadline = time.monotonic() + 4
    while reader.count("things", consistency="local") < 2:
        assert time.monotonic() < deadline, "the commit did not arrive within the interval"
        time.sleep(0.1)


def test_sync_on_request_brings_another_servers_commits(
    s3_settings: dict[str, str], start: Callable[..., Drumlin]
) -> None:
    settings = {**s3_settings, "S3_SYNC_INTERVAL": "3600"}
    writer, reader = start(settings), start(settings)
    add_one(writer)
    assert reader.count("things") == 1
    writer.add("things", [{"id": "two", "embedding": [0, 1]}])
    reader.call("POST", "/api/s3/sync")
    assert reader.count("things", consistency="local") == 2


def test_the_env_example_and_help_name_the_same_settings() -> None:
    shown = subprocess.run([binary(), "serve", "--help"], capture_output=True, text=True, timeout=30, check=True).stdout
    in_help = set(re.findall(r"^  ([A-Z][A-Z0-9_]+) ", shown, re.MULTILINE))
    in_example = set(re.findall(r"^#([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert len(in_help) > 30
    assert in_example == in_help


def test_secrets_are_not_in_the_log(s3_settings: dict[str, str], start: Callable[..., Drumlin]) -> None:
    server = start({**s3_settings, "DRUMLIN_LOG": "debug"})
    add_one(server)
    assert server.output()
    assert SECRET_KEY not in server.output()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"S3_BUCKET_NAME": ""}, "S3_BUCKET_NAME"),
        ({"S3_ENABLED": "perhaps"}, "S3_ENABLED"),
        ({"S3_SYNC_INTERVAL": "soon"}, "S3_SYNC_INTERVAL"),
        ({"S3_SYNC_INTERVAL": "-1"}, "S3_SYNC_INTERVAL"),
        ({"PORT": "eighty"}, "PORT"),
        ({"AWS_ENDPOINT_URL": "not a url"}, "AWS_ENDPOINT_URL"),
        ({"S3_BUCKET_NAME": "there-is-no-such-bucket"}, "there-is-no-such-bucket"),
        ({"AWS_SECRET_ACCESS_KEY": WRONG_SECRET}, BUCKET),
        ({"HOST": "0.0.0.0"}, "DRUMLIN_ALLOW_PUBLIC"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named(
    refusal: Callable[[dict[str, str]], str], s3_settings: dict[str, str], changes: dict[str, str], named: str
) -> None:
    output = refusal({**s3_settings, **changes})
    complaints = [line for line in output.splitlines() if line.startswith("drumlin: ")]
    assert len(complaints) == 1, f"one sentence should tell it:\n{output}"
    assert named in complaints[0]


def test_an_endpoint_where_nobody_listens_stops_the_start(
    refusal: Callable[[dict[str, str]], str], s3_settings: dict[str, str]
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        settings = {**s3_settings, "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": REGION, "DRUMLIN_START_TIMEOUT_S": "3"}
        assert endpoint in refusal(settings)
