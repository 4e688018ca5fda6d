// The records of a collection: a table of any length, a filter, one record in full, an export of what is shown.

import { amend, link, parse } from "../core/address.js";
import { api } from "../core/api.js";
import { count, integer, short } from "../core/format.js";
import { save } from "../core/save.js";
import { jsonLines, pageOf } from "../data/export.js";
import { keysOf, valueOf } from "../data/metadata.js";
import { load } from "../map/layout.js";
import { idsWithin } from "../map/selection.js";
import { button, check, menu } from "../ui/controls.js";
import { h, put } from "../ui/dom.js";
import { filterBuilder } from "../ui/filter_builder.js";
import { collectionHeading } from "../ui/heading.js";
import { mapInstead } from "../ui/map_making.js";
import { empty, failed, notify, notifyError } from "../ui/notice.js";
import { openRecord } from "../ui/record_panel.js";
import { PAGE, VirtualTable } from "../ui/virtual_table.js";

export const title = (path) => `${path[1]}: records`;

const SHOWN_AT_FIRST = 6;
const LASSO = "This address names the records within a lasso on the map of the collection.";

export async function show(context) {
  const { path, query, signal } = context;
  const [, name] = path;
  const { where, version } = query;
  const top = collectionHeading(name, { version });
  let ids = query.ids;
  if (query.area) {
    // The map is the same each time, so the address holds the outline of the lasso alone.
    const found = await load(name, signal);
    if (found.state !== "ready") return [...top, mapInstead({ name, found, why: LASSO, ...context })];
    ids = idsWithin(found.layout, query.area);
  }
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

// A column is as wide as its name and its values at first sight are long; what is left goes to the document.
const CHARACTER_PX = 7.5,
  AROUND_PX = 36,
  DOCUMENT_PX = 320;

function fitted(name, texts) {
  const longest = Math.max(name.length, ...texts.map(({ length }) => length));
  return Math.min(280, Math.max(80, Math.round(longest * CHARACTER_PX + AROUND_PX)));
}

function column(name, records, kind, text) {
  return { name, kind, text, width: fitted(name, records.map(text)) };
}

function columnsFor(chosen, records) {
  const numeric = (key) =>
    records.every(({ metadata }) => ["undefined", "number"].includes(typeof valueOf(metadata, key)));
  const of = (key) => {
    if (key === "document")
      return { name: key, kind: "grow", width: DOCUMENT_PX, text: ({ document }) => (document ?? "").slice(0, 300) };
    if (key === "uri") return column(key, records, "", ({ uri }) => uri ?? "");
    const text = ({ metadata }) => short(valueOf(metadata, key) ?? "").slice(0, 300);
    return column(key, records, numeric(key) ? "number" : "", text);
  };
  return [column("id", records, "id", ({ id }) => id), ...chosen.map(of)];
}

function listing(state) {
  const { name, query, signal, selection, records, total, version, reload } = state;
  const keys = keysOf(records);
  const has = (what) => records.some((record) => record[what] !== undefined);
  const all = [...(has("document") ? ["document"] : []), ...(has("uri") ? ["uri"] : []), ...keys];
  const chosen = new Set((query.columns ?? all.slice(0, SHOWN_AT_FIRST)).filter((key) => all.includes(key)));
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
    amend({ columns: list });
    table.change(columnsFor(list, records));
  };
  if (query.record) queueMicrotask(() => open({ id: query.record }));
  return [
    tools({
      ...state,
      keys,
      shown: () => all.filter((each) => chosen.has(each)),
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
  const { where, ids, keys, total, columns, query, reload } = state;
  const open = h("div", { class: "card", id: "filter", hidden: !query.filter });
  const builder = () =>
    filterBuilder({
      where,
      keys,
      apply: (next) => {
        amend({ where: next, filter: undefined, record: undefined }, { step: true });
        reload();
      },
    });
  const toggle = button(where ? "Filter: on" : "Filter", {
    icon: "filter",
    pressed: Boolean(where),
    click: () => {
      open.hidden = !open.hidden;
      amend({ filter: !open.hidden });
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

const WHOLE = { include: ["metadata", "document", "uri", "embedding"] };

// What an export of some columns asks for. Document and URI are no metadata, even where a key has such a name.
function columnsOnly(columns) {
  const fields = ["document", "uri"];
  const keys = columns.filter((each) => !fields.includes(each));
  const include = fields.filter((each) => columns.includes(each));
  return { include: keys.length > 0 ? [...include, "metadata"] : include, metadata_keys: keys };
}

function exporting(state, progress) {
  const { name, selection, signal, shown } = state;
  const lines = async () => {
    try {
      const { blob, records, moved } = await jsonLines(
        name,
        { ...selection, ...WHOLE },
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
  const table = async (kind, ending, fields) => {
    try {
      put(progress, "reading…");
      const answer = await api.table(name, kind, { ...selection, ...fields }, { signal });
      save(`${name}.${ending}`, await answer.blob());
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
    button("Arrow (IPC stream)", { kind: "bare", click: () => table("arrow", "arrows", WHOLE) }),
    button("Parquet", { kind: "bare", click: () => table("parquet", "parquet", WHOLE) }),
    button("Parquet, columns shown", { kind: "bare", click: () => table("parquet", "parquet", columnsOnly(shown())) }),
  );
}
