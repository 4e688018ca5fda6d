// The address: every view and query is in the fragment, as #/collections/notes/records?where=…, so that a link or a
// reload shows the same. Tenant and database go with every link. What the query may hold is in parameters.js.

import { written } from "./parameters.js";

const KEPT = ["tenant", "database"];

// { path: ["collections", "notes"], query: { where: "…" } } of a fragment, the query as it stands there. The path is
// null where a percent sign in it stands for nothing.
export function parse(fragment) {
  const text = fragment.replace(/^#\/?/, "");
  const mark = text.indexOf("?");
  const query = Object.fromEntries(new URLSearchParams(mark < 0 ? "" : text.slice(mark + 1)));
  try {
    const parts = (mark < 0 ? text : text.slice(0, mark)).split("/").filter((part) => part !== "");
    return { path: parts.map(decodeURIComponent), query };
  } catch {
    return { path: null, query };
  }
}

// The fragment of a view; values that are empty are left out.
export function link(path, query = {}) {
  const here = parse(location.hash).query;
  const all = new URLSearchParams();
  for (const [name, value] of Object.entries({
    ...Object.fromEntries(KEPT.map((name) => [name, here[name]])),
    ...query,
  })) {
    const text = written(value);
    if (text !== undefined) all.set(name, text);
  }
  const search = all.toString();
  return `#/${path.map(encodeURIComponent).join("/")}${search ? `?${search}` : ""}`;
}

// The database that the address names, as the native API wants it in a query.
export function place() {
  const { tenant, database } = parse(location.hash).query;
  return { ...(tenant && { tenant }), ...(database && { database }) };
}

// Changes values of the query without showing the view anew. With `step`, the browser's way back leads here.
export function amend(patch, { step = false } = {}) {
  const { path, query } = parse(location.hash);
  if (path === null) return;
  const target = link(path, { ...query, ...patch });
  if (target !== location.hash) history[step ? "pushState" : "replaceState"](null, "", target);
}
