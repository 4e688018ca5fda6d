// Builds a filter in rows, and shows the JSON that they make. The JSON may be edited too; where rows cannot show it,
// it alone counts.

import { DOCUMENT, DOCUMENT_OPERATORS, KINDS, OPERATORS, guessKind, toRows, toWhere } from "../data/filter.js";
import { area, button, input, segments, select } from "./controls.js";
import { freshId, h, put } from "./dom.js";

const JOINERS = [
  ["$and", "All hold"],
  ["$or", "One holds"],
];

// The element of a filter. `apply(where)` is called with the filter, or null, when the person applies it.
export function filterBuilder(options) {
  return new FilterBuilder(options).node;
}

class FilterBuilder {
  constructor({ where, keys, apply }) {
    const inRows = toRows(where);
    // `conditions` is null where the filter is more than a list of them.
    Object.assign(this, { apply, joiner: inRows?.joiner ?? "$and", conditions: inRows?.conditions ?? null });
    this.list = freshId("keys");
    this.rows = h("div", { class: "filter-rows" });
    this.problem = h("p", { class: "problem", role: "alert" });
    const label = "The filter as JSON";
    const text = where ? JSON.stringify(where, null, 2) : "";
    this.json = area({ class: "code", rows: "4", "aria-label": label, on: { input: () => this.typed() } }, text);
    this.node = this.build(where, keys);
    this.draw();
  }

  build(where, keys) {
    const add = (text, name) => button(text, { icon: "plus", kind: "compact", click: () => this.add(name) });
    return h(
      "div",
      { class: "stack", role: "group", "aria-label": "Filter" },
      h(
        "datalist",
        { id: this.list },
        keys.map((key) => h("option", { value: key })),
      ),
      this.rows,
      h("div", { class: "row" }, add("Condition on a key", ""), add("Condition on the document", DOCUMENT)),
      h("details", { class: "fold", open: true }, h("summary", {}, "As JSON"), this.json),
      this.problem,
      h(
        "div",
        { class: "row" },
        button("Apply", { kind: "primary", click: () => this.finish() }),
        where && button("Clear", { click: () => this.apply(null) }),
      ),
    );
  }

  say(words) {
    put(this.problem, words);
    if (words && this.conditions === null) this.json.setAttribute("aria-invalid", "true");
    else this.json.removeAttribute("aria-invalid");
  }

  // The rows changed: writes their JSON.
  changed() {
    this.say(null);
    try {
      const where = toWhere(this.conditions, this.joiner);
      this.json.value = where ? JSON.stringify(where, null, 2) : "";
    } catch (error) {
      this.say(error.message);
    }
  }

  // The JSON changed: shows it in rows, if they can.
  typed() {
    this.say(null);
    try {
      const where = this.json.value.trim() === "" ? null : JSON.parse(this.json.value);
      const inRows = toRows(where);
      this.conditions = inRows?.conditions ?? null;
      this.joiner = inRows?.joiner ?? this.joiner;
      this.draw();
    } catch {
      this.conditions = null;
      this.say("This is not JSON yet.");
    }
  }

  finish() {
    if (this.problem.textContent !== "") return;
    this.apply(this.json.value.trim() === "" ? null : JSON.parse(this.json.value));
  }

  add(field) {
    this.conditions ??= [];
    const operator = field === DOCUMENT ? "$contains" : "$eq";
    this.conditions.push({ field, operator, text: "", kind: "text" });
    this.draw();
    this.rows.lastElementChild.querySelector(field === DOCUMENT ? ".value" : "input").focus();
  }

  draw() {
    if (this.conditions === null) {
      put(
        this.rows,
        h("p", { class: "quiet" }, "This filter is more than a list of conditions, so it is edited as JSON."),
      );
      return;
    }
    const join = (value) => {
      this.joiner = value;
      this.changed();
    };
    put(
      this.rows,
      this.conditions.length > 1 && segments("How conditions join", JOINERS, this.joiner, join),
      this.conditions.map((condition, index) => this.row(condition, index)),
      this.conditions.length === 0 && h("p", { class: "quiet" }, "No condition: every record matches."),
    );
  }

  row(condition, index) {
    const change = (patch) => {
      Object.assign(condition, patch);
      this.changed();
    };
    const isDocument = condition.field === DOCUMENT;
    const kind = select(KINDS, condition.kind, {
      class: "kind",
      "aria-label": "Kind of the value",
      disabled: isDocument,
      on: { change: (event) => change({ kind: event.target.value }) },
    });
    const name = input({
      value: condition.field,
      list: this.list,
      placeholder: "key",
      "aria-label": "Metadata key",
      on: { input: (event) => this.renamed(condition, index, event.target.value) },
    });
    const operator = select(isDocument ? DOCUMENT_OPERATORS : OPERATORS, condition.operator, {
      "aria-label": "Comparison",
      on: { change: (event) => change({ operator: event.target.value }) },
    });
    const typed = ({ target: { value } }) => {
      if (condition.kind !== "date") kind.value = guessKind(value);
      change({ text: value, kind: kind.value });
    };
    const text = input({
      class: "value",
      value: condition.text,
      placeholder: "value",
      "aria-label": "Value",
      on: {
        input: typed,
        keydown: (event) => {
          if (event.key !== "Enter") return;
          event.preventDefault();
          this.finish();
        },
      },
    });
    const remove = button("", {
      icon: "close",
      kind: "bare icon",
      label: `Remove condition ${index + 1}`,
      click: () => {
        this.conditions.splice(index, 1);
        this.changed();
        this.draw();
      },
    });
    return h("div", { class: "filter-row" }, name, operator, kind, text, remove);
  }

  // Metadata and the document are compared in different ways, so the row is made anew between the two only: it would
  // take the focus away.
  renamed(condition, index, field) {
    const wasDocument = condition.field === DOCUMENT;
    const isDocument = field === DOCUMENT;
    condition.field = field;
    if (wasDocument !== isDocument) condition.operator = isDocument ? "$contains" : "$eq";
    this.changed();
    if (wasDocument === isDocument) return;
    this.draw();
    this.rows.querySelectorAll(".filter-row")[index].querySelector("input").focus();
  }
}
