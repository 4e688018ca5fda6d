// Metadata in a line.

import { short } from "../core/format.js";
import { h } from "./dom.js";

const MOST = 8,
  LONGEST = 80;

export function chips(metadata) {
  const entries = Object.entries(metadata ?? {});
  const more = entries.length - MOST;
  return h(
    "div",
    { class: "chips" },
    entries
      .slice(0, MOST)
      .map(([key, value]) => h("span", { class: "chip" }, h("b", {}, key), short(value).slice(0, LONGEST))),
    more > 0 && h("span", { class: "chip" }, `and ${more} more`),
  );
}
