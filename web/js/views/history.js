// The versions of a collection on a line of time: what each wrote, the collection as it was, restoring, forking,
// comparing.

import { amend, link } from "../core/address.js";
import { api } from "../core/api.js";
import { bytes, count, integer, time } from "../core/format.js";
import { button, field, input } from "../ui/controls.js";
import { bars } from "../ui/chart.js";
import { confirm } from "../ui/dialog.js";
import { h, put } from "../ui/dom.js";
import { askForFork } from "../ui/fork.js";
import { collectionHeading } from "../ui/heading.js";
import { empty, failed, notify, notifyError, waiting } from "../ui/notice.js";

export const title = (path) => `${path[1]}: history`;

const PAGE = 50,
  IDS = 50;

export async function show({ path: [, name], query, signal, reload }) {
  const top = collectionHeading(name);
  let first;
  try {
    first = await api.of(name, "versions", { query: { limit: PAGE }, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return [...top, failed(error, reload)];
  }
  if (first.versions.length === 0)
    return [
      ...top,
      empty({
        title: "No versions yet",
        text: "Each group of writes makes a version. The first write makes the first.",
        icon: "history",
      }),
    ];
  const compared = h("div", { class: "stack" });
  if (query.from !== undefined && query.to !== undefined) compare(name, query.from, query.to, compared, signal);
  return [
    ...top,
    h(
      "p",
      { class: "lead" },
      `Each group of writes is a version. Version ${first.oldest} is the oldest that can be looked at.`,
    ),
    writers(first.versions),
    first.oldest < first.versions[0].version && comparison(name, first, query, compared, signal),
    compared,
    line(name, first, signal),
  ];
}

function writers(versions) {
  const of = new Map();
  for (const { writer, bytes: wrote } of versions)
    if (writer !== undefined && wrote !== undefined) of.set(writer, (of.get(writer) ?? 0) + wrote);
  const items = [...of].map(([writer, value]) => ({ name: writer, value })).sort((a, b) => b.value - a.value);
  return (
    items.length > 1 &&
    h("section", { class: "card" }, h("h2", {}, "Who wrote how much, in these versions"), bars(items, bytes))
  );
}

function line(name, first, signal) {
  const list = h("ol", { class: "timeline" }),
    more = h("div", { class: "row" });
  const add = ({ versions, oldest }) => {
    list.append(...versions.map((each) => entry(name, each, first.versions[0].version)));
    const last = versions.at(-1)?.version;
    put(
      more,
      last !== undefined &&
        last > oldest &&
        versions.length === PAGE &&
        button("Earlier versions", {
          click: async () => {
            try {
              add(await api.of(name, "versions", { query: { limit: PAGE, before: last }, signal }));
            } catch (error) {
              notifyError(error);
            }
          },
        }),
    );
  };
  add(first);
  return h("section", { class: "stack" }, h("h2", {}, "Versions"), h("div", { class: "card flush" }, list), more);
}

// Of a version whose commit was merged into a segment, less is known.
function said({ at, writer, wrote }) {
  const parts = [at && time(at), writer, wrote !== undefined && bytes(wrote)].filter(Boolean);
  return parts.join(", ") || "merged into a segment";
}

function entry(name, { version, at, writer, added, changed, deleted, bytes: wrote }, newest) {
  return h(
    "li",
    { class: "version" },
    h("span", { class: "rail", "aria-hidden": "true" }),
    h(
      "div",
      { class: "what" },
      h(
        "div",
        { class: "row" },
        h("b", { class: "number" }, `Version ${version}`),
        version === newest && h("span", { class: "badge good" }, "now"),
        h(
          "span",
          { class: "delta" },
          added > 0 && h("span", { class: "added" }, `+${integer(added)}`),
          changed > 0 && h("span", { class: "changed" }, `~${integer(changed)}`),
          deleted > 0 && h("span", { class: "deleted" }, `−${integer(deleted)}`),
        ),
      ),
      h("span", { class: "quiet small" }, said({ at, writer, wrote })),
    ),
    h(
      "div",
      { class: "do" },
      version !== newest && [
        h(
          "a",
          {
            class: "button compact",
            href: link(["collections", name, "records"], { version }),
            "aria-label": `Look at version ${version}`,
          },
          "Look",
        ),
        button("Fork", {
          icon: "fork",
          kind: "compact",
          label: `Fork from version ${version}`,
          needs: "write",
          click: () => askForFork(name, version),
        }),
        button("Restore", {
          kind: "compact",
          label: `Restore version ${version}`,
          needs: "admin",
          click: () => restore(name, version),
        }),
      ],
    ),
  );
}

async function restore(name, version) {
  if (
    !(await confirm({
      title: `Restore version ${version}?`,
      text: `${name} becomes what it was at version ${version}, as a new version. Nothing between is lost: it stays in History.`,
      action: "Restore",
    }))
  )
    return;
  try {
    await api.on(name, "restore", { version });
    notify(`Restored version ${version}.`);
    location.hash = link(["collections", name, "records"]);
  } catch (error) {
    notifyError(error);
  }
}

function comparison(name, { versions, oldest }, query, node, signal) {
  const newest = versions[0].version;
  const number = (value) =>
    input({ type: "number", class: "narrow", min: String(oldest), max: String(newest), value, required: "" });
  const from = number(query.from ?? versions.at(-1).version),
    to = number(query.to ?? newest);
  return h(
    "form",
    {
      class: "card",
      on: {
        submit: (event) => {
          event.preventDefault();
          amend({ from: from.value, to: to.value }, { step: true });
          compare(name, Number(from.value), Number(to.value), node, signal);
        },
      },
    },
    h("h2", {}, "Compare two versions"),
    h("div", { class: "row-wide" }, field("From", from), field("To", to), button("Compare", { type: "submit" })),
  );
}

async function compare(name, from, to, node, signal) {
  put(node, waiting("Comparing…"));
  try {
    const found = await api.on(name, "compare", { from, to, limit: IDS }, { signal });
    const part = (heading, kind, { count: n, ids }, version) =>
      h(
        "section",
        { class: "card" },
        h("h3", {}, heading, " ", h("span", { class: `badge plain ${kind}` }, integer(n))),
        ids.length > 0
          ? h(
              "div",
              { class: "chips" },
              ids.map((id) =>
                h("a", { class: "chip", href: link(["collections", name, "records"], { record: id, version }) }, id),
              ),
              n > ids.length && h("span", { class: "chip" }, `and ${count(n - ids.length, "more", "more")}`),
            )
          : h("p", { class: "quiet" }, "None."),
      );
    put(
      node,
      h(
        "div",
        { class: "columns-3", role: "status" },
        part("Added", "good", found.added, to),
        part("Changed", "warn", found.changed, to),
        part("Removed", "bad", found.removed, from),
      ),
    );
  } catch (error) {
    if (error.name !== "AbortError") put(node, failed(error));
  }
}
