// The state of a collection and of its index, in words.

import { figure, integer } from "../core/format.js";
import { h } from "./dom.js";

const STATES = {
  ready: ["good", "ready"],
  loading: ["warn", "being loaded"],
  damaged: ["bad", "damaged"],
  resting: ["", "evicted: loaded when used"],
  evicted: ["", "evicted: loaded when used"],
};

export function stateBadge({ state }) {
  const [kind, text] = STATES[state] ?? ["", state ?? "unknown"];
  return h("span", { class: `badge ${kind}` }, text);
}

// /health lists the collections that have as many records outside of their graphs, or more.
const TOLD_FROM = 4096;
const FEW = `The server tells of collections with ${integer(TOLD_FROM)} records or more outside of a graph.`;
const unknown = (why) => h("span", { class: "quiet", title: why }, "–", h("span", { class: "unseen" }, ` ${why}`));

// What is known of a collection's graphs. /health tells of those in memory alone, by name only to keys that see all,
// and not of a few records outside.
export function indexState({ name, dimension, count, state }, { graphs = [] } = {}) {
  if (dimension === 0) return "by words";
  if (state !== "ready") return unknown("Known once the collection is in memory.");
  if (!count) return h("span", { class: "quiet" }, "nothing to index");
  const graph = graphs.find(({ collection }) => collection === name);
  if (graph) return outside(graph);
  // No name of a collection begins so: it stands for one that the key may not see.
  if (graphs.some(({ collection }) => collection.startsWith("(")))
    return unknown("Shown to keys that see the whole server.");
  return count > TOLD_FROM ? "in the graph, but for a few" : unknown(FEW);
}

function outside({ records, in_graphs: inside, building }) {
  const open = records - inside;
  return h(
    "span",
    {},
    `${integer(Math.floor((100 * inside) / records))} % in the graph`,
    h("span", { class: "quiet" }, building ? `, ${figure(open)} being built` : `, ${figure(open)} compared`),
  );
}
