// How far something has come, as a bar.

import { h } from "./dom.js";

// `part` is from 0 to 1; `tell` shows another.
export function progressBar(label, part) {
  const fill = h("i");
  const node = h(
    "div",
    { class: "progress", role: "progressbar", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100" },
    fill,
  );
  const tell = (now) => {
    fill.style.setProperty("--part", now);
    node.setAttribute("aria-valuenow", String(Math.round(100 * now)));
  };
  tell(part);
  return { node, tell };
}
