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

// What /health says of the collection's graphs; it lists those with many records outside.
export function indexState({ name, dimension, count }, health) {
  if (dimension === 0) return "by words";
  if (!count) return h("span", { class: "quiet" }, "nothing to index");
  const graph = (health.graphs ?? []).find(({ collection }) => collection === name);
  if (!graph || graph.in_graphs >= graph.records) return "in the graph";
  const open = graph.records - graph.in_graphs;
  return h(
    "span",
    {},
    `${integer(Math.floor((100 * graph.in_graphs) / graph.records))} % in the graph`,
    h("span", { class: "quiet" }, graph.building ? `, ${figure(open)} being built` : `, ${figure(open)} scanned`),
  );
}
