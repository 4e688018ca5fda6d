"""Collections with an embedder: texts in, texts searched for. The model is a small random one, so that "meaning" is
what it makes of the words: equal texts are nearest."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import drumlin

MODEL = Path(__file__).resolve().parents[2] / "data-fixtures" / "tiny-bert"
DIMENSION = 16
TEXTS = {"river": "a green river", "stone": "stones, light stones", "house": "greenhouse"}


@pytest.fixture(autouse=True)
def _model(db: drumlin.Database) -> None:
    if not MODEL.exists():
        pytest.skip("the model is in the repository, which is not here")
    db.models.add(MODEL, "tiny")


@pytest.fixture
def texts(db: drumlin.Database) -> drumlin.Collection:
    """A collection with an embedder, and three texts in it."""
    notes = db.collection("texts", create=True, embedder="tiny")
    metadatas = [{"n": n} for n in range(3)]
    assert notes.add(ids=list(TEXTS), documents=list(TEXTS.values()), metadatas=metadatas).applied == 3
    return notes


def cross_encoder(folder: Path) -> Path:
    """The model with a head that scores pairs of texts."""
    shutil.copytree(MODEL, folder)
    stored = (MODEL / "model.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", stored[:8])
    header, weights = json.loads(stored[8 : 8 + size]), stored[8 + size :]
    random = np.random.default_rng(7)
    shapes = {"pooler.dense.weight": (16, 16), "pooler.dense.bias": (16,)}
    shapes |= {"classifier.weight": (1, 16), "classifier.bias": (1,)}
    for name, shape in shapes.items():
        values = random.uniform(-0.5, 0.5, shape).astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(weights), len(weights) + len(values)]}
        weights += values
    described = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(described)) + described + weights)
    return folder


# Models


def test_models_are_added_listed_and_removed(db: drumlin.Database, tmp_path: Path) -> None:
    info = db.models.add(str(MODEL))
    assert (info["name"], info["dimension"], info["scores_pairs"]) == ("tiny-bert", DIMENSION, False)
    assert [model["name"] for model in db.models.list()] == ["tiny", "tiny-bert"]
    db.models.remove("tiny-bert")
    assert db.models.list() == [{**info, "name": "tiny"}]
    with pytest.raises(drumlin.NotFound, match='no model "tiny-bert"'):
        db.models.remove("tiny-bert")
    with pytest.raises(drumlin.InvalidArgument, match="config.json"):
        db.models.add(tmp_path, "empty")
    with pytest.raises(drumlin.InvalidArgument, match="cannot be read"):
        db.models.add(tmp_path / "nowhere")
    with pytest.raises(drumlin.InvalidArgument, match="name"):
        db.models.add(MODEL, "a/b")


def test_an_embedder_is_part_of_a_collection(db: drumlin.Database, texts: drumlin.Collection) -> None:
    assert (texts.dimension, texts.info()["embedder"]) == (DIMENSION, {"model": "tiny"})
    assert db.collection("plain", create=True).info()["embedder"] is None
    prefixed = {"model": "tiny", "query_prefix": "light ", "passage_prefix": ""}
    assert db.collection("prefixed", create=True, embedder=prefixed).info()["embedder"] == prefixed
    optional = db.collection("optional", create=True, embedder={"model": "later", "optional": True})
    assert optional.dimension is None and optional.info()["embedder"]["optional"]
    wrong: list[tuple[str | dict[str, Any], str]] = [
        ("absent", 'embedder.model: there is no model "absent"'),
        ({"modle": "tiny"}, "embedder: expected an object with model or provider, got one with modle"),
        ({"model": 7}, "embedder.model: expected a string"),
    ]
    for embedder, words in wrong:
        with pytest.raises(drumlin.InvalidArgument, match=words):
            db.collection("wrong", create=True, embedder=embedder)
    with pytest.raises(drumlin.InvalidArgument, match="dimension: expected 16"):
        db.collection("wrong", create=True, embedder="tiny", dimension=8)


def test_long_documents_are_split(db: drumlin.Database, texts: drumlin.Collection) -> None:
    assert texts.info()["chunk"] is None
    chunk = {"by": "sentences", "size": 1, "overlap": 0}
    books = db.collection("books", create=True, embedder="tiny", chunk=chunk)
    assert books.info()["chunk"] == chunk
    books.add(ids=["a", "b"], documents=["A green river. Light stones.", "Light."], metadatas=[{"n": 1}, {"n": 2}])
    assert books.count() == 3
    hits = books.rank("Light stones.", mode="meaning", k=5)
    assert hits.ids == ["a#1", "b#0"]
    assert hits[0]["metadata"] == {"document_id": "a", "part": 1, "start": 15, "n": 1}
    assert books.get(["a"]).ids == ["a#0", "a#1"]
    books.update(ids=["a"], documents=["Stones."])
    books.delete(["b"])
    assert books.get().ids == ["a#0"]
    with pytest.raises(drumlin.InvalidArgument, match="splits documents"):
        books.add(ids=["c"], embeddings=[[1.0] * DIMENSION], documents=["x"])
    with pytest.raises(drumlin.InvalidArgument, match="chunk.by: expected"):
        db.collection("wrong", create=True, embedder="tiny", chunk={"by": "pages"})


# Writes


def test_texts_are_searched_by_meaning(texts: drumlin.Collection) -> None:
    assert np.allclose(np.linalg.norm(texts.get(include=["embeddings"]).embeddings, axis=1), 1, atol=1e-5)
    for name, text in TEXTS.items():
        hit = texts.search(text, k=1)[0]
        assert (hit["id"], hit["document"]) == (name, text) and abs(hit["distance"]) < 1e-5
    several = texts.search(list(TEXTS.values()), k=2)
    assert [ids[0] for ids in several.ids] == list(TEXTS) and several.distances.shape == (3, 2)
    assert texts.search(np.array(list(TEXTS.values())), k=2).ids == several.ids
    assert texts.search(["greenhouse"], k=1).ids == [["house"]]
    assert texts.search("a green river", where={"n": 1}).ids == [["stone"]]
    assert texts.at().search("greenhouse", k=1)[0]["id"] == "house"


async def test_texts_are_searched_and_embedded_by_async_twins(texts: drumlin.Collection) -> None:
    assert (await texts.asearch("greenhouse", k=1))[0]["id"] == "house"
    assert (await texts.asearch(["greenhouse", "a green river"], k=1)).ids == [["house"], ["river"]]
    assert (await texts.aembed(["light"])).shape == (1, DIMENSION)
    await texts.aadd(ids=["more"], documents=["水"])
    assert (await texts.at().asearch("水", k=1))[0]["id"] == "more"
    assert (await texts.arank("stone", mode="words")).ids == ["stone"]


def test_embeddings_may_be_given_for_some_records(texts: drumlin.Collection) -> None:
    own = [1.0] + [0.0] * 15
    texts.upsert(ids=["own", "light"], embeddings=[own, None], documents=[None, "light"])
    texts.add([{"id": "a", "vector": own, "n": 1}, {"id": "b", "text": "a stone", "n": 2}])
    assert texts.search("light", k=1)[0]["id"] == "light" and texts.search("a stone", k=1)[0]["id"] == "b"
    assert texts.get(["own", "a"], include=["embeddings"]).embeddings.tolist() == [own, own]
    with pytest.raises(drumlin.InvalidArgument, match=r"embeddings: expected one per id, got 3 for 2 ids"):
        texts.add(ids=["x", "y"], embeddings=[own, None, None], documents=["light", "a"])
    with pytest.raises(drumlin.InvalidArgument, match=r"records\[0\]: expected an embedding, or a document"):
        texts.add(ids=["x"], metadatas=[{"n": 1}])
    assert texts.count() == 7


def test_a_new_document_renews_the_embedding(texts: drumlin.Collection) -> None:
    texts.update(["house"], documents=["light"])
    assert texts.search("light", k=1)[0]["id"] == "house"
    own = np.eye(1, DIMENSION, dtype=np.float32)
    texts.update(["house", "river"], embeddings=[own[0], None], documents=["a", "a stone"], metadatas=[None, {"n": 9}])
    assert (texts.get("house", include=["embeddings"]).embeddings == own).all()
    river = texts.search("a stone", k=1)[0]
    assert (river["id"], river["metadata"]) == ("river", {"n": 9})


@pytest.mark.parametrize("kind", ["pyarrow", "polars", "pandas"])
def test_tables_need_no_column_of_embeddings(db: drumlin.Database, kind: str) -> None:
    library = pytest.importorskip(kind)
    notes = db.collection("tables", create=True, embedder="tiny")
    columns = {"id": list(TEXTS), "text": list(TEXTS.values()), "n": [1, 2, 3]}
    table = library.table(columns) if kind == "pyarrow" else library.DataFrame(columns)
    pytest.importorskip("pyarrow")
    assert notes.add(table).applied == 3
    hit = notes.search("greenhouse", k=1)[0]
    assert (hit["id"], hit["metadata"]) == ("house", {"n": 3})


def test_large_imports_need_no_embeddings(db: drumlin.Database, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    notes = db.collection("imports", create=True, embedder="tiny")
    table = pa.table({"id": [str(n) for n in range(100)], "text": [f"a stone {'light ' * n}" for n in range(100)]})
    parquet.write_table(table, tmp_path / "texts.parquet")
    assert notes.add_batches(tmp_path / "texts.parquet", batch_rows=30).applied == 100
    own = np.eye(1, DIMENSION)[0].tolist()
    rows: list[dict[str, Any]] = [
        {"id": "x", "document": "水"},
        {"id": "y", "embedding": own},
        {"id": "z"},
    ]
    done = notes.add_batches([rows[:1], rows[1:]], bad_rows="set aside")
    assert done.applied == 2 and [row for row, _ in done.bad_rows] == [2]
    assert "a document to make one of" in done.bad_rows[0][1]
    assert notes.search("水", k=1)[0]["id"] == "x"


# Searches


def test_modes_say_how_a_text_is_searched_for(texts: drumlin.Collection) -> None:
    meaning = texts.rank("stones, light stones", mode="meaning")
    assert (len(meaning), meaning.ids[0]) == (3, "stone") and meaning[0]["distance"] < 1e-5
    assert texts.rank("stone", mode="words").ids == ["stone"]
    for both in (texts.rank("stones, light stones"), texts.rank("stones, light stones", mode="both")):
        parts = both[0]["parts"]
        assert both.ids[0] == "stone" and parts["text"]["rank"] == parts["embedding"]["rank"] == 1
    with pytest.raises(drumlin.InvalidArgument, match="mode"):
        texts.rank("stone", mode="sense")


def test_a_cross_encoder_puts_hits_into_its_own_order(
    db: drumlin.Database, texts: drumlin.Collection, tmp_path: Path
) -> None:
    assert db.models.add(cross_encoder(tmp_path / "pairs"))["scores_pairs"]
    hits = texts.rank("a stone", mode="meaning", k=2, rerank={"model": "pairs", "candidates": 3}).hits
    scores = [hit["rerank_score"] for hit in hits]
    assert len(scores) == 2 and scores == sorted(scores, reverse=True)
    with pytest.raises(drumlin.NotFound, match='no model "gone"'):
        texts.rank("a stone", rerank={"model": "gone"})
    with pytest.raises(drumlin.InvalidArgument, match="scores pairs"):
        db.collection("pairs", create=True, embedder="pairs")


def test_embeddings_are_arrays(db: drumlin.Database, texts: drumlin.Collection) -> None:
    made = texts.embed(list(TEXTS.values()))
    assert made.shape == (3, DIMENSION) and made.dtype == np.float32
    assert np.allclose(made, texts.get(include=["embeddings"]).embeddings, atol=1e-6)
    assert np.allclose(texts.embed("greenhouse", role="query"), made[2:], atol=1e-6)
    assert texts.embed([]).shape == (0, DIMENSION)
    prefixed = db.collection("prefixed", create=True, embedder={"model": "tiny", "query_prefix": "light "})
    assert np.allclose(prefixed.embed("stone", role="query"), texts.embed("light stone"), atol=1e-6)
    assert np.allclose(prefixed.embed("stone"), texts.embed("stone"), atol=1e-6)
    with pytest.raises(drumlin.InvalidArgument, match="role: expected query or passage"):
        texts.embed(["a"], role="title")


def test_without_an_embedder_texts_are_refused(db: drumlin.Database, notes: drumlin.Collection) -> None:
    for call in (lambda: notes.search("fog"), lambda: notes.embed(["fog"]), lambda: notes.embed([])):
        with pytest.raises(drumlin.InvalidArgument, match="has no embedder"):
            call()
    with pytest.raises(drumlin.InvalidArgument, match="has no embedder"):
        notes.rank("fog", mode="meaning")
    with pytest.raises(drumlin.InvalidArgument, match="texts alone are for collections with an embedder"):
        notes.add(ids=["a"], documents=["fog"])
    with pytest.raises(drumlin.InvalidArgument, match="row 0: 'embedding' is missing"):
        notes.add([{"id": "a", "document": "fog"}])
    with pytest.raises(drumlin.InvalidArgument, match=r"records\[1\].embedding: expected numbers, got none"):
        notes.add(ids=["a", "b"], embeddings=[[1, 2], None], documents=["fog", "fog"])
    assert notes.count() == 0


def test_a_model_that_is_gone_refuses_texts_and_nothing_else(db: drumlin.Database, texts: drumlin.Collection) -> None:
    db.models.remove("tiny")
    with pytest.raises(drumlin.NotFound, match='no model "tiny"'):
        texts.search("a")
    with pytest.raises(drumlin.InvalidArgument, match='no model "tiny"'):
        texts.add(ids=["a"], documents=["a"])
    assert texts.add(ids=["a"], embeddings=np.eye(1, DIMENSION)).applied == 1
    assert texts.rank("stone", mode="words").ids == ["stone"]


def test_a_collection_of_dimension_zero_is_searched_by_words(db: drumlin.Database) -> None:
    notes = db.collection("words", create=True, dimension=0)
    assert notes.add(ids=["a"], documents=["the fog"]).applied == 1
    notes.upsert([{"id": "b", "document": "a river", "n": 1}])
    terms = {"indices": [1], "values": [1.0]}
    notes.add(ids=["c"], metadatas=[{"terms": terms}])
    assert notes.dimension == 0 and notes.rank("river").ids == ["b"]
    assert notes.rank(sparse={"key": "terms", **terms}).ids == ["c"]
    assert notes.get().ids == ["a", "b", "c"] and notes.get(include=["embeddings"]).embeddings.shape == (3, 0)
    pa = pytest.importorskip("pyarrow")
    done = notes.add_batches(pa.table({"id": ["d", ""], "text": ["ice", "ice"]}), bad_rows="set aside")
    assert done.applied == 1 and len(done.bad_rows) == 1 and notes.rank("ice").ids == ["d"]
    assert len(notes.scan().to_arrow()) == 4


# Others' interfaces


def test_langchain_needs_no_embeddings_of_its_own(db: drumlin.Database) -> None:
    pytest.importorskip("langchain_core")
    from drumlin.langchain import DrumlinVectorStore

    store = DrumlinVectorStore(None, db, "docs", embedder="tiny")
    store.add_texts(list(TEXTS.values()), ids=list(TEXTS))
    assert [document.id for document in store.similarity_search("greenhouse", k=1)] == ["house"]
    assert len(store.max_marginal_relevance_search("greenhouse", k=2)) == 2
    made = DrumlinVectorStore.from_texts(["水"], None, ids=["x"], db=db.collection("docs"))
    assert [document.id for document in made.similarity_search("水", k=1)] == ["x"]
    with pytest.raises(drumlin.InvalidArgument, match="embedding: expected a model"):
        DrumlinVectorStore(None, db, "plain")


def test_chromas_client_sees_its_default_function(db: drumlin.Database) -> None:
    pytest.importorskip("chromadb")
    import drumlin.chroma

    name = "all-MiniLM-L6-v2"
    db.models.add(MODEL, name)
    texts = db.collection("texts", create=True, embedder=name)
    texts.add(ids=list(TEXTS), documents=list(TEXTS.values()))
    with drumlin.chroma.Client(db) as client:
        # Without a function of its own: the client makes the one of the configuration, and downloads nothing until it
        # embeds.
        seen = client.get_collection("texts")
        assert seen.configuration_json["embedding_function"]["name"] == "default"
        found = seen.query(query_embeddings=texts.embed("greenhouse").tolist(), n_results=1)
        assert found["ids"] == [["house"]] and found["documents"] == [["greenhouse"]]


def test_a_collection_is_embedded_anew_and_its_object_goes_on(db):
    notes = db.collection("anew", create=True, embedder="tiny")
    notes.add(ids=[str(n) for n in range(300)], documents=[f"green stone {n}" for n in range(300)])
    before, told = notes.id, []
    assert notes.reembedding()["state"] == "none"
    other = {"model": "tiny", "passage_prefix": "a river "}
    status = notes.reembed(other, metric="l2", progress=lambda done, of: told.append((done, of)))
    assert (status["state"], status["embedded"], status["of"]) == ("done", 300, 300)
    assert notes.id != before and notes.info()["embedder"] == other and notes.info()["metric"] == "l2"
    assert notes.count() == 300 and notes.add(ids=["x"], documents=["light"]).applied == 1
    assert all(done <= of for done, of in told)
    with pytest.raises(drumlin.NotFound):
        notes.stop_reembedding()
    notes.add(ids=["bare"], embeddings=[[1.0] * DIMENSION])
    with pytest.raises(drumlin.InvalidArgument, match="1 records of collection"):
        notes.reembed("tiny")
