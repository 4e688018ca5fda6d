// A table of a few rows, which scrolls by itself where it is wider than the window.

import { h } from "./dom.js";

// columns: [{ name, isNumber?, isUnseen? }]; `body` is a tbody.
export function table(label, columns, body) {
  const head = columns.map(({ name, isNumber, isUnseen }) =>
    h("th", { class: isNumber ? "number" : "", scope: "col" }, isUnseen ? h("span", { class: "unseen" }, name) : name),
  );
  return h(
    "div",
    { class: "scroll-x", tabindex: "0", role: "region", "aria-label": label },
    h("table", { class: "table" }, h("thead", {}, h("tr", {}, head)), body),
  );
}
