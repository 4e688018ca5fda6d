// What is wrong by the metrics, and what to do about it; docs/operations.md has the same conditions as alerts.

import { bytes, integer, seconds } from "../core/format.js";
import { rate, sum } from "./metrics.js";

// Readings that rates of rare things are taken over: a minute.
const MINUTE = 30;

// Each rule: a sentence where it applies, else null; and what to do.
const RULES = [
  [
    "bad",
    ({ now }) => now("drumlin_storage_connected") === 0 && "The bucket does not answer.",
    "Look at the network, the credentials and the provider's status. Reads go on from memory.",
  ],
  [
    "bad",
    ({ now }) => now("drumlin_storage_failing") > 0 && "The bucket refuses reads, writes or deletes.",
    "A full disk or a missing right: /health has the bucket's words.",
  ],
  [
    "bad",
    ({ now }) =>
      now("drumlin_collections_damaged") > 0 &&
      `${integer(now("drumlin_collections_damaged"))} of the collections are damaged.`,
    "Fork what was there before the damage; drumlin verify says which objects it is in.",
  ],
  [
    "bad",
    ({ per }) => per("drumlin_outcomes_unknown_total") > 0 && "The bucket leaves the outcome of writes open.",
    "Writes answered outcome_unknown may or may not be applied. Send the same upserts again, and look at the bucket.",
  ],
  [
    "warn",
    ({ per }) => per("drumlin_memory_refusals_total") > 0 && "Requests are refused for want of memory.",
    "More memory, fewer records, or DRUMLIN_IDLE_REST, so that unused collections leave memory.",
  ],
  [
    "warn",
    ({ now }) => {
      const limit = now("drumlin_memory_limit_bytes"),
        used = now("drumlin_memory_resident_bytes");
      return limit > 0 && used > 0.9 * limit && `Memory is nearly full: ${bytes(used)} of ${bytes(limit)}.`;
    },
    "Large writes and graph builds will be put off or refused soon.",
  ],
  [
    "warn",
    ({ now }) =>
      now("drumlin_commits_unflushed") > 256 * Math.max(8, now("drumlin_collections")) &&
      `${integer(now("drumlin_commits_unflushed"))} commits are in no segment yet.`,
    "Maintenance does not keep up, or DRUMLIN_MAINTENANCE is false everywhere. The next start will read many small objects.",
  ],
  [
    "warn",
    ({ now }) =>
      now("drumlin_collections_loading") > 0 &&
      `${integer(now("drumlin_collections_loading"))} collections are being loaded.`,
    "Searches in them wait until they are in memory.",
  ],
  [
    "warn",
    ({ per }) =>
      per("drumlin_requests_total", ({ status }) => status === "429") > 0 && "Clients ask more often than they may.",
    "DRUMLIN_RATE_PER_SECOND is the limit of each key.",
  ],
  [
    "warn",
    ({ now }) =>
      now("drumlin_writes_waiting") > 1000 && `${integer(now("drumlin_writes_waiting"))} writes wait for the bucket.`,
    "Fewer, larger requests help: they share commits, but each waits for a round trip.",
  ],
  [
    "warn",
    ({ now }) =>
      now("drumlin_catalog_lag_seconds") > 600 &&
      `Other servers' collections were looked for ${seconds(now("drumlin_catalog_lag_seconds"))} ago.`,
    "Look at the bucket's latency, and at S3_SYNC_INTERVAL.",
  ],
  [
    "",
    ({ now }) =>
      now("drumlin_graph_builds_under_way") > 0 && now("drumlin_search_threads_busy") > 0 && "A graph is being built.",
    "Searches scan the records outside of it meanwhile, and may be slower.",
  ],
];

export function advice(readings) {
  const last = readings.at(-1),
    before = readings[Math.max(0, readings.length - MINUTE)];
  if (!last) return [];
  const facts = {
    now: (name) => sum(last.metrics, name),
    per: (name, passes) => (before === last ? 0 : rate(before, last, name, passes)),
  };
  const found = RULES.map(([kind, test, more]) => ({ kind, text: test(facts), more })).filter(({ text }) => text);
  return found.length > 0
    ? found
    : [{ kind: "good", text: "All is well: the bucket answers, nothing is damaged, nothing is refused." }];
}
