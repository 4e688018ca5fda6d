// The head of a view: where one is, what it is, what can be done; the tabs of a collection.

import { link, parse } from "../core/address.js";
import { h } from "./dom.js";

export function heading(title, { crumbs = [], lead, actions = [] } = {}) {
  return h(
    "div",
    { class: "head" },
    h(
      "div",
      { class: "head-title" },
      crumbs.length > 0 &&
        h(
          "p",
          { class: "crumbs" },
          crumbs.map(([text, path]) => [h("a", { href: link(path) }, text), " / "]),
        ),
      h("h1", {}, title),
      lead && h("p", { class: "lead" }, lead),
    ),
    actions.length > 0 && h("div", { class: "head-actions" }, actions),
  );
}

const TABS = [
  ["records", "Records"],
  ["search", "Search"],
  ["map", "Map"],
  ["history", "History"],
  ["overview", "Overview"],
];

// Name, tabs; `asOf` says that the collection is shown as it was at a version.
export function collectionHeading(name, { lead, actions, version } = {}) {
  const view = parse(location.hash).path[2] ?? "records";
  return [
    heading(name, { crumbs: [["Collections", ["collections"]]], lead, actions }),
    h(
      "nav",
      { class: "tabs", "aria-label": `Views of ${name}` },
      TABS.map(([tab, text]) =>
        h(
          "a",
          {
            href: link(["collections", name, tab], tab === "records" || tab === "search" ? { version } : {}),
            "aria-current": tab === view ? "page" : undefined,
          },
          text,
        ),
      ),
    ),
    version &&
      h(
        "div",
        { class: "message warn" },
        h(
          "div",
          { class: "spread grow" },
          h("span", {}, `You look at ${name} as it was at version ${version}. Nothing can be changed here.`),
          h("a", { href: link(["collections", name, view]) }, "Back to the present"),
        ),
      ),
  ];
}
