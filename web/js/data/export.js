// Records as a file of JSON Lines: read page by page, so that neither side holds more than a page as values.

import { api } from "../core/api.js";

const PAGE = 5000;

// Calls `progress(done)` after each page. Answers { blob, records, moved }: `moved` tells that somebody wrote meanwhile.
export async function jsonLines(name, body, { signal, progress, limit = Infinity }) {
  const parts = [];
  let records = 0, version = null, moved = false;
  while (records < limit) {
    const ask = Math.min(PAGE, limit - records);
    const answer = await api.on(name, "get", { ...body, offset: (body.offset ?? 0) + records, limit: ask }, { signal });
    if (version !== null && version !== answer.version) moved = true;
    version = answer.version;
    if (answer.records.length > 0) parts.push(new Blob([answer.records.map((record) => `${JSON.stringify(record)}\n`).join("")]));
    records += answer.records.length;
    progress(records);
    if (answer.records.length < ask) break;
  }
  return { blob: new Blob(parts, { type: "application/jsonl" }), records, moved };
}
