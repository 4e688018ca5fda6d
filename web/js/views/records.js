// The records of a collection: a table of any length, a filter, one record in full, an export of what is shown.

import { amend, json, link, parse } from "../core/address.js";
import { api } from "../core/api.js";
import { count, integer, short } from "../core/format.js";
import { save } from "../core/save.js";
import { jsonLines, pageOf } from "../data/export.js";
import { fromAddress } from "../data/filter.js";
import { idsWithin } from "../map/selection.js";
import { button, check, menu } from "../ui/controls.js";
import { h, put } from "../ui/dom.js";
import { filterBuilder } from "../ui/filter_builder.js";
import { collectionHeading } from "../ui/heading.js";
import { empty, failed, message, notify, notifyError } from "../ui/notice.js";
import { openRecord } from "../ui/record_panel.js";
import { PAGE, VirtualTable } from "../ui/virtual_table.js";

export const title = (path) => `${path[1]}: records`;

const SHOWN_AT_FIRST = 6;

export async function show(context) {
  const {
    path: [, name],
    query,
    signal,
  } = context;
  const where = fromAddress(query.where);
  const version = query.version === undefined ? undefined : Number(query.version);
  const top = [...collectionHeading(name, { version: query.version })];
  if (version !== undefined && !(Number.isInteger(version) && version >= 0))
    return [...top, message("The version in the address is not a whole number, so nothing is shown.", "bad")];
  if (where === undefined)
    return [...top, message("The filter in the address is not JSON, so nothing is shown.", "bad")];
  const ids = query.area ? await idsOfArea(name, query.area, signal) : json(query.ids, null);
  const selection = { ...(where && { where }), ...(ids && { ids }), ...(version !== undefined && { version }) };
  let first, total;
  try {
    [first, total] = await Promise.all([
      api.on(name, "get", { ...pageOf(selection, 0, PAGE), include: ["metadata", "document", "uri"] }, { signal }),
      ids && !where
        ? { count: ids.length }
        : where || version !== undefined
          ? api.on(name, "count", selection, { signal })
          : api.of(name, "count", { signal }),
    ]);
  } catch (error) {
    if (error.name === "AbortError" || error.status === 404) throw error;
    return [...top, tools({ ...context, where, keys: [], total: null }), failed(error, context.reload)];
  }
  const state = { ...context, name, where, ids, version, selection, records: first.records, total: total.count };
  if (state.total === 0)
    return [...top, where || ids ? [tools({ ...state, keys: [] }), noMatch(name)] : noRecords(name)];
  return [...top, listing(state)];
}

// The records that a lasso on the map took; the map is the same each time, so the address holds its outline alone.
function idsOfArea(name, area, signal) {
  return idsWithin(name, json(area, []), signal);
}

function addBySnippet(name) {
  const body = `{"records": [{"id": "fog", "embedding": [0.9, 0.1, 0.0], "document": "The fog lifted."}]}`;
  const address = `${location.origin}${location.pathname}api/collections/${name}/add`;
  return `curl ${address} \\\n  -H 'content-type: application/json' \\\n  -d '${body}'`;
}

function noRecords(name) {
  return empty({
    title: "No records yet",
    icon: "collections",
    text: "Send some from a program, or with curl:",
    code: addBySnippet(name),
    actions: [
      h(
        "a",
        { class: "button primary", href: link(["console", "post", "/api/collections/{name}/add"], { "p.name": name }) },
        "Write it in the console",
      ),
    ],
  });
}

function noMatch(name) {
  return empty({
    title: "No record matches",
    text: "The collection has records, but none of them passes the filter.",
    icon: "filter",
    actions: [h("a", { class: "button", href: link(["collections", name, "records"]) }, "Show all records")],
  });
}

function keysOf(records) {
  const seen = new Set();
  for (const { metadata } of records) for (const key of Object.keys(metadata ?? {})) seen.add(key);
  return [...seen];
}

// What is left of the table's width goes to the document.
function columnsFor(chosen, records) {
  const numeric = (key) =>
    records.every(({ metadata }) => metadata?.[key] === undefined || typeof metadata[key] === "number");
  return [
    { name: "id", width: 220, kind: "id", text: ({ id }) => id },
    ...chosen.map((key) =>
      key === "document"
        ? { name: "document", width: 460, text: ({ document }) => (document ?? "").slice(0, 300) }
        : key === "uri"
          ? { name: "uri", width: 240, text: ({ uri }) => uri ?? "" }
          : {
              name: key,
              width: numeric(key) ? 130 : 170,
              kind: numeric(key) ? "number" : "",
              text: ({ metadata }) => (metadata?.[key] === undefined ? "" : short(metadata[key]).slice(0, 300)),
            },
    ),
  ];
}

function listing(state) {
  const { name, query, signal, selection, records, total, version, reload } = state;
  const keys = keysOf(records);
  const has = (what) => records.some((record) => record[what] !== undefined);
  const all = [...(has("document") ? ["document"] : []), ...(has("uri") ? ["uri"] : []), ...keys];
  const chosen = new Set(json(query.columns, all.slice(0, SHOWN_AT_FIRST)).filter((key) => all.includes(key)));
  const open = (record) => {
    amend({ record: record.id });
    let wrote = false;
    openRecord({
      name,
      id: record.id,
      version,
      changed: () => {
        wrote = true;
      },
      closed: () => {
        if (parse(location.hash).query.record === record.id) amend({ record: undefined });
        if (wrote) reload();
        else table.focus();
      },
    });
  };
  const table = new VirtualTable({
    label: `Records of ${name}`,
    columns: columnsFor(
      all.filter((key) => chosen.has(key)),
      records,
    ),
    count: total,
    first: records,
    signal,
    open,
    failed: notifyError,
    fetchPage: async (offset, limit, stop) =>
      (
        await api.on(
          name,
          "get",
          { ...pageOf(selection, offset, limit), include: ["metadata", "document", "uri"] },
          { signal: stop },
        )
      ).records,
  });
  const choose = (key, on) => {
    if (on) chosen.add(key);
    else chosen.delete(key);
    const list = all.filter((each) => chosen.has(each));
    amend({ columns: JSON.stringify(list) });
    table.change(columnsFor(list, records));
  };
  if (query.record) queueMicrotask(() => open({ id: query.record }));
  return [
    tools({
      ...state,
      keys,
      columns: menu(
        "Columns",
        "columns",
        all.map((key) => check(key, chosen.has(key), (on) => choose(key, on))),
      ),
    }),
    table.node,
  ];
}

function tools(state) {
  const { name, where, ids, keys, total, columns, query, version, reload } = state;
  const open = h("div", { class: "card", id: "filter", hidden: !query.filter });
  const builder = () =>
    filterBuilder({
      where,
      keys,
      apply: (next) => {
        amend({ where: next ? JSON.stringify(next) : undefined, filter: undefined, record: undefined }, { step: true });
        reload();
      },
    });
  const toggle = button(where ? "Filter: on" : "Filter", {
    icon: "filter",
    pressed: Boolean(where),
    click: () => {
      open.hidden = !open.hidden;
      amend({ filter: open.hidden ? undefined : "1" });
      toggle.setAttribute("aria-expanded", String(!open.hidden));
      if (!open.hidden) open.querySelector("input, button")?.focus();
    },
  });
  toggle.setAttribute("aria-expanded", String(Boolean(query.filter)));
  toggle.setAttribute("aria-controls", "filter");
  open.append(builder());
  const progress = h("span", { class: "quiet small number", role: "status" });
  return h(
    "div",
    { class: "stack" },
    h(
      "div",
      { class: "spread" },
      h("div", { class: "row" }, toggle, columns, total > 0 && exporting(state, progress), progress),
      h(
        "span",
        { class: "quiet number" },
        total === null ? "" : `${count(total, "record")}${where ? " match" : ""}${ids ? " of a selection" : ""}`,
      ),
    ),
    where &&
      open.hidden &&
      h("p", { class: "small" }, h("span", { class: "quiet" }, "Filter "), h("code", {}, JSON.stringify(where))),
    open,
  );
}

function exporting(state, progress) {
  const { name, selection, signal } = state;
  const lines = async () => {
    try {
      const { blob, records, moved } = await jsonLines(
        name,
        { ...selection, include: ["metadata", "document", "uri", "embedding"] },
        { signal, progress: (done) => put(progress, `${integer(done)} read`) },
      );
      put(progress);
      save(`${name}.jsonl`, blob);
      notify(
        moved
          ? `Exported ${count(records, "record")}. Somebody wrote meanwhile, so the file is not one version.`
          : `Exported ${count(records, "record")}.`,
      );
    } catch (error) {
      put(progress);
      notifyError(error);
    }
  };
  const arrow = async () => {
    try {
      put(progress, "reading…");
      const answer = await api.arrow(
        name,
        "get",
        { ...selection, include: ["metadata", "document", "uri", "embedding"] },
        { signal },
      );
      save(`${name}.arrows`, await answer.blob());
    } catch (error) {
      notifyError(error);
    } finally {
      put(progress);
    }
  };
  return menu(
    "Export",
    "download",
    button("JSON Lines", { kind: "bare", click: lines }),
    button("Arrow (IPC stream)", { kind: "bare", click: arrow }),
  );
}
