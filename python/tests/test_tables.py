"""Tables and frames in and out, by Arrow's PyCapsule interface."""

from __future__ import annotations

import json

import numpy as np
import pytest

import drumlin

pa = pytest.importorskip("pyarrow")


def test_tables_of_pyarrow_go_in_and_come_out(notes):
    table = pa.table({"id": ["a", "b"], "embedding": [[1.0, 0.0], [0.0, 1.0]], "document": ["one", None]})
    assert notes.add(table).applied == 2
    out = notes.search([[1, 0], [0, 1]], k=2, include=["documents", "embeddings"]).to_arrow()
    assert out.column_names == ["query", "id", "distance", "document", "embedding"]
    assert out["query"].to_pylist() == [0, 0, 1, 1] and out["id"].to_pylist() == ["a", "b", "b", "a"]
    assert notes.get(include=["embeddings"]).to_arrow()["embedding"].to_pylist() == [[1, 0], [0, 1]]
    assert notes.search([[9, 9]], k=1, ids=[]).to_arrow().num_rows == 0


def test_what_a_scan_gives_another_collection_takes(db, notes):
    notes.add(ids=["a", "b"], embeddings=[[1, 0], [0, 1]], documents=["x", None], metadatas=[{"n": 1.0}, {"s": "é"}])
    copy = db.collection("copy", create=True, metric="l2")
    assert copy.add(notes.scan()).applied == 2
    every = ("documents", "metadatas", "uris")
    assert copy.get(include=every).to_list() == notes.get(include=every).to_list()
    assert copy.get(include="embeddings").embeddings.tolist() == [[1, 0], [0, 1]]


def test_lists_of_dicts_go_in_as_people_write_them(notes):
    rows = [
        {"id": "a", "vector": [1, 0], "text": "one", "year": 2024},
        {"id": 2, "embedding": np.array([0, 1]), "metadata": {"year": 2025, "tags": ["x"]}},
        {"id": "c", "embedding": [1, 1], "metadata": json.dumps({"year": 2026}), "uri": "u"},
    ]
    assert notes.add(rows).applied == 3 and notes.add([]).applied == 0
    found = notes.get(include=["documents", "metadatas", "uris"]).to_list()
    assert [row["id"] for row in found] == ["a", "2", "c"] and found[0]["document"] == "one"
    assert [row["metadata"]["year"] for row in found] == [2024, 2025, 2026] and found[2]["uri"] == "u"
    with pytest.raises(ValueError, match="row 1: 'embedding' is missing"):
        notes.add([{"id": "d", "embedding": [1, 1]}, {"id": "e"}])


def test_dicts_may_have_keys_of_other_names(notes):
    rows = [{"key": "a", "v": [1, 0], "text": "one"}, {"key": "b", "v": [0, 1], "text": "two"}]
    naming = {"id": "key", "embedding": "v", "uri": "text"}
    assert notes.add(rows, columns=naming).applied == 2
    more = [{**row, "key": row["key"] * 2} for row in rows]
    assert notes.add_batches(more, columns=naming).applied == 2
    found = notes.get(include=["documents", "uris"]).to_list()
    assert [(row["id"], row["uri"], row["document"]) for row in found] == [
        ("a", "one", None),
        ("b", "two", None),
        ("aa", "one", None),
        ("bb", "two", None),
    ]
    with pytest.raises(ValueError, match="columns: expected some of id, embedding, document, uri, metadata, got 'vec'"):
        notes.add(rows, columns={"vec": "v"})
    with pytest.raises(drumlin.InvalidArgument, match="row 0: metadata: expected JSON text"):
        notes.add([{"id": "c", "vector": [1, 0], "metadata": "{"}])


def test_frames_of_pandas_go_in_and_come_out(notes):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({
        "id": ["a", "b"], "vector": [np.array([1.0, 0.0]), np.array([0.0, 1.0])], "text": ["one", None], "year": [1, 2],
    })  # fmt: skip
    assert notes.add(frame).applied == 2
    assert notes.get().to_list()[1] == {"id": "b", "document": None, "metadata": {"year": 2}}
    out = notes.search([1, 0], k=1).to_pandas()
    assert out["id"].tolist() == ["a"] and out["distance"].tolist() == [0.0]


def test_frames_of_polars_go_in_and_come_out_without_pyarrow(notes):
    pl = pytest.importorskip("polars")
    vectors = pl.Series("embedding", [[1.0, 0.0], [0.0, 1.0]], dtype=pl.Array(pl.Float32, 2))
    assert notes.add(pl.DataFrame({"id": ["a", "b"], "embedding": vectors, "kind": ["x", "y"]})).applied == 2
    assert notes.search([1, 0], k=2).to_polars()["id"].to_list() == ["a", "b"]
    assert pl.DataFrame(notes.get()).height == 2 and notes.get("a")[0]["metadata"] == {"kind": "x"}


def test_duckdb_reads_a_scan_and_its_answers_go_in(notes):
    duckdb = pytest.importorskip("duckdb")
    made = duckdb.sql("select i::varchar as id, [i::float, 1.0::float] as embedding, i as n from range(5000) t(i)")
    assert notes.add(made).applied == 5000
    scan = notes.scan().to_arrow()
    assert duckdb.sql("select count(*), max(len(embedding)) from scan").fetchall() == [(5000, 2)]


def test_columns_of_other_names_are_named(notes):
    table = pa.table({"key": ["a"], "v768": [[1.0, 0.0]]})
    assert notes.add(table, columns={"id": "key", "embedding": "v768"}).applied == 1
    with pytest.raises(drumlin.InvalidArgument, match="missing"):
        notes.add(pa.table({"id": ["a"]}))
    with pytest.raises(drumlin.InvalidArgument, match="row 1"):
        notes.add(pa.table({"id": ["b", "c"], "embedding": [[1.0, 1.0], None]}))
    with pytest.raises(drumlin.InvalidArgument, match="got both"):
        notes.add(table, ids=["a"])
    with pytest.raises(drumlin.InvalidArgument, match="expected a table"):
        notes.add(42)
