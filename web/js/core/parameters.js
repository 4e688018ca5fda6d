// What the parameters of an address may be, view by view. Invariant: a view gets values of the kinds that it expects,
// or none. Whatever else an address holds is told in a sentence and left out; where it says which records are meant,
// the view is not shown, because others than those would be.

const isText = (value) => typeof value === "string";
const isPair = (value) => Array.isArray(value) && value.length === 2 && value.every(Number.isFinite);

const text = { read: (raw) => raw };
const flag = { is: "1", read: (raw) => (raw === "1" ? true : undefined) };
const oneOf = (...names) => ({ is: names.join(" or "), read: (raw) => (names.includes(raw) ? raw : undefined) });
const texts = json("a list of texts in JSON", (value) => Array.isArray(value) && value.every(isText));
const filter = json(
  "a filter in JSON",
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
);
const outline = json(
  "a list of three points [x, y] or more in JSON",
  (value) => Array.isArray(value) && value.length >= 3 && value.every(isPair),
);
const box = json(
  "the middle and the scale [x, y, zoom] in JSON",
  (value) => Array.isArray(value) && value.length === 3 && value.every(Number.isFinite) && value[2] > 0,
);

function json(is, passes) {
  const read = (raw) => {
    try {
      const value = JSON.parse(raw);
      return passes(value) ? value : undefined;
    } catch {
      return undefined;
    }
  };
  return { is, read };
}

function whole(least, most = Number.MAX_SAFE_INTEGER) {
  const bound = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  const isWithin = (value) => value >= least && value <= most;
  const read = (raw) => (/^\d{1,16}$/.test(raw) && isWithin(Number(raw)) ? Number(raw) : undefined);
  return { is: `a whole number ${bound}`, read };
}

const plain = (name, kind) => ({ name, kind, decides: false });
// Says which records are meant.
const deciding = (name, kind) => ({ name, kind, decides: true });

const EVERY = { tenant: plain("The tenant", text), database: plain("The database", text) };
const WHERE = deciding("The filter", filter);
const VERSION = deciding("The version", whole(0));
const RECORD = plain("The record", text);

const OF_VIEWS = {
  records: {
    where: WHERE,
    version: VERSION,
    record: RECORD,
    ids: deciding("The list of records", texts),
    area: deciding("The outline of the lasso", outline),
    columns: plain("The list of columns", texts),
    filter: plain("Whether the filter is open", flag),
  },
  search: {
    where: WHERE,
    version: VERSION,
    record: RECORD,
    by: plain("The way of searching", oneOf("text", "record", "vector")),
    text: plain("The text", text),
    mode: plain("What is searched for", oneOf("words", "meaning", "both")),
    like: plain("The list of records to be like", texts),
    unlike: plain("The list of records to be unlike", texts),
    vector: plain("The embedding", text),
    k: plain("The number of hits", whole(1, 10000)),
    ef: plain("The width of the search", whole(1)),
    exact: plain("Whether every record is compared", flag),
    facets: plain("The list of facets", texts),
  },
  map: {
    box: plain("The part of the map", box),
    plain: plain("Whether the map is drawn without WebGL", flag),
    mark: plain("The list of marked records", texts),
    colour: plain("The key that colours the map", text),
    uncoloured: plain("Whether the map is without colours", flag),
    area: plain("The outline of the lasso", outline),
    near: plain("The record", text),
  },
  history: { from: plain("The first version", whole(0)), to: plain("The second version", whole(0)) },
  files: { prefix: plain("The beginning of names", text) },
};

// A route's own parameters in the console, as "p.name".
const OF_A_ROUTE = /^p\./;

function parameter(view, name) {
  if (view === "console" && OF_A_ROUTE.test(name)) return plain("The parameter", text);
  const known = { ...EVERY, ...(Object.hasOwn(OF_VIEWS, view) ? OF_VIEWS[view] : {}) };
  return Object.hasOwn(known, name) ? known[name] : null;
}

// { values, problems: [{ text, decides }] } of a view's query as the address has it. Parameters that the view does not
// know are passed over: they may be those of another version.
export function read(view, query) {
  const values = {},
    problems = [];
  for (const [name, raw] of Object.entries(query)) {
    const known = parameter(view, name);
    if (known === null || raw === "") continue;
    const value = known.kind.read(raw);
    if (value !== undefined) values[name] = value;
    else problems.push({ text: sentence(name, known), decides: known.decides });
  }
  return { values, problems };
}

function sentence(name, { name: meaning, kind, decides }) {
  const then = decides ? "It says which records are meant, so none are shown." : "It is left out.";
  return `${meaning} in the address, ${name}, has to be ${kind.is}. ${then}`;
}

// A value as it stands in an address; undefined where it is left out.
export function written(value) {
  if (value === undefined || value === null || value === "" || value === false) return undefined;
  if (value === true) return "1";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
