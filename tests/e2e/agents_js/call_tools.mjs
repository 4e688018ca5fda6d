// The official TypeScript client: lists and calls every tool, lists and reads every resource.
//
//   node call_tools.mjs http http://127.0.0.1:8000/mcp
//   node call_tools.mjs stdio drumlin mcp --data folder

import assert from "node:assert/strict";

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const TOOLS = ["remember", "search", "read", "update", "forget", "list_collections"];

function transport([kind, first, ...rest]) {
  if (kind === "http") return new StreamableHTTPClientTransport(new URL(first));
  return new StdioClientTransport({ command: first, args: rest, env: process.env });
}

const client = new Client({ name: "drumlin-tests", version: "1" });
await client.connect(transport(process.argv.slice(2)));

async function call(name, args) {
  const answer = await client.callTool({ name, arguments: args });
  assert.ok(!answer.isError, JSON.stringify(answer));
  assert.deepEqual(JSON.parse(answer.content[0].text), answer.structuredContent);
  return answer.structuredContent;
}

assert.equal(client.getServerVersion().name, "drumlin");
assert.match(client.getInstructions(), /memory/);
const { tools } = await client.listTools();
assert.deepEqual(tools.map((tool) => tool.name), TOOLS);
for (const tool of tools) assert.equal(tool.inputSchema.type, "object");

const collection = "typescript";
const texts = [
  { text: "The tests run on Node.", id: "node", metadata: { year: 2026, tags: ["tests", "js"] } },
  { text: "Foxes are quick." },
];
const stored = await call("remember", { texts, collection, description: "Of the TypeScript client." });
assert.equal(stored.remembered, 2);
const found = await call("search", { query: "which tests?", collection, filter: { tags: { $contains: "js" } } });
assert.deepEqual(found.results.map((result) => result.id), ["node"]);
await call("update", { updates: [{ id: "node", text: "The tests run on Node 20." }], collection });
const read = await call("read", { ids: ["node"], collection });
assert.equal(read.records[0].text, "The tests run on Node 20.");
assert.equal((await call("forget", { ids: [stored.ids[1]], collection })).forgotten, 1);
const { collections } = await call("list_collections", {});
assert.deepEqual(collections.find((told) => told.name === collection).texts, 1);

const refused = await client.callTool({ name: "forget", arguments: { collection } });
assert.ok(refused.isError && refused.content[0].text.includes("nothing was deleted"));

const { resources } = await client.listResources();
const resource = resources.find((told) => told.name === collection);
const { contents } = await client.readResource({ uri: resource.uri });
assert.equal(JSON.parse(contents[0].text).description, "Of the TypeScript client.");
const { resourceTemplates } = await client.listResourceTemplates();
assert.equal(resourceTemplates.length, 1);
await client.ping();
await client.close();
console.log("every tool and resource answered");
