// Records page by page, and as a file of JSON Lines, so that neither side holds more than a page as values.

import { api } from "../core/api.js";

const PAGE = 5000;

// The body that asks for one page of a selection. Where ids alone select, only those of the page are sent.
export function pageOf(selection, offset, limit) {
  if (selection.ids && !selection.where) return { ...selection, ids: selection.ids.slice(offset, offset + limit) };
  return { ...selection, offset, limit };
}

// Calls `progress(done)` after each page. Answers { blob, records, moved }: `moved` tells that somebody wrote meanwhile.
export async function jsonLines(name, body, { signal, progress = () => {}, limit = Infinity }) {
  const parts = [];
  const total = body.ids && !body.where ? Math.min(limit, body.ids.length) : limit;
  let records = 0,
    version = null,
    moved = false;
  for (let offset = 0; offset < total; offset += PAGE) {
    const ask = Math.min(PAGE, total - offset);
    const answer = await api.on(name, "get", pageOf(body, offset, ask), { signal });
    if (version !== null && version !== answer.version) moved = true;
    version = answer.version;
    if (answer.records.length > 0)
      parts.push(new Blob([answer.records.map((record) => `${JSON.stringify(record)}\n`).join("")]));
    records += answer.records.length;
    progress(records);
    // Ids that are no longer there leave a page short, which does not end the selection.
    if (!Number.isFinite(total) && answer.records.length < ask) break;
  }
  return { blob: new Blob(parts, { type: "application/jsonl" }), records, moved };
}
