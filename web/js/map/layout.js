// The map of a collection as the server computed it: a point for each record. It is kept while the page lives, because
// the same version gives the same map.

import { ApiError, api, failure } from "../core/api.js";
import { floats, readStream } from "../data/arrow.js";
import { IdIndex } from "./id_index.js";

const kept = new Map();
const MAPS_KEPT = 2;

// { state: "none" }, { state: "progress", progress } or { state: "ready", layout }.
export async function load(name, signal) {
  const answer = await api.map(name, { signal });
  const type = answer.headers.get("content-type") ?? "";
  if (answer.status === 404) {
    const error = await failure(answer);
    if (error.isMissingRoute || !/map/.test(error.message)) throw error;
    return { state: "none" };
  }
  if (!answer.ok) throw await failure(answer);
  if (answer.status === 202 || type.includes("json"))
    return { state: "progress", progress: (await answer.json()).progress ?? 0 };
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const etag = answer.headers.get("etag");
  const before = kept.get(name);
  if (etag && before?.etag === etag) return { state: "ready", layout: before.layout };
  let layout;
  try {
    layout = made(bytes, answer.headers);
  } catch (error) {
    throw new ApiError(answer.status, "internal", `The map cannot be read: ${error.message}.`);
  }
  if (kept.size >= MAPS_KEPT) kept.delete(kept.keys().next().value);
  kept.set(name, { etag, layout });
  return { state: "ready", layout };
}

function made(bytes, headers) {
  const { metadata, batches } = readStream(bytes);
  const x = floats(batches, "x"),
    y = floats(batches, "y");
  const told = (name) => {
    const text = metadata[name] ?? headers.get(`x-map-${name}`);
    return text === undefined || text === null ? null : Number(text);
  };
  return {
    count: x.length,
    x,
    y,
    ids: new IdIndex(batches),
    bounds: bounds(x, y),
    version: told("version"),
    trustworthiness: told("trustworthiness"),
    continuity: told("continuity"),
  };
}

function bounds(x, y) {
  let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < x.length; i += 1) {
    if (x[i] < left) left = x[i];
    if (x[i] > right) right = x[i];
    if (y[i] < bottom) bottom = y[i];
    if (y[i] > top) top = y[i];
  }
  return x.length === 0 ? { left: -1, right: 1, bottom: -1, top: 1 } : { left, right, bottom, top };
}
