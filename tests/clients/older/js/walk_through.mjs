// What users of the last JavaScript client for `/api/v1` (1.8.1) do with a server.   node walk_through.mjs PORT
// Prints what every call answered or threw, as one JSON object. A name that ends with a star is a call whose answer is
// not compared.

import { AdminClient, ChromaClient } from "chromadb";

const path = `http://127.0.0.1:${process.argv[2]}`;
const client = new ChromaClient({ path });
const embeddingFunction = { generate: async (texts) => texts.map((text) => [text.length, 1, 0]) };

const RECORDS = {
  ids: ["oak", "pine", "rose", "moss"],
  embeddings: [[1, 0, 0], [1, 0.5, 0], [0, 1, 0.5], [-1, 0.2, 0.1]],
  documents: ["a tall tree with lobed leaves", "a tall tree with needles", "a shrub with red flowers", "a carpet"],
  metadatas: [{ kind: "tree", height: 30 }, { kind: "tree", height: 35.5 }, { kind: "shrub", height: 2 }, { kind: "moss", flat: true }],
};
const QUERY = [[1, 0, 0]];
const EVERYTHING = ["documents", "embeddings", "metadatas"];

const told = {};

// A value as the two servers must agree on it: distances without their noise, columns in one order.
function plain(value, key) {
  if (key === "included") return [...value].sort();
  if (Array.isArray(value)) return value.map((item) => plain(item));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.keys(value).sort().map((name) => [name, plain(value[name], name)]));
  }
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toFixed(5)) : value;
}

async function tell(name, call) {
  try {
    const answer = await call();
    const isPlain = answer === null || typeof answer !== "object" || Array.isArray(answer) || !("id" in answer);
    told[name] = isPlain ? plain(answer) : answer.constructor.name;
    return answer;
  } catch (error) {
    told[name] = { threw: String(error.message ?? error) };
  }
}

async function collections() {
  const made = await tell("create", () => client.createCollection({ name: "plants", metadata: { "hnsw:space": "cosine" }, embeddingFunction }));
  await tell("create again", () => client.createCollection({ name: "plants", embeddingFunction }));
  const again = await client.getOrCreateCollection({ name: "plants", embeddingFunction });
  const found = await client.getCollection({ name: "plants", embeddingFunction });
  told["it is the same"] = [again.id === made.id, found.id === made.id, found.metadata];
  told["list"] = (await client.listCollections()).map((each) => each.name ?? each).sort();
  await tell("count of collections", () => client.countCollections());
  return made;
}

async function records(plants) {
  await tell("add", () => plants.add(RECORDS));
  await tell("add again", () => plants.add({ ids: ["oak"], embeddings: [[9, 9, 9]] }));
  await tell("upsert", () => plants.upsert({ ids: ["oak", "fern"], embeddings: [[0.9, 0, 0.1], [0.5, 0.5, 0.5]], documents: ["old", "new"] }));
  await tell("update", () => plants.update({ ids: ["rose"], metadatas: [{ height: 3 }] }));
  await tell("add of another dimension*", () => plants.add({ ids: ["flat"], embeddings: [[1, 2]] }));
  await tell("count", () => plants.count());
  await tell("get", () => plants.get({ include: EVERYTHING }));
  await tell("get by ids", () => plants.get({ ids: ["rose", "nothing"] }));
  await tell("get by filters", () => plants.get({ where: { height: { $gt: 2 } }, whereDocument: { $contains: "tree" } }));
  await tell("get of a page", () => plants.get({ limit: 1, offset: 1, include: [] }));
  await tell("peek", () => plants.peek({ limit: 2 }));
  await tell("query", () => plants.query({ queryEmbeddings: QUERY, nResults: 2 }));
  await tell("query by filters", () => plants.query({ queryEmbeddings: QUERY, where: { kind: "shrub" }, whereDocument: { $contains: "red" }, include: [...EVERYTHING, "distances"] }));
  await tell("query by a text", () => plants.query({ queryTexts: "some text", nResults: 1 }));
  await tell("delete by ids*", () => plants.delete({ ids: ["fern"] }));
  await tell("delete by a filter*", () => plants.delete({ where: { kind: "moss" } }));
  await tell("count after deletes", () => plants.count());
}

async function changes(plants) {
  await tell("modify", () => plants.modify({ name: "flora", metadata: { season: "summer" } }));
  const flora = await client.getCollection({ name: "flora", embeddingFunction });
  told["after the changes"] = [flora.id === plants.id, flora.metadata, await flora.count()];
  await tell("delete of a collection", () => client.deleteCollection({ name: "flora" }));
  await tell("delete of no collection", () => client.deleteCollection({ name: "flora" }));
  told["list after"] = await client.listCollections();
}

async function elsewhere() {
  const admin = new AdminClient({ path, tenant: "default_tenant", database: "default_database" });
  await tell("create a tenant", () => admin.createTenant({ name: "growers" }));
  await tell("create a database", () => admin.createDatabase({ name: "beds", tenantName: "growers" }));
  const there = new ChromaClient({ path, tenant: "growers", database: "beds" });
  const beds = await there.createCollection({ name: "beds", embeddingFunction });
  await beds.add({ ids: ["a"], embeddings: [[1, 2]] });
  told["elsewhere"] = [await beds.count(), (await there.listCollections()).length, (await client.listCollections()).length];
  await there.deleteCollection({ name: "beds" });
}

await tell("version", () => client.version());
told["heartbeat"] = (await client.heartbeat()) > 1.6e18;
const plants = await collections();
await records(plants);
await changes(plants);
await elsewhere();
console.log(JSON.stringify(told, null, 1));
