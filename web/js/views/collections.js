// All collections of a database: how large they are, what state they are in, and what the server does right now.

import { link } from "../core/address.js";
import { api, call } from "../core/api.js";
import { bytes, count, figure, integer } from "../core/format.js";
import { rate, sum } from "../data/metrics.js";
import { watch } from "../data/readings.js";
import { button, field, input, select } from "../ui/controls.js";
import { openDialog } from "../ui/dialog.js";
import { h, put } from "../ui/dom.js";
import { heading } from "../ui/heading.js";
import { damage } from "../ui/fork.js";
import { empty, notify } from "../ui/notice.js";
import { indexState, stateBadge } from "../ui/collection_state.js";
import { table } from "../ui/table.js";
import { tile } from "../ui/tile.js";

export const title = () => "Collections";

export async function show({ query, signal }) {
  const [collections, health] = await Promise.all([api.collections({ signal }), api.health({ signal })]);
  const actions = [
    button("Database", { kind: "bare", click: () => chooseDatabase(query) }),
    button("New collection", { icon: "plus", kind: "primary", needs: "write", click: create }),
  ];
  const lead =
    query.database || query.tenant
      ? `Database ${query.database ?? "default_database"} of ${query.tenant ?? "default_tenant"}`
      : null;
  if (collections.length === 0) return [heading("Collections", { lead, actions }), nothing()];
  return [heading("Collections", { lead, actions }), tiles(collections, health, signal), list(collections, health)];
}

function createBySnippet() {
  const body = `{"name": "notes", "metric": "cosine"}`;
  const address = `${location.origin}${location.pathname}api/collections`;
  return `curl ${address} \\\n  -H 'content-type: application/json' \\\n  -d '${body}'`;
}

function nothing() {
  return empty({
    title: "No collections yet",
    icon: "collections",
    text: "A collection holds records, each with an embedding, a document and metadata as you like.",
    code: createBySnippet(),
    actions: [button("New collection", { icon: "plus", kind: "primary", needs: "write", click: create })],
  });
}

function tiles(collections, health, signal) {
  const memory = health.memory ?? {};
  const limit = memory.limit_bytes;
  const searches = h("span", {}, "–"),
    writes = h("span", {}, "–"),
    stored = h("span", {}, "–");
  watch(
    signal,
    (readings) => {
      const [before, now] = [readings.at(-2), readings.at(-1)];
      if (!before) return;
      put(searches, figure(rate(before, now, "drumlin_searches_total")));
      put(writes, figure(rate(before, now, "drumlin_writes_acknowledged_total")));
      put(stored, `${bytes(sum(now.metrics, "drumlin_bucket_sent_bytes_total"))} sent to the bucket since the start`);
    },
    () => {},
  );
  return h(
    "div",
    { class: "tiles" },
    tile(
      "Records",
      integer(collections.reduce((n, { count: records }) => n + records, 0)),
      count(collections.length, "collection"),
    ),
    tile(
      "Memory",
      bytes(memory.resident_bytes ?? memory.held_bytes),
      limit ? `of ${bytes(limit)}` : "no limit",
      limit ? Math.min(1, (memory.resident_bytes ?? 0) / limit) : undefined,
    ),
    tile("Searches a second", searches, "now, on this server"),
    tile("Writes a second", writes, stored),
  );
}

// What the table says of a collection: the column's name, whether it has figures, the value. The first is the row's head.
function columnsFor(collections, health) {
  const version = (each) => (typeof each.version === "object" ? "–" : String(each.version ?? "–"));
  const columns = [
    ["Name", false, ({ name }) => h("a", { href: link(["collections", name, "records"]) }, name)],
    ["Records", true, (each) => integer(each.count)],
    ["Dimensions", true, ({ dimension }) => dimension ?? "–"],
    ["Metric", false, ({ metric }) => metric],
    ["Index", false, (each) => indexState(each, health)],
    ["Memory", true, (each) => bytes(each.memory_bytes)],
    ["State", false, stateBadge],
    ["Version", true, version],
    ["Views", false, views],
  ];
  return columns;
}

function views({ name }) {
  const to = (view, text) => {
    const href = link(["collections", name, view]);
    return h("a", { class: "button compact", href, "aria-label": `${text} ${name}` }, text);
  };
  return h("span", { class: "row" }, to("search", "Search"), to("map", "Map"));
}

function list(collections, health) {
  const columns = columnsFor(collections, health);
  const number = (isNumber) => (isNumber ? "number" : "");
  const cell = (each, [, isNumber, value], i) =>
    i === 0
      ? h("th", { class: "strong", scope: "row" }, value(each))
      : h("td", { class: number(isNumber) }, value(each));
  const rows = collections.map((each) =>
    h(
      "tr",
      {},
      columns.map((column, i) => cell(each, column, i)),
    ),
  );
  const heads = columns.map(([name, isNumber]) => ({ name, isNumber, isUnseen: name === "Views" }));
  const damaged = collections.filter(({ state }) => state === "damaged");
  return h(
    "div",
    { class: "stack" },
    damaged.map(damage),
    h("div", { class: "card flush" }, table("Collections", heads, h("tbody", {}, rows))),
  );
}

function create() {
  const name = input({ required: "", pattern: "[A-Za-z0-9]([A-Za-z0-9._\\-]{0,510}[A-Za-z0-9])?" });
  const metric = select(
    [
      ["cosine", "cosine: angle"],
      ["l2", "l2: squared distance"],
      ["ip", "ip: inner product"],
    ],
    "cosine",
  );
  const dimension = input({ type: "number", min: "0", step: "1", placeholder: "from the first record" });
  const model = select([["", "none: embeddings come with the records"]], "");
  const models = h(
    "div",
    { hidden: true },
    field("Model", model, "Makes embeddings of documents, and of what is searched for."),
  );
  // The dialog does not wait for them.
  call("GET", "api/models")
    .then((list) => {
      model.append(...list.map(({ name: each }) => h("option", { value: each }, each)));
      models.hidden = list.length === 0;
    })
    .catch(() => {});
  const problem = h("p", { class: "problem", role: "alert" });
  const submit = async () => {
    const body = { name: name.value.trim(), metric: metric.value };
    if (dimension.value !== "") body.dimension = Number(dimension.value);
    if (model.value) body.embedder = { model: model.value };
    try {
      const made = await api.create(body);
      dialog.close();
      notify(made.notes?.[0] ?? `Made ${made.name}.`);
      location.hash = link(["collections", made.name, "records"]);
    } catch (error) {
      put(problem, error.message);
    }
  };
  const dialog = openDialog({
    title: "New collection",
    submit,
    body: [
      field("Name", name, "Letters, digits and . _ - between."),
      field("Metric", metric, "How near two embeddings are."),
      field("Dimensions", dimension, "Empty: the first record decides. 0: searched by words alone."),
      models,
      problem,
    ],
    foot: [button("Cancel", { click: () => dialog.close() }), button("Create", { kind: "primary", type: "submit" })],
  });
  name.focus();
}

function chooseDatabase(query) {
  const tenant = input({ value: query.tenant ?? "", placeholder: "default_tenant" });
  const database = input({ value: query.database ?? "", placeholder: "default_database" });
  const dialog = openDialog({
    title: "Which database",
    submit: () => {
      dialog.close();
      location.hash = link(["collections"], { tenant: tenant.value.trim(), database: database.value.trim() });
    },
    body: [field("Tenant", tenant), field("Database", database)],
    foot: [button("Cancel", { click: () => dialog.close() }), button("Show", { kind: "primary", type: "submit" })],
  });
  tenant.focus();
}
