// Requests to the server's public API. URLs are relative to where the page lies, so it works behind a proxy that cuts
// off a prefix.

import { place } from "./address.js";
import { session } from "./session.js";

// This file is page/js/core/api.js below the root of the server.
const ROOT = new URL("../../../", import.meta.url);

export class ApiError extends Error {
  constructor(status, kind, message) {
    super(message);
    Object.assign(this, { status, kind });
  }
  // The route does not exist on this server; as opposed to a collection or a record that does not.
  get isMissingRoute() {
    return (this.status === 404 && /there is no route/.test(this.message)) || this.status === 405;
  }
}

// Listeners for what concerns the whole page: the server is away, a key is needed.
export const events = new EventTarget();

export function url(path, query = {}) {
  const target = new URL(path.replace(/^\//, ""), ROOT);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") target.searchParams.set(name, value);
  }
  return target;
}

export function keyHeaders() {
  return session.key ? { "x-api-key": session.key } : {};
}

// The raw answer. `body` that is a plain object goes as JSON.
export async function send(method, path, { query, body, signal, accept, headers = {} } = {}) {
  const all = { ...keyHeaders(), ...(accept && { accept }), ...headers };
  const plain = body !== undefined && !(body instanceof Blob) && typeof body !== "string";
  if (plain) all["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(url(path, query), {
      method,
      headers: all,
      body: plain ? JSON.stringify(body) : body,
      signal,
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    events.dispatchEvent(new Event("away"));
    throw new ApiError(0, "unreachable", "The server does not answer.");
  }
  if (answer.status === 401) events.dispatchEvent(new Event("keyneeded"));
  return answer;
}

// The JSON of an answer; an error of the server becomes an ApiError with its words.
export async function call(method, path, options = {}) {
  const answer = await send(method, path, { accept: "application/json", ...options });
  if (!answer.ok) throw await failure(answer);
  const text = await answer.text();
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    throw new ApiError(answer.status, "internal", "The answer is not JSON.");
  }
}

export async function failure(answer) {
  const text = await answer.text().catch(() => "");
  let kind = "",
    message = text.slice(0, 500);
  try {
    const { error, message: chroma } = JSON.parse(text);
    kind = error?.kind ?? String(error ?? "");
    message = error?.message ?? chroma ?? message;
  } catch {
    /* Not every answer is JSON: a proxy's page, for example. */
  }
  return new ApiError(answer.status, kind, message || `The server answered ${answer.status}.`);
}

const base = (name) => `api/collections/${encodeURIComponent(name)}`;

// Reads name the version that they are of in the query string.
const READS = ["get", "search", "count"];

function placed(verb, body) {
  if (!READS.includes(verb) || body?.version === undefined) return { query: place(), body };
  const { version, ...rest } = body;
  return { query: { ...place(), version }, body: rest };
}

const TABLES = { arrow: "application/vnd.apache.arrow.stream", parquet: "application/vnd.apache.parquet" };

// The native routes that views use. Each takes { signal } last.
export const api = {
  key: (options) => call("GET", "api/key", options),
  health: (options) => call("GET", "health", options),
  collections: (options) => call("GET", "api/collections", { query: place(), ...options }),
  collection: (name, options) => call("GET", base(name), { query: place(), ...options }),
  create: (body, options) => call("POST", "api/collections", { query: place(), body, ...options }),
  drop: (name, options) => call("DELETE", base(name), { query: place(), ...options }),
  // add, upsert, update, delete, get, search, count, facets, embed; versions, restore, fork, rename, compare, map, neighbors
  on: (name, verb, body, options) => call("POST", `${base(name)}/${verb}`, { ...placed(verb, body), ...options }),
  of: (name, what, options = {}) =>
    call("GET", `${base(name)}/${what}`, { ...options, query: { ...place(), ...options.query } }),
  // The records of a selection as a table, "arrow" or "parquet".
  table: async (name, kind, body, options) => {
    const answer = await send("POST", `${base(name)}/get`, {
      ...placed("get", body),
      accept: TABLES[kind],
      ...options,
    });
    if (!answer.ok) throw await failure(answer);
    return answer;
  },
  map: (name, options) =>
    send("GET", `${base(name)}/map`, { query: place(), accept: TABLES.arrow, ...options }),
  metrics: async (options) => {
    const answer = await send("GET", "metrics", options);
    if (!answer.ok) throw await failure(answer);
    return answer.text();
  },
  openapi: (options) => call("GET", "openapi.json", options),
};
