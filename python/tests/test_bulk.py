"""Large sources: what they may be, resuming, bad rows."""

from __future__ import annotations

import numpy as np
import pytest

import drumlin

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def table(first: int, count: int) -> pa.Table:
    ids = [f"r{n}" for n in range(first, first + count)]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(2 * count, dtype=np.float32) + first), 2)
    return pa.table({"id": ids, "embedding": vectors, "n": pa.array(range(first, first + count))})


@pytest.fixture
def files(tmp_path):
    for part in range(3):
        pq.write_table(table(part * 100, 100), tmp_path / f"part-{part}.parquet", row_group_size=40)
    return tmp_path


def test_every_source_goes_in_whole(db, files):
    dataset = pytest.importorskip("pyarrow.dataset")
    whole = table(0, 300)
    sources = {
        "glob": str(files / "part-*.parquet"),
        "folder": files,
        "dataset": dataset.dataset(files),
        "table": whole,
        "reader": whole.to_reader(max_chunksize=7),
        "batches": iter(whole.to_batches(max_chunksize=9)),
        "rows": ([{"id": f"r{n}", "embedding": [n, 0], "n": n}] for n in range(300)),
    }
    for name, source in sources.items():
        collection = db.collection(name, create=True)
        done = collection.add_batches(source, batch_rows=64)
        assert (done.applied, done.skipped, done.rows, done.bad_rows) == (300, 0, 300, []), name
        assert collection.count() == 300 and collection.get("r7")[0]["metadata"] == {"n": 7}, name


def test_lazy_frames_go_in(notes, files):
    pl = pytest.importorskip("polars")
    assert notes.add_batches(pl.scan_parquet(files / "*.parquet"), batch_rows=50).applied == 300


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The library `datasets`, with its caches in a folder of the test."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip("datasets")


def test_datasets_of_hugging_face_go_in(db, hub):
    rows = [{"id": f"r{n}", "embedding": [float(n), 1.0], "text": f"text {n}", "n": n} for n in range(50)]
    whole = hub.Dataset.from_list(rows)
    mapped = whole.map(lambda row: {"n": row["n"] * 2}, keep_in_memory=True)
    for name, source in {"whole": whole, "mapped": mapped, "numpy": mapped.with_format("numpy")}.items():
        collection = db.collection(name, create=True)
        done = collection.add_batches(source, batch_rows=20)
        assert (done.applied, done.rows) == (50, 50), name
        factor = 1 if name == "whole" else 2
        record = collection.get("r7", include=["documents", "metadatas", "embeddings"])[0]
        assert record["document"] == "text 7" and record["metadata"] == {"n": 7 * factor}, name
        assert record["embedding"].tolist() == [7, 1], name


def test_a_dataset_of_hugging_face_goes_in_while_it_is_streamed(notes, hub):
    rows = [{"id": f"r{n}", "embedding": [float(n), 1.0], "n": n} for n in range(50)]
    streamed = hub.Dataset.from_list(rows).to_iterable_dataset(num_shards=3)
    assert notes.add_batches(streamed, batch_rows=20).applied == 50
    assert notes.get("r7")[0]["metadata"] == {"n": 7}


def test_an_import_that_was_cut_off_goes_on_where_it_was(notes):
    def source():
        yield from table(0, 100).to_batches()
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        notes.add_batches(source(), batch_rows=20, resume="job")
    so_far = notes.count()
    assert 0 < so_far <= 100 and notes.info()["metadata"]["import:job"] == so_far
    done = notes.add_batches(table(0, 200), batch_rows=20, resume="job")
    assert (done.applied, done.skipped, done.rows) == (200 - so_far, 0, 200)
    assert notes.add_batches(table(0, 200), resume="job").applied == 0 and notes.count() == 200


def test_bad_rows_are_named_by_their_number_and_set_aside_if_wanted(notes):
    rows = [{"id": f"r{n}", "embedding": [n, 1]} for n in range(50)]
    pieces = [pa.table({"id": [row["id"]], "embedding": [[float(x) for x in row["embedding"]]]}) for row in rows]
    pieces[13] = pa.table({"id": ["r13"], "embedding": pa.array([None], pa.list_(pa.float64()))})
    pieces[20] = pa.table({"id": ["r20"], "embedding": [[1.0, 2.0, 3.0]]})
    pieces[30] = pa.table({"id": ["r30"], "embedding": [[float("nan"), 1.0]]})
    with pytest.raises(drumlin.InvalidArgument, match="row 13"):
        notes.add_batches(iter(pieces), batch_rows=10)
    done = notes.add_batches(iter(pieces), batch_rows=10, bad_rows="set aside")
    assert [number for number, _ in done.bad_rows] == [13, 20, 30] and notes.count() == 47
    assert "expected 2 numbers, got 3" in done.bad_rows[1][1]
    with pytest.raises(drumlin.InvalidArgument, match="set aside"):
        notes.add_batches(iter(pieces), bad_rows="ignore")


def test_progress_is_told(notes, capsys):
    told = []
    notes.add_batches(table(0, 100), batch_rows=30, progress=lambda rows, size: told.append((rows, size)))
    assert [rows for rows, _ in told] == [30, 60, 90, 100] and told[-1][1] > 800
    notes.add_batches(table(0, 10), progress=True)


def test_a_source_that_is_not_there_is_named(notes, tmp_path):
    with pytest.raises(drumlin.InvalidArgument, match="expected Parquet files, got none at"):
        notes.add_batches(tmp_path / "nothing-*.parquet")


def test_an_import_leaves_alone_what_others_noted_with_the_collection(folder):
    # Far apart, so that neither follows the other by itself.
    with drumlin.connect(folder, sync_interval=3600.0) as here, drumlin.connect(folder, sync_interval=3600.0) as there:
        notes = here.collection("notes", create=True, metadata={"about": "weather"})
        there.sync()
        there.collection("notes").set_metadata({"model": "v2"})
        notes.add_batches(table(0, 20), resume="job")
        assert here.infos(strong=True)[0]["metadata"] == {"model": "v2", "import:job": 20}
        notes.update_metadata({"model": None})
        assert here.infos(strong=True)[0]["metadata"] == {"import:job": 20}
