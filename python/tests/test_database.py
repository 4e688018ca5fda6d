"""Stores: opening, forking, restoring, checking, several at once."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import pytest

import drumlin


def test_two_stores_write_one_folder_at_once(folder):
    with drumlin.connect(folder) as one, drumlin.connect(folder) as other:
        ours = one.collection("notes", create=True)
        theirs = other.collection("notes", create=True)
        ours.add(ids=["a"], embeddings=[[1, 0]])
        assert theirs.add(ids=["a", "b"], embeddings=[[0, 1], [0, 1]]).skipped == 1
        assert ours.count(strong=True) == 2 and theirs.get("a").to_list() == ours.get("a").to_list()
    with drumlin.connect(folder, create=False) as again:
        assert again.collections() == ["notes"] and "notes" in again and "other" not in again


def test_a_store_that_is_not_there_is_made_only_if_wanted(folder):
    with pytest.raises(drumlin.NotFound, match="there is no store at"):
        drumlin.connect(folder, create=False)
    assert not folder.exists()
    with pytest.raises(ValueError, match="does not say where the store is"):
        drumlin.connect("ftp://somewhere")
    with pytest.raises(TypeError, match="colour"):
        drumlin.connect("memory://", colour="blue")


def test_a_bucket_without_a_store_or_that_refuses_the_credentials_says_so(bucket, tmp_path, monkeypatch):
    with pytest.raises(drumlin.NotFound, match="there is no store at"):
        drumlin.connect(f"{bucket}/nothing", create=False)
    with drumlin.connect(f"{bucket}/something") as db:
        db.collection("notes", create=True).add(ids=["a"], embeddings=[[1, 0]])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    began = time.monotonic()
    with pytest.raises(drumlin.Unauthorized, match="SignatureDoesNotMatch") as refused:
        drumlin.connect(f"{bucket}/something")
    assert isinstance(refused.value, PermissionError) and time.monotonic() - began < 30
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(drumlin.Unauthorized, match="no credentials"):
        drumlin.connect(f"{bucket}/something", start_timeout=1.0)


def test_what_was_dropped_is_restored_and_forks_go_their_own_way(folder):
    with drumlin.connect(folder) as db:
        notes = db.collection("notes", create=True, metric="l2")
        notes.add(ids=["a"], embeddings=[[1, 0]])
        copy = notes.fork("copy")
        first = notes.info()["version"]
        notes.add(ids=["b"], embeddings=[[0, 1]])
        assert db.restore("notes", "before", version=first).get().ids == ["a"]
        db.drop("notes")
        assert db.restore("notes", "again").get().ids == ["a", "b"]
        time.sleep(0.01)
        assert db.restore("notes", "by time", at=datetime.now(timezone.utc)).count() == 2
        assert copy.count() == 1 and db.collections() == ["again", "before", "by time", "copy"]
        assert db.past("copy")["newest"] >= 0
        with pytest.raises(ValueError, match="time zone"):
            db.restore("notes", "never", at=datetime.now())
        with pytest.raises(ValueError, match="both"):
            db.restore("notes", "never", at=0.0, version=1)


def test_sync_and_verify_report(folder):
    with drumlin.connect(folder) as db:
        db.collection("notes", create=True).add(ids=["a"], embeddings=[[1, 0]])
        report = db.sync()
        assert [entry["name"] for entry in report["collections"]] == ["notes"]
        db.wait_until_loaded()
        assert db.health()["storage"]["connected"] is True
        checked = db.verify("notes")
        assert "notes" in str(checked) and "Damaged" not in str(checked)


def test_collections_of_other_databases_are_apart(db):
    team = db.with_scope("team", "one", create=True)
    team.collection("notes", create=True).add(ids=["a"], embeddings=[[1, 0]])
    assert db.collections() == [] and team.collections() == ["notes"]
    assert team.collection("notes").info()["tenant"] == "team"
    with pytest.raises(drumlin.NotFound):
        db.with_scope("team", "two").collection("notes", create=True)


def test_calls_after_the_close_fail_and_do_not_hang(folder):
    db = drumlin.connect(folder)
    notes = db.collection("notes", create=True)
    db.close()
    with pytest.raises(drumlin.DrumlinError):
        notes.add(ids=["a"], embeddings=[[1, 0]])


def test_without_an_address_the_environment_says_where_the_store_is(folder, monkeypatch):
    monkeypatch.setenv("DRUMLIN_DATA", str(folder))
    with drumlin.connect() as db:
        db.collection("notes", create=True).add(ids=["a"], embeddings=[[1, 0]])
        assert db.url is None
    with drumlin.connect(folder) as db:
        assert db.collection("notes").count() == 1
    monkeypatch.setenv("S3_SYNC_INTERVAL", "soon")
    with pytest.raises(drumlin.InvalidArgument, match="S3_SYNC_INTERVAL"):
        drumlin.connect()
