// The files of the bucket: listing, uploading with progress, downloading, deleting.

import { amend, place } from "../core/address.js";
import { call, failure, keyHeaders, send, url } from "../core/api.js";
import { bytes, count, time } from "../core/format.js";
import { save } from "../core/save.js";
import { session } from "../core/session.js";
import { button, input } from "../ui/controls.js";
import { confirm } from "../ui/dialog.js";
import { h, put } from "../ui/dom.js";
import { heading } from "../ui/heading.js";
import { empty, notify, notifyError } from "../ui/notice.js";
import { table } from "../ui/table.js";

export const title = () => "Files";

const PAGE = 200;
const COLUMNS = [
  { name: "Name" },
  { name: "Size", isNumber: true },
  { name: "Kind" },
  { name: "Uploaded" },
  { name: "Actions", isUnseen: true },
];
const pathOf = (name) => `api/files/${name.split("/").map(encodeURIComponent).join("/")}`;

export async function show({ query, signal, reload }) {
  const first = await list({ prefix: query.prefix, signal });
  const search = input({
    type: "search",
    class: "wide",
    placeholder: "Names that begin with…",
    "aria-label": "Names that begin with",
    value: query.prefix ?? "",
    on: {
      change: (e) => {
        amend({ prefix: e.target.value || undefined });
        reload();
      },
    },
  });
  const top = [
    heading("Files", {
      lead: "Stored in the bucket beside the records, in parts with a checksum each.",
      actions: [search],
    }),
    uploads(reload),
  ];
  if (first.files.length === 0)
    return [
      ...top,
      empty({
        title: query.prefix ? "No such name" : "No files yet",
        icon: "files",
        text: query.prefix ? "No file's name begins so." : "Drop one above, or send it from a program:",
        code: query.prefix ? undefined : `curl -T report.pdf ${url("api/files/report.pdf")}`,
      }),
    ];
  return [...top, listed(first, { query, signal, reload })];
}

function list({ prefix, after, signal }) {
  return call("GET", "api/files", { query: { ...place(), prefix, after, limit: PAGE }, signal });
}

function listed(first, { query, signal, reload }) {
  const body = h("tbody"),
    more = h("div", { class: "row" });
  const add = ({ files, next }) => {
    body.append(...files.map((file) => row(file, reload)));
    put(
      more,
      next &&
        button("Show more", {
          click: async () => {
            try {
              add(await list({ prefix: query.prefix, after: next, signal }));
            } catch (error) {
              notifyError(error);
            }
          },
        }),
    );
  };
  add(first);
  return h("div", { class: "stack" }, h("div", { class: "card flush" }, table("Files", COLUMNS, body)), more);
}

function row(file, reload) {
  return h(
    "tr",
    {},
    h("th", { class: "strong", scope: "row", title: `SHA-256 ${file.sha256}` }, file.name),
    h("td", { class: "number" }, bytes(file.size)),
    h(
      "td",
      {},
      file.content_type ?? "–",
      file.auto_delete && h("span", { class: "badge warn" }, "goes once downloaded"),
    ),
    h("td", {}, time(file.uploaded_at)),
    h(
      "td",
      { class: "actions" },
      h(
        "span",
        { class: "row" },
        button("Download", {
          icon: "download",
          kind: "compact",
          label: `Download ${file.name}`,
          click: () => download(file),
        }),
        button("", {
          icon: "trash",
          kind: "compact icon danger",
          label: `Delete ${file.name}`,
          needs: "write",
          click: () => remove(file, reload),
        }),
      ),
    ),
  );
}

async function download(file) {
  if (
    file.auto_delete &&
    !(await confirm({
      title: "This file goes once it is downloaded",
      text: `${file.name} was uploaded to be deleted after its first whole download.`,
      action: "Download it",
    }))
  )
    return;
  try {
    // Through fetch and not by a link, which could not bring the key.
    const answer = await send("GET", pathOf(file.name), { query: place() });
    if (!answer.ok) throw await failure(answer);
    save(file.name.split("/").at(-1), await answer.blob());
    notify(`Downloaded ${file.name}.`);
  } catch (error) {
    notifyError(error);
  }
}

async function remove(file, reload) {
  if (
    !(await confirm({
      title: "Delete this file?",
      text: `${file.name}, ${bytes(file.size)}. It cannot be brought back.`,
      action: "Delete",
    }))
  )
    return;
  try {
    await call("DELETE", pathOf(file.name), { query: place() });
    notify(`Deleted ${file.name}.`);
    reload();
  } catch (error) {
    notifyError(error);
  }
}

function uploads(reload) {
  const running = h("div", { class: "stack-s" });
  const chooser = h("input", { type: "file", multiple: true, hidden: true, on: { change: () => take(chooser.files) } });
  const take = async (files) => {
    const reason = session.reason("write");
    if (reason) {
      notify(reason);
      return;
    }
    const done = await Promise.all([...files].map((file) => upload(file, running)));
    if (done.some(Boolean)) {
      notify(`Uploaded ${count(done.filter(Boolean).length, "file")}.`);
      reload();
    }
  };
  const zone = h(
    "div",
    {
      class: "drop-zone",
      on: {
        dragover: (e) => {
          e.preventDefault();
          zone.classList.add("over");
        },
        dragleave: () => zone.classList.remove("over"),
        drop: (e) => {
          e.preventDefault();
          zone.classList.remove("over");
          take(e.dataTransfer.files);
        },
      },
    },
    h("span", {}, "Drop files here, or"),
    button("Choose files", { icon: "upload", needs: "write", click: () => chooser.click() }),
    chooser,
  );
  return h("div", { class: "stack-s" }, zone, running);
}

// XMLHttpRequest and not fetch: it alone tells how much was sent.
function upload(file, running) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    const fill = h("i"),
      told = h("span", { class: "number quiet" }, "0 %");
    const line = h(
      "div",
      { class: "card" },
      h(
        "div",
        { class: "spread" },
        h("span", {}, file.name),
        h("span", { class: "row" }, told, button("Cancel", { kind: "compact", click: () => request.abort() })),
      ),
      h(
        "div",
        {
          class: "progress",
          role: "progressbar",
          "aria-label": `Upload of ${file.name}`,
          "aria-valuemin": "0",
          "aria-valuemax": "100",
        },
        fill,
      ),
    );
    const end = (ok, words) => {
      line.remove();
      if (words) notify(words, "error");
      resolve(ok);
    };
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      fill.style.setProperty("--part", total ? loaded / total : 1);
      put(told, `${total ? Math.round((100 * loaded) / total) : 100} %`);
      line.lastElementChild.setAttribute("aria-valuenow", String(total ? Math.round((100 * loaded) / total) : 100));
    });
    request.addEventListener("load", () => {
      if (request.status < 300) return end(true);
      let words = `The server answered ${request.status}.`;
      try {
        words = JSON.parse(request.responseText).error.message;
      } catch {
        /* not its own words */
      }
      return end(false, `${file.name}: ${words}`);
    });
    request.addEventListener("error", () => end(false, `${file.name}: the connection broke.`));
    request.addEventListener("abort", () => end(false));
    request.open("PUT", url(pathOf(file.name), place()));
    for (const [name, value] of Object.entries({
      ...keyHeaders(),
      "content-type": file.type || "application/octet-stream",
    }))
      request.setRequestHeader(name, value);
    running.append(line);
    request.send(file);
  });
}
