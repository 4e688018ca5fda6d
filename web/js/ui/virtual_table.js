// A table of any length that holds only the rows in sight. Rows are fetched by pages while they come into sight.
// A browser's elements end at some 16 million pixels, so a longer table scrolls by exact pixels for small steps, and in
// proportion for jumps of the scroll bar.

import { h, put } from "./dom.js";

export const PAGE = 200;
const ROW = 36;
const PAGES_KEPT = 60;
// Pixels of the element that scrolls, at most.
const TALLEST = 8_000_000;
// A jump is a step of more than this many windows.
const JUMP = 4;
// A pause before a page is asked for, so that a fling over thousands of pages asks for few of them.
const ASK_MS = 40;
// A pause before the scroll bar follows the rows.
const SETTLE_MS = 200;

export class VirtualTable {
  // columns: [{ name, width, kind?, text(row) }]. fetchPage(offset, limit, signal) → rows. `first`: the first page, if
  // it is there already. `open(row)` is called at Enter or click, `failed(error)` where a page does not come.
  constructor({ label, columns, count, first, fetchPage, open, signal, failed }) {
    Object.assign(this, { columns, count, fetchPage, open, signal, failed });
    this.pages = new Map(first ? [[0, first]] : []);
    this.pending = new Map();
    this.rows = new Map();
    // Pixels above the rows in sight, in a table without a limit of height; and where the scroll bar was.
    this.top = 0;
    this.last = 0;
    this.active = -1;
    this.build(label);
    this.reset();
  }

  build(label) {
    this.spacer = h("div", { role: "presentation" });
    this.layer = h("div", { class: "grid-layer", role: "rowgroup" });
    this.head = h("div", { class: "grid-head", role: "row", "aria-rowindex": "1" });
    this.place = h("span", { class: "number" });
    const head = h("div", { role: "rowgroup", class: "grid-head-group" }, this.head);
    const options = { class: "grid", role: "grid", tabindex: "0", "aria-label": label };
    this.grid = h("div", options, head, this.layer, this.spacer);
    const foot = h("div", { class: "grid-foot" }, this.place, h("span", {}, "↑ ↓ move, Enter opens"));
    this.node = h("div", { class: "grid-frame" }, this.grid, foot);
    this.grid.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.grid.addEventListener("keydown", (event) => this.pressed(event));
    const size = new ResizeObserver(() => this.ask());
    size.observe(this.grid);
    this.signal.addEventListener("abort", () => size.disconnect());
  }

  get height() {
    return this.count * ROW;
  }
  // Pixels for rows, below the head.
  get room() {
    return Math.max(ROW, this.grid.clientHeight - ROW);
  }
  get shownHeight() {
    return Math.min(this.height, TALLEST);
  }
  get limit() {
    return Math.max(0, this.height - this.room);
  }
  get scrollLimit() {
    return Math.max(1, this.shownHeight - this.room);
  }
  get isScaled() {
    return this.height > TALLEST;
  }

  scrolled() {
    const at = this.grid.scrollTop;
    const step = at - this.last;
    this.last = at;
    if (!this.isScaled || Math.abs(step) > JUMP * this.room) this.top = (at / this.scrollLimit) * this.limit;
    else if (at <= 0) this.top = 0;
    else if (at >= this.scrollLimit - 1) this.top = this.limit;
    else this.top = Math.min(this.limit, Math.max(0, this.top + step));
    if (this.isScaled) {
      clearTimeout(this.settling);
      this.settling = setTimeout(() => this.settle(), SETTLE_MS);
    }
    this.ask();
  }

  // Puts the scroll bar where the rows are.
  settle() {
    this.grid.scrollTop = this.isScaled ? (this.top / this.limit) * this.scrollLimit : this.top;
    this.last = this.grid.scrollTop;
  }

  // Draws in the next frame.
  ask() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.draw();
    });
  }

  value(index) {
    return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  }

  draw() {
    const begin = Math.max(0, Math.floor(this.top / ROW) - 2);
    const end = Math.min(this.count, Math.ceil((this.top + this.room) / ROW) + 2);
    for (const [index, row] of this.rows) {
      if (index < begin || index >= end) {
        row.remove();
        this.rows.delete(index);
      }
    }
    for (let index = begin; index < end; index += 1) this.drawRow(index);
    this.load(Math.floor(begin / PAGE), Math.floor(Math.max(begin, end - 1) / PAGE));
    const [from, to] = [Math.floor(this.top / ROW) + 1, Math.floor((this.top + this.room) / ROW)];
    const text = (n) => n.toLocaleString("en");
    const range = `${text(from)} – ${text(Math.min(this.count, to))} of ${text(this.count)}`;
    put(this.place, this.count === 0 ? "no rows" : range);
  }

  drawRow(index) {
    let row = this.rows.get(index);
    const value = this.value(index);
    if (!row || (value && row.classList.contains("waiting"))) {
      row?.remove();
      row = this.made(index, value);
      this.rows.set(index, row);
      this.layer.append(row);
    }
    row.style.transform = `translateY(${Math.round(index * ROW - this.top)}px)`;
    row.setAttribute("aria-selected", String(index === this.active));
  }

  made(index, value) {
    const click = () => {
      this.active = index;
      this.draw();
      if (value) this.open(value);
    };
    const cells = this.columns.map(({ kind = "", width, text }) => {
      const shown = value ? text(value) : "";
      const title = shown.length > 30 ? shown.slice(0, 500) : undefined;
      return h("div", { class: `grid-cell ${kind}`, role: "gridcell", vars: { "--w": `${width}px` }, title }, shown);
    });
    const state = value ? "" : "waiting";
    const options = { class: `grid-row ${state}`, role: "row", id: `row-${index}`, "aria-rowindex": index + 2 };
    return h("div", { ...options, on: { click } }, cells);
  }

  // Fetches the pages from `first` to `end` that are not there, and gives up those that have left sight.
  load(first, end) {
    for (const [page, stop] of this.pending) {
      if (page < first || page > end) {
        stop.abort();
        this.pending.delete(page);
      }
    }
    for (let page = first; page <= end; page += 1) {
      if (this.pages.has(page) || this.pending.has(page) || page * PAGE >= this.count) continue;
      const stop = new AbortController();
      this.pending.set(page, stop);
      setTimeout(() => this.fetch(page, stop), ASK_MS);
    }
  }

  async fetch(page, stop) {
    if (stop.signal.aborted || this.signal.aborted) return;
    try {
      const signal = AbortSignal.any([stop.signal, this.signal]);
      this.pages.set(page, await this.fetchPage(page * PAGE, PAGE, signal));
      if (this.pages.size > PAGES_KEPT) this.pages.delete(this.pages.keys().next().value);
      this.ask();
    } catch (error) {
      if (error.name !== "AbortError") this.failed(error);
    } finally {
      if (this.pending.get(page) === stop) this.pending.delete(page);
    }
  }

  pressed(event) {
    const jump = Math.floor(this.room / ROW) - 1;
    const { active } = this;
    const targets = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + jump, PageUp: active - jump };
    const to = { ...targets, Home: 0, End: this.count - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      this.go(to);
    }
    const value = this.value(active);
    if (event.key === "Enter" && value) {
      event.preventDefault();
      this.open(value);
    }
  }

  // Makes a row the active one and brings it into sight.
  go(index) {
    if (this.count === 0) return;
    this.active = Math.min(this.count - 1, Math.max(0, index));
    const above = this.active * ROW;
    if (above < this.top) this.top = above;
    else if (above + ROW > this.top + this.room) this.top = above + ROW - this.room;
    this.settle();
    this.draw();
    this.grid.setAttribute("aria-activedescendant", `row-${this.active}`);
  }

  // Shows other columns.
  change(columns) {
    this.columns = columns;
    this.reset();
  }

  reset() {
    const heads = this.columns.map(({ name, width, kind = "" }) => {
      const side = kind === "id" ? "" : kind;
      const vars = { "--w": `${width}px` };
      return h("div", { class: `grid-cell ${side}`, role: "columnheader", vars, title: name }, name);
    });
    put(this.head, heads);
    this.grid.setAttribute("aria-rowcount", String(this.count + 1));
    this.grid.setAttribute("aria-colcount", String(this.columns.length));
    this.spacer.style.height = `${this.shownHeight}px`;
    this.spacer.style.width = `${this.columns.reduce((sum, { width }) => sum + width, 0)}px`;
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.top = Math.min(this.top, this.limit);
    this.ask();
  }

  focus() {
    this.grid.focus();
  }
}
