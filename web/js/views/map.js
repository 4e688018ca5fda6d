// The collection in two dimensions: near points are near in meaning. Coloured by a metadata key, with a lasso, marked
// hits and the neighbours of one record.

import { amend, link } from "../core/address.js";
import { api } from "../core/api.js";
import { count, integer } from "../core/format.js";
import { save } from "../core/save.js";
import { jsonLines } from "../data/export.js";
import { keysOf, valueOf } from "../data/metadata.js";
import { DIMMED, OTHERS, groupBy } from "../map/groups.js";
import { palette } from "../map/colours.js";
import { load } from "../map/layout.js";
import { rowsWithin } from "../map/selection.js";
import { Stage } from "../map/stage.js";
import { chips } from "../ui/chips.js";
import { button, field, linkButton, segments, select } from "../ui/controls.js";
import { h, put } from "../ui/dom.js";
import { collectionHeading } from "../ui/heading.js";
import { invitation, mapInstead, outdated } from "../ui/map_making.js";
import { empty, failed, notify, notifyError } from "../ui/notice.js";

export const title = (path) => `${path[1]}: map`;

const HOVER_MS = 120;

export async function show(context) {
  const { path, signal, reload } = context;
  const [, name] = path;
  const top = collectionHeading(name);
  let found;
  try {
    found = await load(name, signal);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return [...top, failed(error, reload), invitation(name, "", reload)];
  }
  if (found.state !== "ready") return [...top, mapInstead({ name, found, signal, reload })];
  if (found.layout.count === 0)
    return [
      ...top,
      empty({ title: "Nothing to draw", text: "This collection has no records with an embedding.", icon: "map" }),
    ];
  const [sample, info] = await Promise.all([
    api.on(name, "get", { limit: 200, include: ["metadata"] }, { signal }),
    api.collection(name, { signal }),
  ]);
  const { layout } = found;
  const isOld = layout.version !== null && layout.version !== info.version;
  return [
    ...top,
    isOld && outdated({ name, of: layout.version, now: info.version, reload }),
    new MapView({ ...context, name, layout, sample: sample.records }).node,
  ];
}

class MapView {
  constructor(context) {
    Object.assign(this, context);
    const { layout, query, signal } = this;
    this.stage = new Stage(
      layout,
      {
        hover: (...at) => this.hover(...at),
        pick: (row) => this.pick(row),
        lasso: (polygon) => this.select(polygon),
        moved: (view) => this.moved(view),
      },
      signal,
      { box: query.box && { centre: query.box.slice(0, 2), zoom: query.box[2] }, plain: query.plain },
    );
    this.tip = h("div", { class: "map-tip", hidden: true });
    this.side = { groups: h("div"), chosen: h("div", { role: "status" }), record: h("div", { role: "status" }) };
    this.solo = null;
    this.selected = null;
    this.stage.node.append(this.tools(), this.tip);
    this.node = h(
      "div",
      { class: "map-layout" },
      this.stage.node,
      h(
        "aside",
        { class: "map-side", "aria-label": "About the map" },
        this.side.record,
        this.side.chosen,
        this.colourBy(),
        this.side.groups,
        this.faithful(),
      ),
    );
    this.stage.marks = this.marked();
    this.colour(this.colourKey());
    if (query.area) this.select(query.area, false);
    if (query.near) this.pick(layout.ids.row(query.near));
  }

  tools() {
    const { stage } = this;
    const tool = segments(
      "Tool",
      [
        ["pan", "Move"],
        ["lasso", "Lasso"],
      ],
      "pan",
      (value) => {
        stage.tool = value;
        stage.over.classList.toggle("pan", value === "pan");
      },
    );
    return h(
      "div",
      { class: "map-tools" },
      tool,
      button("+", { kind: "icon", label: "Zoom in", click: () => stage.zoom(1.5) }),
      button("−", { kind: "icon", label: "Zoom out", click: () => stage.zoom(1 / 1.5) }),
      button("All", { label: "Show all of the map", click: () => stage.reset() }),
    );
  }

  // The rows that the address marks.
  marked() {
    return (this.query.mark ?? []).map((id) => this.layout.ids.row(id)).filter((row) => row >= 0);
  }

  // A key with a few values that come back.
  firstKey() {
    const distinct = (key) => new Set(this.sample.map(({ metadata }) => JSON.stringify(valueOf(metadata, key)))).size;
    const good = keysOf(this.sample).filter(
      (key) => distinct(key) > 1 && distinct(key) <= Math.max(2, this.sample.length / 4),
    );
    return (
      good
        .sort((a, b) => distinct(b) - distinct(a))
        .find((key) => typeof valueOf(this.sample[0].metadata, key) === "string") ??
      good[0] ??
      ""
    );
  }

  // The key that the address names, or says that there is none; else the first.
  colourKey() {
    return this.query.uncoloured ? "" : (this.query.colour ?? this.firstKey());
  }

  colourBy() {
    return field(
      "Colour by",
      select([["", "nothing"], ...keysOf(this.sample).map((key) => [key, key])], this.colourKey(), {
        on: {
          change: (e) => {
            amend({ colour: e.target.value, uncoloured: e.target.value === "" });
            this.colour(e.target.value);
          },
        },
      }),
    );
  }

  async colour(key) {
    try {
      this.grouped = await groupBy(this.name, key, this.layout, this.signal);
      this.solo = null;
      this.paint();
      this.legend(key);
    } catch (error) {
      notifyError(error);
    }
  }

  // Dims what is not selected, or not of the group that is looked at alone.
  paint() {
    const { of, isRange } = this.grouped ?? { of: new Uint8Array(this.layout.count).fill(OTHERS), isRange: false };
    let shown = of;
    if (this.selected || this.solo !== null) {
      shown = new Uint8Array(of.length).fill(DIMMED);
      const keep = (row) => {
        if (this.solo === null || of[row] === this.solo) shown[row] = of[row];
      };
      if (this.selected) this.selected.forEach(keep);
      else for (let row = 0; row < of.length; row += 1) keep(row);
    }
    this.stage.show(shown, isRange);
  }

  legend(key) {
    const { names, isRange } = this.grouped;
    const colours = palette(isRange);
    const others = this.layout.count - names.reduce((n, each) => n + each.count, 0);
    const rows = [
      ...names.map((each, i) => ({ ...each, i })),
      ...(others > 0 && key ? [{ name: "others", count: others, i: OTHERS }] : []),
    ];
    put(
      this.side.groups,
      rows.length > 0 &&
        h(
          "ul",
          { class: "groups", "aria-label": `Colours of ${key}` },
          rows.map(({ name, count: n, i }) =>
            h(
              "li",
              {},
              h("i", { class: "swatch", vars: { "--swatch": colours[i] } }),
              h(
                "button",
                {
                  type: "button",
                  class: "button bare compact",
                  "aria-pressed": String(this.solo === i),
                  on: {
                    click: () => {
                      this.solo = this.solo === i ? null : i;
                      this.paint();
                      this.legend(key);
                    },
                  },
                },
                name,
              ),
              h("span", { class: "number quiet" }, integer(n)),
            ),
          ),
        ),
    );
  }

  faithful() {
    const { trustworthiness: trust, continuity, count: n } = this.layout;
    const percent = (part) => `${(100 * part).toFixed(1)} %`;
    return h(
      "section",
      { class: "stack-s small quiet" },
      h("p", {}, `${count(n, "record")}, drawn with ${this.stage.renderer.kind}.`),
      trust !== null &&
        h(
          "p",
          {},
          `How faithful: trustworthiness ${percent(trust)}: that much of what is near here is near in truth.`,
          continuity !== null &&
            ` Continuity ${percent(continuity)}: that much of what is near in truth is near here. Both at 15 neighbours.`,
        ),
    );
  }

  moved(view) {
    this.tip.hidden = true;
    clearTimeout(this.told);
    this.told = setTimeout(
      () =>
        amend({
          box: view && [...view.centre, view.zoom].map((n) => Number(n.toPrecision(7))),
        }),
      250,
    );
  }

  hover(row, px, py) {
    clearTimeout(this.hovering);
    if (row < 0) {
      this.tip.hidden = true;
      return;
    }
    const id = this.layout.ids.text(row);
    put(this.tip, h("b", {}, id));
    this.tip.hidden = false;
    const left = Math.min(px + 14, this.stage.node.clientWidth - 240);
    this.tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.min(py + 14, this.stage.node.clientHeight - 90)}px)`;
    this.hovering = setTimeout(async () => {
      try {
        const {
          records: [record],
        } = await api.on(this.name, "get", { ids: [id], include: ["document", "metadata"] }, { signal: this.signal });
        if (record && !this.tip.hidden && this.tip.firstChild.textContent === id)
          put(
            this.tip,
            h("b", {}, id),
            h("div", { class: "text" }, record.document ?? JSON.stringify(record.metadata ?? {})),
          );
      } catch {
        /* A tip that does not come is no loss. */
      }
    }, HOVER_MS);
  }

  // Opens a point beside the map, and draws lines to its neighbours in the graph.
  async pick(row) {
    if (row < 0) {
      Object.assign(this.stage, { lines: [] });
      put(this.side.record);
      amend({ near: undefined });
      this.stage.ask();
      return;
    }
    const id = this.layout.ids.text(row);
    amend({ near: id });
    try {
      const [
        {
          records: [record],
        },
        found,
      ] = await Promise.all([
        api.on(this.name, "get", { ids: [id], include: ["document", "metadata"] }, { signal: this.signal }),
        api.on(this.name, "neighbors", { id }, { signal: this.signal }).catch((error) => {
          if (error.isMissingRoute) return { neighbors: [] };
          throw error;
        }),
      ]);
      this.stage.lines = found.neighbors
        .map((each) => this.layout.ids.row(each.id))
        .filter((to) => to >= 0)
        .map((to) => [row, to]);
      this.stage.marks = [...new Set([row, ...this.marked()])];
      this.stage.ask();
      put(
        this.side.record,
        h(
          "section",
          { class: "card" },
          h("h3", { class: "mono" }, id),
          record?.document && h("p", {}, record.document.slice(0, 300)),
          record?.metadata && chips(record.metadata),
          h("p", { class: "quiet small" }, count(this.stage.lines.length, "neighbour"), " in the graph"),
          h(
            "div",
            { class: "row" },
            linkButton("Open", link(["collections", this.name, "records"], { record: id }), { kind: "compact" }),
            linkButton("More like this", link(["collections", this.name, "search"], { by: "record", like: [id] }), {
              kind: "compact",
            }),
          ),
        ),
      );
    } catch (error) {
      notifyError(error);
    }
  }

  select(polygon, tell = true) {
    if (polygon.length < 3) return;
    const thin = polygon
      .filter((_, i) => i % Math.ceil(polygon.length / 60) === 0)
      .map((point) => point.map((n) => Number(n.toPrecision(5))));
    this.stage.polygon = thin;
    this.selected = rowsWithin(this.layout, thin);
    if (tell) amend({ area: thin });
    this.paint();
    const clear = () => {
      this.selected = null;
      this.stage.polygon = null;
      amend({ area: undefined });
      put(this.side.chosen);
      this.paint();
    };
    put(
      this.side.chosen,
      h(
        "section",
        { class: "card" },
        h("h3", {}, `${count(this.selected.length, "record")} within the lasso`),
        h(
          "div",
          { class: "row" },
          linkButton("Show as records", link(["collections", this.name, "records"], { area: thin }), {
            kind: "compact",
          }),
          button("Export", { icon: "download", kind: "compact", click: () => this.export() }),
          button("Clear", { kind: "compact", click: clear }),
        ),
      ),
    );
  }

  async export() {
    try {
      const ids = this.selected.map((row) => this.layout.ids.text(row));
      const { blob, records } = await jsonLines(
        this.name,
        { ids, include: ["metadata", "document", "uri", "embedding"] },
        { signal: this.signal },
      );
      save(`${this.name}-lasso.jsonl`, blob);
      notify(`Exported ${count(records, "record")}.`);
    } catch (error) {
      notifyError(error);
    }
  }
}
