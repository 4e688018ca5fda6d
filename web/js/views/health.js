// How the server is doing: charts that live on /metrics alone, and advice where something is wrong.

import { api } from "../core/api.js";
import { bytes, figure, seconds } from "../core/format.js";
import { advice } from "../data/advice.js";
import { quantile, rate, sum } from "../data/metrics.js";
import { watch } from "../data/readings.js";
import { lineChart } from "../ui/chart.js";
import { h, put } from "../ui/dom.js";
import { heading } from "../ui/heading.js";
import { failed, message } from "../ui/notice.js";

export const title = () => "Health";

const READS = ({ route }) => /\/(search|query)$/.test(route);
const WRITES = ({ route }) => /\/(add|upsert|update|delete)$/.test(route) && route.startsWith("/api");

// Each chart: what its lines are made of two readings that follow one another.
const CHARTS = [
  {
    title: "Searches and writes a second",
    text: figure,
    series: [
      { name: "searches", colour: 1, area: true, of: (a, b) => rate(a, b, "drumlin_searches_total") },
      { name: "writes", colour: 2, of: (a, b) => rate(a, b, "drumlin_writes_acknowledged_total") },
    ],
  },
  { title: "Latency of searches", text: seconds, series: quantiles(READS) },
  { title: "Latency of writes", text: seconds, note: "a round trip to the bucket", series: quantiles(WRITES) },
  {
    title: "Writes that share one commit",
    text: figure,
    note: "one PUT each commit",
    series: [
      {
        name: "group size",
        colour: 3,
        of: (a, b) =>
          ratio(rate(a, b, "drumlin_writes_acknowledged_total"), rate(a, b, "drumlin_commits_written_total")),
      },
    ],
  },
  {
    title: "Memory",
    text: bytes,
    limit: (now) => sum(now.metrics, "drumlin_memory_limit_bytes") || null,
    limitName: "limit",
    series: [
      { name: "process", colour: 1, area: true, of: gauge("drumlin_memory_resident_bytes") },
      { name: "embeddings", colour: 2, of: gauge("drumlin_memory_vectors_bytes") },
      { name: "graphs", colour: 3, of: gauge("drumlin_memory_graph_bytes") },
      { name: "records", colour: 4, of: gauge("drumlin_memory_records_bytes") },
    ],
  },
  {
    title: "Queues",
    text: figure,
    series: [
      { name: "writes waiting", colour: 2, of: gauge("drumlin_writes_waiting") },
      { name: "searches under way", colour: 1, of: gauge("drumlin_searches_under_way") },
      { name: "requests", colour: 3, of: gauge("drumlin_requests_under_way") },
      { name: "graph builds", colour: 4, of: gauge("drumlin_graph_builds_under_way") },
    ],
  },
  {
    title: "Refusals a second",
    text: figure,
    series: [
      { name: "memory", colour: 6, of: (a, b) => rate(a, b, "drumlin_memory_refusals_total") },
      {
        name: "too often",
        colour: 3,
        of: (a, b) => rate(a, b, "drumlin_requests_total", ({ status }) => status === "429"),
      },
      {
        name: "busy or away",
        colour: 4,
        of: (a, b) => rate(a, b, "drumlin_requests_total", ({ status }) => status === "503" || status === "504"),
      },
    ],
  },
  {
    title: "Calls to the bucket a second",
    text: figure,
    series: ["get", "put", "list", "delete"].map((operation, i) => ({
      name: operation,
      colour: i + 1,
      of: (a, b) =>
        rate(a, b, "drumlin_bucket_calls_total", (labels) =>
          (operation === "put" ? ["put", "create", "swap", "copy"] : [operation]).includes(labels.operation),
        ),
    })),
  },
  {
    title: "Bytes to and from the bucket a second",
    text: bytes,
    series: [
      { name: "sent", colour: 2, area: true, of: (a, b) => rate(a, b, "drumlin_bucket_sent_bytes_total") },
      { name: "received", colour: 1, of: (a, b) => rate(a, b, "drumlin_bucket_received_bytes_total") },
    ],
  },
];

function quantiles(passes) {
  return [
    [0.5, "p50", 1],
    [0.99, "p99", 3],
  ].map(([part, name, colour]) => ({
    name,
    colour,
    of: (a, b) => quantile(a, b, "drumlin_request_seconds", part, passes),
  }));
}
function gauge(name) {
  return (_before, now) => sum(now.metrics, name);
}
function ratio(a, b) {
  return b > 0 ? a / b : null;
}

export async function show({ signal }) {
  const health = await api.health({ signal });
  const told = h("div", { class: "stack-s", role: "status" });
  const charts = CHARTS.map((chart) => lineChart(chart));
  const grid = h(
    "div",
    { class: "charts" },
    charts.map(({ node }) => node),
  );
  watch(
    signal,
    (readings) => {
      put(
        told,
        advice(readings).map(({ kind, text, more }) => message(text, kind, more && h("div", { class: "small" }, more))),
      );
      const times = readings.slice(1).map(({ at }) => at);
      charts.forEach((chart, i) =>
        chart.update(
          times,
          CHARTS[i].series.map(({ of }) => readings.slice(1).map((now, j) => of(readings[j], now))),
          CHARTS[i].limit?.(readings.at(-1)) ?? null,
        ),
      );
    },
    (error) => {
      if (error.status !== 0) put(grid, failed(error));
    },
  );
  return [
    heading("Health", {
      lead: `Up for ${seconds(health.uptime_seconds)}. The charts begin when this page does, and have a reading every two seconds.`,
    }),
    troubles(health),
    told,
    grid,
  ];
}

// What /health itself says; the rest is made of the metrics.
function troubles(health) {
  const lines = [];
  if (health.status === "starting" || health.status === "loading")
    lines.push(
      message(
        health.waiting_for
          ? `Starting: ${health.waiting_for}`
          : `Loading collections: ${health.loading?.done} of ${health.loading?.total}.`,
        "warn",
      ),
    );
  if (health.storage?.last_error)
    lines.push(
      message(`The bucket's last error: ${health.storage.last_error}`, health.storage.connected ? "warn" : "bad"),
    );
  for (const { collection, key, cause } of health.damaged ?? [])
    lines.push(message(`${collection} is damaged: ${cause ?? ""} ${key ?? ""}`, "bad"));
  return lines;
}
