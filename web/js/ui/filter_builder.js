// Builds a filter in rows, and shows the JSON that they make. The JSON may be edited too; where rows cannot show it,
// it alone counts.

import { DOCUMENT, DOCUMENT_OPERATORS, KINDS, OPERATORS, guessKind, toRows, toWhere } from "../data/filter.js";
import { area, button, field, input, segments, select } from "./controls.js";
import { freshId, h, put } from "./dom.js";

// `apply(where)` is called with the filter, or null, when the person applies it.
export function filterBuilder({ where, keys, apply, label = "Filter" }) {
  let { joiner, conditions } = toRows(where) ?? { joiner: "$and", conditions: null };
  const list = freshId("keys");
  const rows = h("div", { class: "filter-rows" });
  const problem = h("p", { class: "problem", role: "alert" });
  const json = area({ class: "code", rows: "4", "aria-label": "The filter as JSON", on: { input: () => typed() } }, where ? JSON.stringify(where, null, 2) : "");

  const made = () => {
    put(problem);
    json.removeAttribute("aria-invalid");
    try {
      const result = toWhere(conditions, joiner);
      json.value = result ? JSON.stringify(result, null, 2) : "";
    } catch (error) { put(problem, error.message); }
  };
  const typed = () => {
    put(problem);
    json.removeAttribute("aria-invalid");
    try {
      const read = json.value.trim() === "" ? null : JSON.parse(json.value);
      const inRows = toRows(read);
      conditions = inRows?.conditions ?? null;
      joiner = inRows?.joiner ?? joiner;
      draw();
    } catch { json.setAttribute("aria-invalid", "true"); put(problem, "This is not JSON yet."); }
  };
  const finish = () => {
    if (problem.textContent !== "") return;
    apply(json.value.trim() === "" ? null : JSON.parse(json.value));
  };

  function row(condition, index) {
    const isDocument = condition.field === DOCUMENT;
    const change = (patch) => { Object.assign(condition, patch); made(); };
    const kind = select(KINDS, condition.kind, { class: "kind", "aria-label": "Kind of the value", disabled: isDocument, on: { change: (e) => change({ kind: e.target.value }) } });
    const name = input({ value: condition.field, list, placeholder: "key", "aria-label": "Metadata key", on: {
      // Metadata and the document are compared in different ways, so the row is made anew between the two only: it
      // would take the focus away.
      input: (e) => {
        const wasDocument = condition.field === DOCUMENT;
        change({ field: e.target.value });
        if (wasDocument !== (condition.field === DOCUMENT)) { condition.operator = condition.field === DOCUMENT ? "$contains" : "$eq"; made(); draw(); rows.querySelectorAll(".filter-row")[index].querySelector("input").focus(); }
      },
    } });
    const operator = select(isDocument ? DOCUMENT_OPERATORS : OPERATORS, condition.operator, { "aria-label": "Comparison", on: { change: (e) => change({ operator: e.target.value }) } });
    const text = input({ class: "value", value: condition.text, placeholder: "value", "aria-label": "Value", on: {
      input: (e) => { const guess = guessKind(e.target.value); if (condition.kind !== "date") kind.value = guess; change({ text: e.target.value, kind: kind.value }); },
      keydown: (e) => { if (e.key === "Enter") { e.preventDefault(); finish(); } },
    } });
    return h("div", { class: "filter-row" }, name, operator, kind, text,
      button("", { icon: "close", kind: "bare icon", label: `Remove condition ${index + 1}`, click: () => { conditions.splice(index, 1); made(); draw(); } }));
  }

  function add(fieldName) {
    conditions = conditions ?? [];
    conditions.push({ field: fieldName, operator: fieldName === DOCUMENT ? "$contains" : "$eq", text: "", kind: "text" });
    draw();
    rows.lastElementChild.querySelector(fieldName === DOCUMENT ? ".value" : "input").focus();
  }

  function draw() {
    if (conditions === null) {
      put(rows, h("p", { class: "quiet" }, "This filter is more than a list of conditions, so it is edited as JSON."));
      return;
    }
    put(rows, conditions.length > 1 && segments("How conditions join", [["$and", "All hold"], ["$or", "One holds"]], joiner, (value) => { joiner = value; made(); }),
      conditions.map(row), conditions.length === 0 && h("p", { class: "quiet" }, "No condition: every record matches."));
  }

  draw();
  return h("div", { class: "stack", role: "group", "aria-label": label },
    h("datalist", { id: list }, keys.map((key) => h("option", { value: key }))), rows,
    h("div", { class: "row" }, button("Condition on a key", { icon: "plus", kind: "compact", click: () => add("") }), button("Condition on the document", { icon: "plus", kind: "compact", click: () => add(DOCUMENT) })),
    h("details", { class: "fold", open: true }, h("summary", {}, "As JSON"), json), problem,
    h("div", { class: "row" }, button("Apply", { kind: "primary", click: finish }),
      where && button("Clear", { click: () => apply(null) })));
}
