// What the page tells people: short notices, errors in a view, and what to do where there is nothing.

import { h } from "./dom.js";
import { icon } from "./icons.js";

const STAYS_MS = 6000;

export function notify(text, kind = "") {
  const node = h(
    "div",
    { class: "notice", "data-kind": kind },
    h("span", {}, text),
    h("button", { type: "button", "aria-label": "Close this notice", on: { click: () => node.remove() } }, "×"),
  );
  document.getElementById("notices").append(node);
  setTimeout(() => node.remove(), kind === "error" ? 2 * STAYS_MS : STAYS_MS);
}

// An error as a notice, unless the person only left the view.
export function notifyError(error) {
  if (error.name !== "AbortError") notify(error.message, "error");
}

export function message(text, kind = "", ...more) {
  return h("div", { class: `message ${kind}` }, icon(kind === "good" ? "good" : "warn"), h("div", {}, text, more));
}

export function empty({ title, text, actions = [], code, icon: name = "empty" }) {
  return h(
    "div",
    { class: "empty" },
    icon(name),
    h("h2", {}, title),
    text && h("p", {}, text),
    code && h("pre", { class: "block", tabindex: "0" }, code),
    actions.length > 0 && h("div", { class: "row" }, actions),
  );
}

// What stands in place of a view that could not be shown.
export function failed(error, retry) {
  if (error.isMissingRoute) {
    return empty({
      title: "This server cannot do that",
      text: "Its version has no route for it. A newer version of Drumlin does.",
      icon: "warn",
    });
  }
  const titles = {
    0: "The server does not answer",
    401: "A key is needed",
    403: "The key does not allow this",
    404: "Not found",
    503: "The server is not ready",
  };
  return empty({
    title: error.kind === "corrupted" ? "This is damaged" : (titles[error.status] ?? "This could not be shown"),
    text: error.message,
    icon: "warn",
    actions: retry ? [h("button", { class: "button", type: "button", on: { click: retry } }, "Try again")] : [],
  });
}

export function waiting(text = "Loading…") {
  return h("p", { class: "quiet", role: "status" }, text);
}
