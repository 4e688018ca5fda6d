// One collection's settings and state; renaming, forking and dropping it.

import { link } from "../core/address.js";
import { api } from "../core/api.js";
import { bytes, integer, short } from "../core/format.js";
import { button } from "../ui/controls.js";
import { confirm } from "../ui/dialog.js";
import { h } from "../ui/dom.js";
import { collectionHeading } from "../ui/heading.js";
import { damage, askForFork } from "../ui/fork.js";
import { askForName } from "../ui/name_dialog.js";
import { notify, notifyError } from "../ui/notice.js";
import { indexState, stateBadge } from "../ui/collection_state.js";

export const title = (path) => `${path[1]}: overview`;

export async function show({ path, signal }) {
  const name = path[1];
  const [info, health] = await Promise.all([described(name, signal), api.health({ signal })]);
  const isDamaged = info.state === "damaged";
  return [
    ...collectionHeading(name),
    isDamaged && damage({ ...info, name }),
    h(
      "div",
      { class: "columns-2" },
      state(info, health),
      settings(info),
      pairs("Metadata", info.metadata),
      changes(name, isDamaged),
    ),
  ];
}

// A damaged collection is not described by itself, but in the list with what is wrong.
async function described(name, signal) {
  try {
    return await api.collection(name, { signal });
  } catch (error) {
    if (error.kind !== "corrupted") throw error;
    const all = await api.collections({ signal });
    return all.find((each) => each.name === name) ?? { name, state: "damaged", cause: error.message };
  }
}

function card(title, rows) {
  return h(
    "section",
    { class: "card" },
    h("h2", {}, title),
    h(
      "dl",
      { class: "pairs" },
      rows
        .filter(([, value]) => value !== undefined && value !== null)
        .map(([key, value]) => [h("dt", {}, key), h("dd", {}, value)]),
    ),
  );
}

function state(info, health) {
  return card("State", [
    ["State", stateBadge(info)],
    ["Records", integer(info.count)],
    ["Dimensions", info.dimension ?? "decided by the first record"],
    ["Metric", info.metric],
    ["Index", indexState(info, health)],
    ["Version", String(info.version ?? "–")],
    ["Memory", info.memory_bytes === undefined ? null : bytes(info.memory_bytes)],
    ["In the bucket", info.bucket_bytes === undefined ? null : bytes(info.bucket_bytes)],
    ["Id", h("code", {}, info.id)],
    ["Tenant", info.tenant],
    ["Database", info.database],
  ]);
}

function settings({ index = {}, text = {}, embedder }) {
  return card("Settings", [
    ["Graph", `${index.builder ?? "–"}, m ${index.m ?? "–"}, ef_construction ${index.ef_construction ?? "–"}`],
    ["ef of searches", index.ef_search ?? "chosen by the server"],
    ["Words", `${text.language ?? "–"}${text.stemming ? ", stemmed" : ""}`],
    ["BM25", `k1 ${text.k1 ?? "–"}, b ${text.b ?? "–"}`],
    ["Model", embedder ? (embedder.model ?? embedder.provider?.model) : "none: embeddings come with the records"],
  ]);
}

function pairs(title, object) {
  const entries = Object.entries(object ?? {});
  return (
    entries.length > 0 &&
    card(
      title,
      entries.map(([key, value]) => [key, short(value)]),
    )
  );
}

function changes(name, isDamaged) {
  const rename = () =>
    askForName({
      title: `Rename ${name}`,
      text: "Links and programs that have the old name no longer find it.",
      label: "New name",
      action: "Rename",
      make: async (as) => {
        await api.on(name, "rename", { name: as });
        notify(`Renamed to ${as}.`);
        location.hash = link(["collections", as, "overview"]);
      },
    });
  const drop = async () => {
    const isSure = await confirm({
      title: `Drop ${name}?`,
      text: "All its records go. Until they are collected, drumlin restore brings them back.",
      action: "Drop it",
      word: name,
    });
    if (!isSure) return;
    try {
      await api.drop(name);
      notify(`Dropped ${name}.`);
      location.hash = link(["collections"]);
    } catch (error) {
      notifyError(error);
    }
  };
  const line = (text, node) => h("div", { class: "spread" }, h("span", { class: "quiet" }, text), node);
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Change it"),
    !isDamaged && [
      line("Another name for it.", button("Rename", { icon: "edit", needs: "write", click: rename })),
      line(
        "A copy that shares what is stored.",
        button("Fork", { icon: "fork", needs: "write", click: () => askForFork(name) }),
      ),
    ],
    line(
      "Drop it with all its records.",
      button("Drop", { icon: "trash", kind: "danger", needs: "admin", click: drop }),
    ),
  );
}
