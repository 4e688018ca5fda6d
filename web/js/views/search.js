// Searching a collection: by text, by records that are like or unlike, or by a pasted embedding.

import { amend, link } from "../core/address.js";
import { api } from "../core/api.js";
import { keysOf, valueOf } from "../data/metadata.js";
import { asked, body, isComplete, parameters, usesGraph } from "../data/query.js";
import { area, button, check, field, input, segments, select } from "../ui/controls.js";
import { h, put } from "../ui/dom.js";
import { filterBuilder } from "../ui/filter_builder.js";
import { collectionHeading } from "../ui/heading.js";
import { showFacets, showHits, told } from "../ui/hits.js";
import { empty, failed, waiting } from "../ui/notice.js";

export const title = (path) => `${path[1]}: search`;

const FACETS_AT_FIRST = 4;

export async function show(context) {
  const { path, query, signal } = context;
  const [, name] = path;
  const [info, sample] = await Promise.all([
    api.collection(name, { signal }),
    api.on(name, "get", { limit: 200, include: ["metadata", "document"] }, { signal }),
  ]);
  const view = new SearchView({ ...context, name, info, keys: keysOf(sample.records), sample: sample.records });
  if (isComplete(view.asked)) view.run();
  return [...collectionHeading(name, { version: query.version }), view.form(), view.results];
}

class SearchView {
  constructor(context) {
    Object.assign(this, context);
    this.asked = asked(context.query);
    if (
      context.query.by === undefined &&
      this.sample.every(({ document }) => document === undefined) &&
      this.sample.length > 0 &&
      !this.asked.text
    )
      this.asked.by = "record";
    this.asked.facets ??= this.keys.filter((key) => this.isCountable(key)).slice(0, FACETS_AT_FIRST);
    this.results = h("div", { class: "stack", "aria-live": "off" }, this.invite());
    this.under = null;
  }

  // Text, yes or no, and small sets of numbers make facets; a key with a value of its own for every record does not.
  isCountable(key) {
    const values = this.sample.map(({ metadata }) => valueOf(metadata, key)).filter((value) => value !== undefined);
    return (
      values.length > 0 &&
      values.every((value) => ["string", "boolean", "number"].includes(typeof value)) &&
      new Set(values).size <= Math.max(4, values.length / 3)
    );
  }

  // Searches that find something, for who does not know the collection yet: words of a few records, and one of them.
  suggestions() {
    const words = [0, 0.5, 1].map((part) => {
      const { document = "" } = this.sample[Math.round(part * (this.sample.length - 1))];
      const all = document.match(/\p{L}{4,20}/gu) ?? [];
      return all.reduce((longest, word) => (word.length > longest.length ? word : longest), "");
    });
    const to = (text, query) =>
      h("a", { class: "button", href: link(["collections", this.name, "search"], query) }, text);
    const { id } = this.sample[0];
    return [...new Set(words.filter((word) => word !== ""))]
      .map((word) => to(word, { text: word }))
      .concat(this.info.dimension ? to(`Like ${id}`, { by: "record", like: [id] }) : []);
  }

  invite() {
    return this.sample.length === 0
      ? empty({ title: "Nothing to search yet", text: "This collection has no records.", icon: "search" })
      : empty({
          title: "Search",
          text: "Type words, name a record to find others like it, or paste an embedding.",
          icon: "search",
          actions: this.suggestions(),
        });
  }

  form() {
    const inputs = h("div", { class: "stack" });
    const draw = () =>
      put(
        inputs,
        { text: () => this.textInput(), record: () => this.recordInput(), vector: () => this.vectorInput() }[
          this.asked.by
        ](),
      );
    draw();
    return h(
      "form",
      {
        class: "card",
        role: "search",
        on: {
          submit: (event) => {
            event.preventDefault();
            this.run(true);
          },
        },
      },
      segments(
        "Search by",
        [
          ["text", "Text"],
          ["record", "Records"],
          ["vector", "Embedding"],
        ],
        this.asked.by,
        (by) => {
          this.asked.by = by;
          draw();
        },
      ),
      inputs,
      this.options(),
    );
  }

  bar(control) {
    return h(
      "div",
      { class: "search-bar" },
      h("div", { class: "grow" }, control),
      button("Search", { icon: "search", kind: "primary", type: "submit" }),
    );
  }

  textInput() {
    const text = input({
      type: "search",
      value: this.asked.text,
      placeholder: "Words, “a phrase”, +must, -not",
      "aria-label": "Text to search for",
      on: {
        input: (e) => {
          this.asked.text = e.target.value;
        },
      },
    });
    const modes = [
      ["", "as the collection says"],
      ["words", "words"],
      ["meaning", "meaning"],
      ["both", "both"],
    ];
    return [
      this.bar(text),
      this.info.embedder
        ? field(
            "Find by",
            select(modes, this.asked.mode, {
              class: "medium",
              on: {
                change: (e) => {
                  this.asked.mode = e.target.value;
                },
              },
            }),
          )
        : h("p", { class: "quiet small" }, "By words: this collection has no model that makes embeddings of texts."),
    ];
  }

  recordInput() {
    const list = (label, which, help) =>
      field(
        label,
        input({
          class: "code",
          value: this.asked[which].map((id) => (/[,\s"]/.test(id) ? JSON.stringify(id) : id)).join(", "),
          on: {
            input: (e) => {
              this.asked[which] = ids(e.target.value);
            },
          },
        }),
        help,
      );
    return h(
      "div",
      { class: "columns-2" },
      list("Like these records", "like", "Ids with commas between; in quotes where an id has a comma or a space."),
      list("Unlike these", "unlike"),
      h("div", {}, button("Search", { icon: "search", kind: "primary", type: "submit" })),
    );
  }

  vectorInput() {
    return [
      field(
        `Embedding${this.info.dimension ? ` of ${this.info.dimension} numbers` : ""}`,
        area(
          {
            class: "code",
            rows: "4",
            placeholder: "[0.12, -0.03, …]",
            on: {
              input: (e) => {
                this.asked.vector = e.target.value;
              },
            },
          },
          this.asked.vector,
        ),
      ),
      h("div", {}, button("Search", { icon: "search", kind: "primary", type: "submit" })),
    ];
  }

  options() {
    const number = (name, label, attributes) =>
      field(
        label,
        input({
          class: "narrow",
          type: "number",
          min: "1",
          value: this.asked[name] ?? "",
          ...attributes,
          on: {
            input: (e) => {
              this.asked[name] = e.target.value === "" ? undefined : Number(e.target.value);
            },
          },
        }),
      );
    const where = h("div", { class: "stack" });
    const draw = () =>
      put(
        where,
        filterBuilder({
          where: this.asked.where,
          keys: this.keys,
          apply: (next) => {
            this.asked.where = next;
            draw();
            this.run(true);
          },
        }),
      );
    draw();
    this.redrawFilter = draw;
    const { exact, ef } = this.asked;
    return h(
      "div",
      { class: "folds" },
      h(
        "details",
        { class: "fold", open: exact || ef !== undefined },
        h("summary", {}, "Options"),
        h(
          "div",
          { class: "row-wide" },
          number("k", "Hits (k)", { max: "10000", required: "" }),
          number("ef", "Width (ef)", { placeholder: "auto" }),
          check("Exact: compare every record", exact, (on) => {
            this.asked.exact = on;
          }),
        ),
      ),
      h(
        "details",
        { class: "fold", open: Boolean(this.asked.where) },
        h("summary", {}, this.asked.where ? "Filter: on" : "Filter"),
        where,
      ),
      this.keys.length > 0 &&
        h(
          "details",
          { class: "fold" },
          h("summary", {}, "Facets"),
          h(
            "div",
            { class: "row" },
            this.keys.slice(0, 30).map((key) =>
              check(key, this.asked.facets.includes(key), (on) => {
                this.asked.facets = on ? [...this.asked.facets, key] : this.asked.facets.filter((each) => each !== key);
              }),
            ),
          ),
        ),
    );
  }

  // Searches; with `step`, as a step of the browser's history.
  async run(step = false) {
    if (!isComplete(this.asked)) {
      put(this.results, this.invite());
      return;
    }
    amend(parameters(this.asked), { step });
    this.under?.abort();
    this.under = new AbortController();
    const signal = AbortSignal.any([this.signal, this.under.signal]);
    const late = setTimeout(() => put(this.results, waiting("Searching…")), 200);
    try {
      const request = body(this.asked, this.info, this.asked.facets.slice(0, 20));
      const { answer, ms } = await this.search(request, signal);
      clearTimeout(late);
      this.draw(request, answer, ms);
    } catch (error) {
      clearTimeout(late);
      if (error.name !== "AbortError")
        put(
          this.results,
          failed(error.status === undefined ? Object.assign(error, { status: -1 }) : error, () => this.run()),
        );
    }
  }

  async search(request, signal) {
    const began = performance.now();
    const answer = await api.on(this.name, "search", request, { signal });
    return { answer, ms: performance.now() - began };
  }

  draw(request, answer, ms) {
    const hits = answer.results?.[0] ?? [];
    const recall = usesGraph(this.asked, this.info) && !this.asked.exact ? () => this.recall(request, hits, ms) : null;
    const facets = Object.entries(answer.facets ?? {}).filter(([, found]) => found.values?.length > 0);
    put(
      this.results,
      told({ hits, ms, answer, info: this.info, recall, name: this.name, compares: this.asked.by !== "text" }),
      hits.length === 0
        ? empty({
            title: "Nothing found",
            text: "No record matches. Fewer words, another filter or more examples may find some.",
            icon: "search",
          })
        : h(
            "div",
            { class: `search-layout ${facets.length ? "" : "single"}` },
            showHits({ view: this, hits }),
            facets.length > 0 && showFacets(facets, (key, value) => this.narrow(key, value)),
          ),
    );
  }

  // The same search by comparing every record, and how many of its hits the graph found.
  async recall(request, hits, ms) {
    const exact = { ...request, exact: true };
    delete exact.ef_search;
    delete exact.facets;
    const { answer, ms: exactMs } = await this.search(exact, this.signal);
    const truth = answer.results[0].map(({ id }) => id);
    const found = new Set(hits.map(({ id }) => id));
    const common = truth.filter((id) => found.has(id)).length;
    return { part: truth.length === 0 ? 1 : common / truth.length, common, of: truth.length, exactMs, ms };
  }

  narrow(key, value) {
    const more = { [key]: { $eq: value } };
    this.asked.where = this.asked.where ? { $and: [...(this.asked.where.$and ?? [this.asked.where]), more] } : more;
    this.redrawFilter();
    this.run(true);
  }

  // More like, or unlike, a hit.
  steer(id, which) {
    this.asked.by = "record";
    this.asked[which] = [...new Set([...this.asked[which], id])];
    this.asked[which === "like" ? "unlike" : "like"] = this.asked[which === "like" ? "unlike" : "like"].filter(
      (each) => each !== id,
    );
    amend(parameters(this.asked), { step: true });
    this.reload();
  }
}

// Ids out of a line: commas between, quotes as in JSON.
export function ids(text) {
  return (text.match(/"(?:[^"\\]|\\.)*"|[^,]+/g) ?? [])
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map((part) => {
      if (!part.startsWith('"')) return part;
      try {
        return JSON.parse(part);
      } catch {
        return part;
      }
    });
}
