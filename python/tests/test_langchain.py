"""LangChain's own suite for vector stores, sync and async, and what it does not ask."""

from __future__ import annotations

import asyncio

import pytest

import drumlin

suite = pytest.importorskip("langchain_tests.integration_tests")
from langchain_core.documents import Document  # noqa: E402

from drumlin.langchain import DrumlinVectorStore  # noqa: E402


class TestStandard(suite.VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self):
        with drumlin.connect("memory://") as db:
            yield DrumlinVectorStore(self.get_embeddings(), db)


@pytest.fixture
def store(db):
    made = DrumlinVectorStore(suite.VectorStoreIntegrationTests.get_embeddings(), db, "docs")
    made.add_texts(["foo", "bar", "baz"], [{"n": 1}, {"n": 2}, {"n": 3}], ids=["1", "2", "3"])
    return made


def test_filters_scores_and_retrievers_work(store):
    assert [document.id for document in store.similarity_search("foo", k=3, filter={"n": {"$gt": 1}})] != ["1"]
    (document, distance), *_ = store.similarity_search_with_score("foo", k=2)
    assert document == Document(id="1", page_content="foo", metadata={"n": 1}) and abs(distance) < 1e-5
    (_, score), *_ = store.similarity_search_with_relevance_scores("foo", k=1)
    assert score == pytest.approx(1, abs=1e-5)
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 2, "filter": {"n": {"$ne": 2}}})
    assert {document.id for document in retriever.invoke("foo")} == {"1", "3"}
    store.delete(filter={"n": 2})
    assert store.collection.get().ids == ["1", "3"]


def test_mmr_prefers_what_is_unlike_what_was_chosen(db):
    class Fixed:
        def embed_query(self, text):
            return [1.0, 0.1]

        def embed_documents(self, texts):
            return [[1.0, 0.0], [1.0, 0.01], [0.5, 0.5]][: len(texts)]

        async def aembed_query(self, text):
            return self.embed_query(text)

    store = DrumlinVectorStore(Fixed(), db, "mmr")
    store.add_texts(["a", "like a", "other"], ids=["a", "b", "c"])
    assert {d.id for d in store.max_marginal_relevance_search("x", k=2, lambda_mult=0.1)} == {"b", "c"}
    assert {d.id for d in store.max_marginal_relevance_search("x", k=2, lambda_mult=1.0)} == {"a", "b"}
    found = asyncio.run(store.amax_marginal_relevance_search("x", k=2, lambda_mult=0.1))
    assert {document.id for document in found} == {"b", "c"}


def test_texts_make_a_store(folder):
    embeddings = suite.VectorStoreIntegrationTests.get_embeddings()
    made = DrumlinVectorStore.from_texts(["foo"], embeddings, ids=["1"], db=folder, collection="t")
    assert made.get_by_ids(["2", "1"]) == [Document(id="1", page_content="foo")]
    made.collection.database.close()
