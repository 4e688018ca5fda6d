// What users of the JavaScript client do with a server.   node walk_through.mjs write|check PORT
// `write` fills it and tries every call; `check` looks, after the server was killed, whether all is there.

import assert from "node:assert/strict";
import { ChromaClient, ChromaNotFoundError, ChromaUniqueError, ChromaClientError, registerEmbeddingFunction } from "chromadb";
import { HashedWords, embed } from "./hashed_words.mjs";

registerEmbeddingFunction("hashed-words", HashedWords);
const [phase, port] = process.argv.slice(2);
const client = new ChromaClient({ host: "127.0.0.1", port: Number(port) });
const embeddingFunction = new HashedWords("js");

const PLANTS = {
  ids: ["oak", "pine", "rose", "moss"],
  documents: ["a tall tree with lobed leaves", "a tall tree with needles", "a shrub with red flowers", "a soft green carpet"],
  metadatas: [
    { kind: "tree", height: 30 },
    { kind: "tree", height: 35.5, tags: ["evergreen", "resin"] },
    { kind: "shrub", height: 2 },
    { kind: "moss", flat: true },
  ],
};
const INCLUDE = ["documents", "embeddings", "metadatas", "uris"];

const near = (a, b) => Math.abs(a - b) <= 1e-6;
const idsOf = async (collection, filters) => (await collection.get(filters)).ids.sort();

async function collections() {
  assert.equal(await client.version(), "1.0.0");
  assert.ok((await client.heartbeat()) > 1.6e18);
  const made = await client.createCollection({ name: "first", metadata: { season: "spring" }, embeddingFunction });
  await assert.rejects(client.createCollection({ name: "first", embeddingFunction }), ChromaUniqueError);
  await assert.rejects(client.createCollection({ name: "x", embeddingFunction }), ChromaClientError);
  const again = await client.getOrCreateCollection({ name: "first", metadata: { season: "autumn" }, embeddingFunction });
  assert.deepEqual([again.id, again.metadata], [made.id, { season: "spring" }]);
  await made.modify({ name: "renamed", metadata: { season: "summer" }, configuration: { hnsw: { ef_search: 55 } } });
  const renamed = await client.getCollection({ name: "renamed" });
  assert.deepEqual([renamed.id, renamed.metadata], [made.id, { season: "summer" }]);
  assert.equal(renamed.configuration.hnsw.ef_search, 55);
  await assert.rejects(client.getCollection({ name: "first" }), ChromaNotFoundError);
  assert.equal(await client.countCollections(), 1);
  assert.deepEqual((await client.listCollections()).map((each) => each.name), ["renamed"]);
  await client.deleteCollection({ name: "renamed" });
  assert.equal(await client.countCollections(), 0);
}

async function records() {
  const plants = await client.createCollection({ name: "plants", embeddingFunction });
  await plants.add(PLANTS);
  assert.equal(await plants.count(), 4);
  const got = await plants.get({ include: INCLUDE });
  assert.deepEqual([got.ids, got.documents, got.metadatas], [PLANTS.ids, PLANTS.documents, PLANTS.metadatas]);
  got.embeddings.forEach((vector, row) => {
    const expected = embed(PLANTS.documents[row]);
    assert.ok(vector.length === 32 && vector.every((value, i) => near(value, expected[i])), PLANTS.ids[row]);
  });
  assert.deepEqual((await plants.get({ limit: 2, offset: 1 })).ids, ["pine", "rose"]);
  assert.deepEqual((await plants.peek({ limit: 1 })).ids, ["oak"]);

  assert.deepEqual(await idsOf(plants, { where: { kind: "tree" } }), ["oak", "pine"]);
  assert.deepEqual(await idsOf(plants, { where: { height: { $gt: 2 } } }), ["oak", "pine"]);
  assert.deepEqual(await idsOf(plants, { where: { tags: { $contains: "resin" } } }), ["pine"]);
  assert.deepEqual(await idsOf(plants, { where: { $or: [{ flat: true }, { kind: "shrub" }] } }), ["moss", "rose"]);
  assert.deepEqual(await idsOf(plants, { whereDocument: { $contains: "tall" } }), ["oak", "pine"]);

  const found = await plants.query({ queryTexts: ["a tall tree with needles", "red flowers"], nResults: 2 });
  assert.deepEqual(found.ids.map((hits) => hits[0]), ["pine", "rose"]);
  assert.ok(near(found.distances[0][0], 0));
  assert.deepEqual(found.metadatas[1][0], { kind: "shrub", height: 2 });
  const trees = await plants.query({ queryEmbeddings: [embed("moss")], where: { kind: "tree" }, ids: ["oak", "moss"] });
  assert.deepEqual(trees.ids, [["oak"]]);

  await plants.update({ ids: ["oak"], metadatas: [{ height: 31 }] });
  await plants.upsert({ ids: ["rose", "ivy"], documents: ["thorns", "it climbs"], metadatas: [{ cut: true }, { kind: "ivy" }] });
  assert.equal((await plants.delete({ ids: ["moss"] })).deleted, 1);
  assert.equal((await plants.delete({ where: { kind: "nothing" } })).deleted, 0);
  await assert.rejects(plants.add({ ids: ["short"], embeddings: [[1, 2]] }), /dimension of 32, got 2/);
  await assert.rejects(plants.query({ queryEmbeddings: [[1, 2]] }), ChromaClientError);
}

async function check() {
  const plants = await client.getCollection({ name: "plants" }); // its embedding function is made from what is stored
  const got = await plants.get({ include: INCLUDE });
  assert.deepEqual(got.ids, ["oak", "pine", "rose", "ivy"]);
  assert.deepEqual(got.documents, [PLANTS.documents[0], PLANTS.documents[1], "thorns", "it climbs"]);
  assert.deepEqual(got.metadatas, [
    { kind: "tree", height: 31 },
    PLANTS.metadatas[1],
    { kind: "shrub", height: 2, cut: true },
    { kind: "ivy" },
  ]);
  assert.deepEqual((await plants.query({ queryTexts: ["it climbs"], nResults: 1 })).ids, [["ivy"]]);
  assert.deepEqual((await client.listCollections()).map((each) => each.name), ["plants"]);
}

if (phase === "write") {
  await collections();
  await records();
} else {
  await check();
}
