"""What the S3 servers themselves do with conditional writes: the ground that the other tests stand on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from botocore.exceptions import ClientError
from s3_servers import Moto, Nanio, S3Server


def put_if_absent(s3: S3Server, key: str, body: bytes) -> bool:
    """Whether the put was accepted; False when the server said that the key exists."""
    try:
        s3.client().put_object(Bucket="conditions", Key=key, Body=body, IfNoneMatch="*")
        return True
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 412, error
        return False


def read(s3: S3Server, key: str) -> bytes:
    return s3.client().get_object(Bucket="conditions", Key=key)["Body"].read()


def test_seaweedfs_lets_exactly_one_of_racing_creators_win(seaweed: S3Server) -> None:
    seaweed.create_bucket("conditions")
    for key in ("race-1", "race-2", "race-3"):
        bodies = [f"writer {number}".encode() for number in range(4)]
        with ThreadPoolExecutor(len(bodies)) as pool:
            won = list(pool.map(partial(put_if_absent, seaweed, key), bodies))
        assert sum(won) == 1
        assert read(seaweed, key) == bodies[won.index(True)]


def test_moto_refuses_a_second_creation() -> None:
    with Moto() as s3:
        s3.create_bucket("conditions")
        assert put_if_absent(s3, "key", b"first")
        assert not put_if_absent(s3, "key", b"second")
        assert read(s3, "key") == b"first"


def test_nanio_ignores_the_condition_and_so_is_a_fair_negative() -> None:
    with Nanio() as s3:
        s3.create_bucket("conditions")
        assert put_if_absent(s3, "key", b"first")
        assert put_if_absent(s3, "key", b"second")
        assert read(s3, "key") == b"second"
