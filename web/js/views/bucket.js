// What lies in the bucket, and what it costs.

import { api, call } from "../core/api.js";
import { bytes, count, figure, integer, seconds, time } from "../core/format.js";
import { rate, sum } from "../data/metrics.js";
import { watch } from "../data/readings.js";
import { bars } from "../ui/chart.js";
import { checking } from "../ui/checking.js";
import { h, put } from "../ui/dom.js";
import { heading } from "../ui/heading.js";
import { failed, message } from "../ui/notice.js";
import { table } from "../ui/table.js";
import { tile } from "../ui/tile.js";

export const title = () => "Bucket";

const READINGS_A_MINUTE = 30;
const NAMED = 10;

export async function show({ signal, reload }) {
  const health = await api.health({ signal });
  const storage = health.storage ?? {};
  const top = heading("Bucket", {
    lead: whereabouts(storage),
  });
  let found, known;
  try {
    [found, known] = await Promise.all([call("GET", "api/bucket", { signal }), api.collections({ signal })]);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return [top, connection(storage), failed(error, reload)];
  }
  return [
    top,
    connection(storage),
    tiles(found, signal),
    h(
      "div",
      { class: "columns-2" },
      kinds(found),
      costs(found),
      byCollection(found, known),
      byLevel(found, known),
      probed(found),
    ),
    checking(known, signal),
  ];
}

const PROVIDERS = { s3: "S3", r2: "Cloudflare R2", gcs: "Google Cloud Storage", azure: "Azure", dropbox: "Dropbox" };

function whereabouts({ kind, location }) {
  if (kind === "memory") return "Memory only: nothing outlives the server";
  const provider = kind === "folder" ? "A folder" : (PROVIDERS[kind] ?? kind ?? "");
  return location ? `${provider}: ${location}` : provider;
}

function connection({ connected, failing = [], last_error: words }) {
  if (connected && failing.length === 0) return null;
  return message(
    `${connected ? `The bucket refuses ${failing.join(" and ")}.` : "The bucket does not answer."} ${words ?? ""}`,
    "bad",
  );
}

function tiles({ kinds: all = [], garbage = {} }, signal) {
  const total = (what) => all.reduce((n, each) => n + each[what], 0);
  const live = Array.from({ length: 3 }, () => ({ value: h("span", {}, "–"), more: h("span", {}) }));
  watch(signal, (readings) => tellTraffic(readings, live));
  const [calls, moved, lag] = live;
  return h(
    "div",
    { class: "tiles" },
    tile("Stored", bytes(total("bytes")), count(total("objects"), "object")),
    tile("Garbage", bytes(garbage.bytes), `${count(garbage.objects ?? 0, "object")}, to be collected`),
    tile("Requests a minute", calls.value, calls.more),
    tile("Sent a minute", moved.value, moved.more),
    tile("Lag", lag.value, lag.more),
  );
}

// By the readings of this page, of the last minute at most.
function tellTraffic(readings, [calls, moved, lag]) {
  const now = readings.at(-1),
    before = readings[Math.max(0, readings.length - READINGS_A_MINUTE)];
  put(lag.value, seconds(sum(now.metrics, "drumlin_lag_seconds")));
  put(lag.more, "since other servers' writes were looked for");
  if (before === now) return;
  const minute = (name) => 60 * rate(before, now, name);
  put(calls.value, figure(minute("drumlin_bucket_calls_total")));
  put(calls.more, `of this server, ${integer(sum(now.metrics, "drumlin_bucket_calls_total"))} since the start`);
  put(moved.value, bytes(minute("drumlin_bucket_sent_bytes_total")));
  put(moved.more, `${bytes(minute("drumlin_bucket_received_bytes_total"))} received`);
}

function kinds({ kinds: all = [] }) {
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Objects by kind"),
    bars(
      [...all]
        .sort((a, b) => b.bytes - a.bytes)
        .map(({ kind, objects, bytes: size }) => ({ name: kind, value: size, more: `in ${integer(objects)}` })),
      bytes,
    ),
  );
}

// The largest by name; the others as one, with what has no name in this database.
function byCollection({ collections: all = [] }, known) {
  const names = new Map(known.map(({ id, name }) => [id, name]));
  const named = all.filter(({ id }) => names.has(id)).slice(0, NAMED);
  const others = all.filter((each) => !named.includes(each));
  const total = (what) => others.reduce((n, each) => n + each[what], 0);
  const bar = (name, size, objects) => ({ name, value: size, more: `in ${integer(objects)}` });
  const rows = named.map(({ id, bytes: size, objects }) => bar(names.get(id), size, objects));
  if (others.length > 0) rows.push(bar("Others, files, models and what was dropped", total("bytes"), total("objects")));
  return h("section", { class: "card" }, h("h2", {}, "Objects by collection"), bars(rows, bytes));
}

// Segments as compaction sees them: enough of a level side by side become one of the next.
function byLevel({ collections: all = [], fan_out: fanOut }, known) {
  const names = new Map(known.map(({ id, name }) => [id, name]));
  const named = all.filter(({ id, levels = [] }) => names.has(id) && levels.length > 0).slice(0, NAMED);
  const numbers = ["Level", "Segments", "Rows", "Bytes"].map((name) => ({ name, isNumber: true }));
  const row = (name, { level, segments, rows, bytes: size }, first) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, first ? name : h("span", { class: "unseen" }, name)),
      [integer(level), integer(segments), integer(rows), bytes(size)].map((text) => h("td", { class: "number" }, text)),
    );
  const rows = named.flatMap(({ id, levels }) => levels.map((each, at) => row(names.get(id), each, at === 0)));
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Segments by level"),
    rows.length > 0
      ? table("Segments by level", [{ name: "Collection" }, ...numbers], h("tbody", {}, rows))
      : h("p", { class: "quiet" }, "No segment yet: all writes are in the log."),
    fanOut !== undefined &&
      h("p", { class: "quiet small" }, `${integer(fanOut)} neighbours of a level are merged into one of the next.`),
  );
}

function probed({ probe }) {
  const told = probe
    ? [
        h("p", {}, probe.at ? `Passed on ${time(probe.at)}, by ${probe.by}:` : `Passed, by ${probe.by}:`),
        h("ul", { class: "stack small" }, probe.shown.map((step) => h("li", {}, step))),
      ]
    : h("p", { class: "quiet" }, "The mark of a passed probe is gone. The next start probes the bucket again.");
  return h("section", { class: "card" }, h("h2", {}, "Last probe"), told);
}

function dollars(n) {
  if (!Number.isFinite(n)) return "–";
  return n > 0 && n < 0.005 ? "< $ 0.01" : `$ ${n.toFixed(2)}`;
}

function costs({ costs: all = [] }) {
  // Before an hour of requests was counted only storage is told.
  const totals = all.map(({ total }) => total).filter(Number.isFinite);
  const least = totals.length > 1 ? Math.min(...totals) : undefined;
  const amounts = ["Storage", "Requests", "Traffic", "Total"].map((name) => ({ name, isNumber: true }));
  const row = ({ provider, storage, requests, traffic, total }) =>
    h(
      "tr",
      {},
      h(
        "th",
        { scope: "row" },
        provider,
        " ",
        least !== undefined && total === least && h("span", { class: "badge good plain" }, "least"),
      ),
      [storage, requests, traffic].map((each) => h("td", { class: "number" }, dollars(each))),
      h("td", { class: "number" }, h("b", {}, dollars(total))),
    );
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "A month at list prices"),
    table("Costs", [{ name: "Provider" }, ...amounts], h("tbody", {}, all.map(row))),
    totals.length === 0 &&
      h(
        "p",
        { class: "quiet small" },
        "Requests and traffic are priced once this server has counted them for an hour.",
      ),
  );
}
