// The address: every view and query is in the fragment, as #/collections/notes/records?where=…, so that a link or a
// reload shows the same. Tenant and database go with every link.

const KEPT = ["tenant", "database"];

// { path: ["collections", "notes"], query: { where: "…" } } of a fragment.
export function parse(fragment) {
  const text = fragment.replace(/^#\/?/, "");
  const mark = text.indexOf("?");
  const path = (mark < 0 ? text : text.slice(0, mark))
    .split("/")
    .filter((part) => part !== "")
    .map(decoded);
  const query = Object.fromEntries(new URLSearchParams(mark < 0 ? "" : text.slice(mark + 1)));
  return { path, query };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// The fragment of a view; query values that are empty are left out.
export function link(path, query = {}) {
  const here = parse(location.hash).query;
  const all = new URLSearchParams();
  for (const [name, value] of Object.entries({
    ...Object.fromEntries(KEPT.map((name) => [name, here[name]])),
    ...query,
  })) {
    if (value !== undefined && value !== null && value !== "") all.set(name, value);
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
  const target = link(path, { ...query, ...patch });
  if (target !== location.hash) history[step ? "pushState" : "replaceState"](null, "", target);
}

// A value of the query that is JSON, such as a list of ids; `otherwise` if it is missing or cannot be read.
export function json(text, otherwise) {
  if (!text) return otherwise;
  try {
    return JSON.parse(text);
  } catch {
    return otherwise;
  }
}
