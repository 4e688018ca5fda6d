// A figure with its name and what it means; `part` of 1 makes a bar below.

import { h } from "./dom.js";

export function tile(name, value, more, part) {
  return h(
    "div",
    { class: "tile" },
    h("span", { class: "name" }, name),
    h("span", { class: "value" }, value),
    h("span", { class: "more" }, more),
    part !== undefined && h("div", { class: "progress", "aria-hidden": "true" }, h("i", { vars: { "--part": part } })),
  );
}
