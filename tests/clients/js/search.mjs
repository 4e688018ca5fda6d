// Searches of the JavaScript client: schema, words by chroma_bm25, hand-made sparse vectors, hybrid, groups.
//   node search.mjs write|check PORT      `write` fills the server; `check` searches, after it was killed.

import assert from "node:assert/strict";
import { ChromaBm25EmbeddingFunction } from "@chroma-core/chroma-bm25";
import {
  ChromaClient, GroupBy, K, Knn, MinK, Rrf, Schema, Search, SparseVectorIndexConfig, VectorIndexConfig,
  registerEmbeddingFunction,
} from "chromadb";
import { HashedWords } from "./hashed_words.mjs";

registerEmbeddingFunction("hashed-words", HashedWords);
const [phase, port] = process.argv.slice(2);
const client = new ChromaClient({ host: "127.0.0.1", port: Number(port) });
const embeddingFunction = new HashedWords("js");

async function write() {
  const words = { embeddingFunction: new ChromaBm25EmbeddingFunction(), sourceKey: K.DOCUMENT, bm25: true };
  const schema = new Schema()
    .createIndex(new VectorIndexConfig({ space: "cosine", embeddingFunction }))
    .createIndex(new SparseVectorIndexConfig(words), "words");
  const animals = await client.createCollection({ name: "animals", schema });
  await animals.add({
    ids: ["roof", "beach", "fish", "night"],
    documents: [
      "the cat sleeps on the warm roof",
      "a dog runs along the beach",
      "two cats fight over a fish",
      "the owl hunts at night",
    ],
    metadatas: [
      { animal: "cat", year: 2021 },
      { animal: "dog", year: 2022 },
      { animal: "cat", year: 2023 },
      { animal: "owl", year: 2023 },
    ],
  });
  const byHand = new Schema().createIndex(new SparseVectorIndexConfig(), "by_hand");
  const made = await client.createCollection({ name: "made", schema: byHand, embeddingFunction: null });
  await made.add({
    ids: ["a", "b"],
    embeddings: [[1, 0], [0, 1]],
    metadatas: [{ by_hand: { indices: [1, 7], values: [1, 0.5] } }, { by_hand: { indices: [7], values: [3] }, n: 1 }],
  });
}

async function check() {
  const animals = await client.getCollection({ name: "animals" });
  const ids = async (search, of = animals) => (await of.search(search)).rows()[0].map((row) => row.id);
  const byWords = (query, options) => Knn({ query, key: "words", ...options });
  assert.deepEqual(await ids(new Search().rank(byWords("cats")).limit(4)), ["roof", "fish"]);
  const early = new Search().where(K("year").lt(2023)).rank(byWords("cats"));
  assert.deepEqual(await ids(early), ["roof"]);
  const byHand = Knn({ query: { indices: [7], values: [1] }, key: "by_hand" });
  const made = await client.getCollection({ name: "made" });
  assert.deepEqual(await ids(new Search().rank(byHand).limit(4), made), ["b", "a"]);
  const [[best]] = (await made.search(new Search().rank(byHand).limit(1).select(K.SCORE, "n"))).rows();
  assert.deepEqual([best.score, best.metadata], [-2, { n: 1 }]);

  const query = "the owl hunts a dog";
  const ranks = [Knn({ query, returnRank: true }), byWords(query, { returnRank: true, default: 100 })];
  const hybrid = await ids(new Search().rank(Rrf({ ranks, weights: [1, 2] })).limit(2));
  assert.deepEqual(hybrid.sort(), ["beach", "night"]);
  const groups = new GroupBy([K("animal")], new MinK([K.SCORE], 1));
  const grouped = await ids(new Search().rank(Knn({ query: "cats fight over fish" })).groupBy(groups).limit(9));
  assert.ok(grouped[0] === "fish" && grouped.length === 3 && !grouped.includes("roof"), grouped.join());
  const both = await animals.search([new Search().rank(byWords("owl")), new Search().rank(byWords("dog"))]);
  assert.deepEqual(both.ids, [["night"], ["beach"]]);
}

await { write, check }[phase]();
