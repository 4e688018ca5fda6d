// One record in full, at the side of the window: its document, metadata and embedding; editing and deleting it.

import { link } from "../core/address.js";
import { api } from "../core/api.js";
import { short } from "../core/format.js";
import { copyButton } from "./copy.js";
import { area, button, field, input, linkButton } from "./controls.js";
import { spark } from "./chart.js";
import { confirm, openDialog } from "./dialog.js";
import { h, put } from "./dom.js";
import { failed, notify, notifyError, waiting } from "./notice.js";

// Opens the panel. `changed` is called after an edit or a deletion; `version` reads the collection as it was then.
export function openRecord({ name, id, version, changed, closed }) {
  const leave = new AbortController();
  const body = h("div", { class: "stack" }, waiting());
  const dialog = openDialog({
    title: id,
    body,
    drawer: true,
    closed: () => {
      leave.abort();
      closed?.();
    },
  });
  const show = async () => {
    try {
      const { records } = await api.on(
        name,
        "get",
        { ids: [id], include: ["document", "metadata", "uri", "embedding"], ...(version !== undefined && { version }) },
        { signal: leave.signal },
      );
      if (records.length === 0)
        put(body, failed({ status: 404, message: `There is no record ${id}; it may have been deleted.` }));
      else put(body, view(records[0]));
    } catch (error) {
      if (error.name !== "AbortError") put(body, failed(error, show));
    }
  };
  const edit = (record) =>
    put(
      body,
      form({
        name,
        record,
        done: (wrote) => {
          if (wrote) changed?.();
          show();
        },
      }),
    );
  const remove = async () => {
    if (
      !(await confirm({
        title: "Delete this record?",
        text: `“${id}” is deleted from ${name}. History still has it until it is collected.`,
        action: "Delete",
      }))
    )
      return;
    try {
      await api.on(name, "delete", { ids: [id] });
      notify(`Deleted ${id}.`);
      changed?.();
      dialog.close();
    } catch (error) {
      notifyError(error);
    }
  };
  const view = (record) => [
    h(
      "div",
      { class: "row" },
      record.embedding &&
        linkButton("More like this", link(["collections", name, "search"], { by: "record", like: [id] }), {
          icon: "search",
        }),
      linkButton("On the map", link(["collections", name, "map"], { mark: [id], near: id }), {
        icon: "map",
      }),
      version === undefined && button("Edit", { icon: "edit", needs: "write", click: () => edit(record) }),
      version === undefined && button("Delete", { icon: "trash", kind: "danger", needs: "write", click: remove }),
    ),
    record.document !== undefined &&
      h("section", { class: "stack-s" }, h("h3", {}, "Document"), h("div", { class: "prose" }, record.document)),
    record.uri !== undefined &&
      h("section", { class: "stack-s" }, h("h3", {}, "URI"), h("p", { class: "mono" }, record.uri)),
    metadata(record.metadata),
    record.embedding && embedding(record.embedding),
  ];
  show();
  return dialog;
}

function metadata(pairs) {
  const entries = Object.entries(pairs ?? {});
  return h(
    "section",
    { class: "stack-s" },
    h("h3", {}, "Metadata"),
    entries.length === 0
      ? h("p", { class: "quiet" }, "None.")
      : h(
          "dl",
          { class: "pairs" },
          entries.map(([key, value]) => [
            h("dt", {}, key),
            h("dd", { class: typeof value === "number" ? "number" : "" }, short(value)),
          ]),
        ),
  );
}

function embedding(values) {
  const norm = Math.hypot(...values);
  return h(
    "section",
    { class: "stack-s" },
    h(
      "div",
      { class: "spread" },
      h("h3", {}, "Embedding"),
      h("span", { class: "quiet small number" }, `${values.length} dimensions, length ${norm.toPrecision(4)}`),
    ),
    spark(values),
    h(
      "div",
      { class: "row" },
      copyButton(JSON.stringify(values), { title: "Copy numbers", done: "Copied the embedding." }),
    ),
  );
}

function form({ name, record, done }) {
  const text = area({ rows: "8" }, record.document ?? "");
  const uri = input({ value: record.uri ?? "" });
  const pairs = area({ rows: "10", class: "code" }, JSON.stringify(record.metadata ?? {}, null, 2));
  const problem = h("p", { class: "problem", role: "alert" });
  const save = async (event) => {
    event.preventDefault();
    let wanted;
    try {
      wanted = JSON.parse(pairs.value || "{}");
    } catch (error) {
      put(problem, `Metadata: ${error.message}`);
      return;
    }
    if (typeof wanted !== "object" || wanted === null || Array.isArray(wanted)) {
      put(problem, "Metadata is an object of keys and values in JSON.");
      return;
    }
    const gone = Object.keys(record.metadata ?? {}).filter((key) => !Object.hasOwn(wanted, key));
    const change = { id: record.id, metadata: { ...wanted, ...Object.fromEntries(gone.map((key) => [key, null])) } };
    if (text.value !== (record.document ?? "")) change.document = text.value === "" ? null : text.value;
    if (uri.value !== (record.uri ?? "")) change.uri = uri.value === "" ? null : uri.value;
    try {
      await api.on(name, "update", { records: [change] });
      notify(`Saved ${record.id}.`);
      done(true);
    } catch (error) {
      put(problem, error.message);
    }
  };
  return h(
    "form",
    { class: "stack", on: { submit: save } },
    field("Document", text),
    field("URI", uri),
    field("Metadata", pairs, "A JSON object. A key that is left out is removed."),
    problem,
    h(
      "div",
      { class: "dialog-foot" },
      button("Cancel", { click: () => done(false) }),
      button("Save", { kind: "primary", type: "submit" }),
    ),
  );
}
