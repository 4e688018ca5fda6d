// What a person asks for in the search view, and the body of the request that it comes to.

// Marks of found words: characters of the private use area, so that no document has them by chance, and none of the
// page's text becomes markup.
export const MARK = ["\uE000", "\uE001"];

const HITS = 10;

// What an address asks for, with what is the default where it says nothing.
export function asked({ by = "text", text = "", mode = "", like = [], unlike = [], vector = "", k = HITS, ...rest }) {
  const { ef, exact = false, where = null, facets = null, version } = rest;
  return { by, text, mode, like, unlike, vector, k, ef, exact, where, facets, version };
}

// The reverse, without what is the default.
export function parameters({ by, text, mode, like, unlike, vector, k, ef, exact, where, facets }) {
  const list = (ids) => (ids.length > 0 ? ids : undefined);
  return {
    by: by === "text" ? undefined : by,
    like: list(like),
    unlike: list(unlike),
    k: k === HITS ? undefined : k,
    ...{ text, mode, vector, ef, exact, where, facets },
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
  if (asked.version !== undefined) result.version = asked.version;
  if (facetKeys.length > 0) result.facets = Object.fromEntries(facetKeys.map((key) => [key, { values: 8 }]));
  return result;
}

// Whether embeddings are compared, so that ef, exact and recall mean something.
export function usesGraph(asked, info) {
  if (asked.by === "text") return Boolean(info.embedder) && asked.mode !== "words";
  return asked.by === "vector" || asked.like.length > 0;
}
