// What a person asks for in the search view, and the body of the request that it comes to.

import { json } from "../core/address.js";
import { fromAddress } from "./filter.js";

// Marks of found words: characters of the private use area, so that no document has them by chance, and none of the
// page's text becomes markup.
export const MARK = ["\uE000", "\uE001"];

// The query of an address as values.
export function read(query) {
  const number = (text) => (text && Number.isFinite(Number(text)) ? Number(text) : undefined);
  return {
    by: query.by ?? "text",
    text: query.text ?? "",
    mode: query.mode ?? "",
    like: json(query.like, []),
    unlike: json(query.unlike, []),
    vector: query.vector ?? "",
    k: number(query.k) ?? 10,
    ef: number(query.ef),
    exact: query.exact === "1",
    where: fromAddress(query.where) ?? null,
    facets: json(query.facets, null),
    version: number(query.version),
  };
}

// The reverse, without what is the default.
export function write(asked) {
  const list = (ids) => (ids.length > 0 ? JSON.stringify(ids) : undefined);
  return {
    by: asked.by === "text" ? undefined : asked.by,
    text: asked.text,
    mode: asked.mode,
    like: list(asked.like),
    unlike: list(asked.unlike),
    vector: asked.vector,
    k: asked.k === 10 ? undefined : asked.k,
    ef: asked.ef,
    exact: asked.exact ? "1" : undefined,
    where: asked.where ? JSON.stringify(asked.where) : undefined,
    facets: asked.facets ? JSON.stringify(asked.facets) : undefined,
  };
}

// Whether there is something to search for.
export function isComplete({ by, text, like, unlike, vector }) {
  return by === "text" ? text.trim() !== "" : by === "record" ? like.length + unlike.length > 0 : vector.trim() !== "";
}

// Numbers out of what was pasted: JSON, or numbers with anything between.
export function numbers(text) {
  const found = text.match(/-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g)?.map(Number) ?? [];
  if (found.length === 0 || found.some((n) => !Number.isFinite(n)))
    throw new Error("Paste the numbers of an embedding, such as [0.1, 0.2, 0.3].");
  return found;
}

export function body(asked, info, facetKeys) {
  const result = { k: asked.k, include: ["document", "metadata"] };
  if (asked.by === "text") {
    result.text = asked.text;
    if (asked.mode && info.embedder) result.mode = asked.mode;
    result.highlight = { pre: MARK[0], post: MARK[1], fragments: 2, length: 240 };
  } else if (asked.by === "record") {
    if (asked.like.length > 0) result.like = asked.like;
    if (asked.unlike.length > 0) result.unlike = asked.unlike;
    if (asked.like.length === 0) result.strategy = "best_score";
  } else result.embedding = numbers(asked.vector);
  if (usesGraph(asked, info)) {
    if (asked.ef) result.ef_search = asked.ef;
    if (asked.exact) result.exact = true;
  }
  if (asked.where) result.where = asked.where;
  // The past has neither words nor facets, and is like one record at a time.
  if (asked.version !== undefined) {
    result.version = asked.version;
    if (asked.by === "record" && asked.like.length === 1 && asked.unlike.length === 0) {
      delete result.like;
      result.id = asked.like[0];
    }
  } else if (facetKeys.length > 0) result.facets = Object.fromEntries(facetKeys.map((key) => [key, { values: 8 }]));
  return result;
}

// Whether embeddings are compared, so that ef, exact and recall mean something.
export function usesGraph(asked, info) {
  if (asked.by === "text") return Boolean(info.embedder) && asked.mode !== "words";
  return asked.by === "vector" || asked.like.length > 0;
}
