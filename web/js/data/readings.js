// Readings of /metrics of the last minutes, taken every two seconds while somebody looks. They are kept while the page
// lives, so going to another view and back loses none.

import { api } from "../core/api.js";
import { parse } from "./metrics.js";

const EVERY_MS = 2000;
const KEPT = 300;
const readings = [];

// Calls `tell(readings)` at once and after each reading, or `fail(error)`, until the signal ends it.
export function watch(signal, tell, fail) {
  if (readings.length > 0) tell(readings);
  let timer;
  const next = async () => {
    const began = Date.now();
    try {
      const metrics = parse(await api.metrics({ signal }));
      readings.push({ at: Date.now(), metrics });
      if (readings.length > KEPT) readings.shift();
      if (!signal.aborted) tell(readings);
    } catch (error) {
      if (error.name === "AbortError") return;
      fail?.(error);
      // Not allowed now means not allowed in two seconds.
      if (error.status === 403) return;
    }
    if (!signal.aborted) timer = setTimeout(next, Math.max(200, EVERY_MS - (Date.now() - began)));
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  next();
}
