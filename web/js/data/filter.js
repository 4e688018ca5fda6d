// Filters: conditions in rows, and the JSON of `where` that they come to, in both directions.

export const OPERATORS = [
  ["$eq", "is"],
  ["$ne", "is not"],
  ["$gt", ">"],
  ["$gte", "≥"],
  ["$lt", "<"],
  ["$lte", "≤"],
  ["$in", "is one of"],
  ["$nin", "is none of"],
  ["$contains", "list has"],
  ["$not_contains", "list has not"],
  ["$startsWith", "begins with"],
  ["$icontains", "contains text"],
  ["$exists", "is there"],
];
export const DOCUMENT_OPERATORS = [
  ["$contains", "contains"],
  ["$not_contains", "does not contain"],
  ["$icontains", "contains, any case"],
  ["$startsWith", "begins with"],
  ["$regex", "matches regex"],
  ["$exists", "is there"],
];
export const KINDS = [
  ["text", "text"],
  ["number", "number"],
  ["boolean", "yes or no"],
  ["date", "date"],
];
export const DOCUMENT = "#document";

// The kind that typed text looks like.
export function guessKind(text) {
  if (text === "true" || text === "false") return "boolean";
  if (text.trim() !== "" && Number.isFinite(Number(text))) return "number";
  return "text";
}

function value(text, kind) {
  if (kind === "number") {
    const number = Number(text);
    if (text.trim() === "" || !Number.isFinite(number)) throw new Error(`“${text}” is not a number`);
    return number;
  }
  if (kind === "boolean") return /^(true|yes|1)$/i.test(text.trim());
  if (kind === "date") return { $date: text.trim() };
  return text;
}

// The JSON of one condition { field, operator, text, kind }.
function condition({ field, operator, text, kind }) {
  let operand;
  if (operator === "$exists") operand = !/^(false|no|0)$/i.test(text.trim());
  else if (operator === "$in" || operator === "$nin") operand = text.split(",").map((part) => value(part.trim(), kind));
  else operand = value(text, field === DOCUMENT ? "text" : kind);
  return { [field]: { [operator]: operand } };
}

// The filter of some conditions; null if there are none. Throws with a sentence where one cannot be read.
export function toWhere(conditions, joiner = "$and") {
  const parts = conditions.filter(({ field }) => field !== "").map(condition);
  if (parts.length === 0) return null;
  return parts.length === 1 ? parts[0] : { [joiner]: parts };
}

function typed(operand) {
  if (operand !== null && typeof operand === "object" && !Array.isArray(operand) && "$date" in operand)
    return { text: String(operand.$date), kind: "date" };
  return {
    text: String(operand),
    kind: typeof operand === "number" ? "number" : typeof operand === "boolean" ? "boolean" : "text",
  };
}

function row(part) {
  const entries = Object.entries(part ?? {});
  if (entries.length !== 1) return null;
  const [field, test] = entries[0];
  if (field.startsWith("$")) return null;
  if (test === null || typeof test !== "object") return { field, operator: "$eq", ...typed(test) };
  const tests = Object.entries(test);
  if (tests.length !== 1) return null;
  const [operator, operand] = tests[0];
  if (Array.isArray(operand)) {
    const all = operand.map(typed);
    return { field, operator, text: all.map((each) => each.text).join(", "), kind: all[0]?.kind ?? "text" };
  }
  const known = (field === DOCUMENT ? DOCUMENT_OPERATORS : OPERATORS).some(([name]) => name === operator);
  return known ? { field, operator, ...typed(operand) } : null;
}

// { joiner, conditions } of a filter, or null where rows cannot show it: then only its JSON can.
export function toRows(where) {
  if (where === null || where === undefined) return { joiner: "$and", conditions: [] };
  if (typeof where !== "object" || Array.isArray(where)) return null;
  const joiner = "$or" in where ? "$or" : "$and";
  const parts = Array.isArray(where[joiner]) ? where[joiner] : [where];
  const conditions = parts.map(row);
  return conditions.includes(null) ? null : { joiner, conditions };
}
