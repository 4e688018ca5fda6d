// A table of any length that holds only the rows in sight. Rows are fetched by pages while they come into sight.
// A browser's elements end at some 16 million pixels, so a longer table scrolls by exact pixels for small steps, and in
// proportion for jumps of the scroll bar.

import { h, put } from "./dom.js";

const ROW = 36, PAGE = 200, PAGES_KEPT = 60, TALLEST = 8_000_000;

// columns: [{ name, width, kind?, text(row) }]. fetchPage(offset, limit, signal) → rows. `open(row)` at Enter or click.
export function virtualTable({ label, columns, count, fetchPage, open, signal, failed }) {
  const pages = new Map(), pending = new Map();
  const spacer = h("div", { role: "presentation" });
  const layer = h("div", { class: "grid-layer", role: "rowgroup" });
  const head = h("div", { class: "grid-head", role: "row", "aria-rowindex": "1" });
  const grid = h("div", { class: "grid", role: "grid", tabindex: "0", "aria-label": label }, h("div", { role: "rowgroup", class: "grid-head-group" }, head), layer, spacer);
  const where = h("span", { class: "number" });
  const frame = h("div", { class: "grid-frame" }, grid, h("div", { class: "grid-foot" }, where, h("span", {}, "↑ ↓ move, Enter opens")));
  const rows = new Map();
  let top = 0, last = 0, active = -1, settle = null, frameAsked = false;

  const height = () => count * ROW;
  const room = () => Math.max(ROW, grid.clientHeight - ROW);
  const shown = () => Math.min(height(), TALLEST);
  const limit = () => Math.max(0, height() - room());
  const scrollLimit = () => Math.max(1, shown() - room());
  const scaled = () => height() > TALLEST;

  function moved() {
    const at = grid.scrollTop, step = at - last;
    last = at;
    if (!scaled() || Math.abs(step) > 4 * room()) top = (at / scrollLimit()) * limit();
    else if (at <= 0) top = 0;
    else if (at >= scrollLimit() - 1) top = limit();
    else top = Math.min(limit(), Math.max(0, top + step));
    if (scaled()) {
      clearTimeout(settle);
      // The bar follows, once the hand rests.
      settle = setTimeout(() => { last = (top / limit()) * scrollLimit(); grid.scrollTop = last; last = grid.scrollTop; }, 200);
    }
    ask();
  }

  function ask() {
    if (frameAsked) return;
    frameAsked = true;
    requestAnimationFrame(() => { frameAsked = false; draw(); });
  }

  function draw() {
    const first = Math.max(0, Math.floor(top / ROW) - 2), end = Math.min(count, Math.ceil((top + room()) / ROW) + 2);
    for (const [index, row] of rows) if (index < first || index >= end) { row.remove(); rows.delete(index); }
    for (let index = first; index < end; index += 1) {
      let row = rows.get(index);
      const value = pages.get(Math.floor(index / PAGE))?.[index % PAGE];
      if (!row || (value && row.classList.contains("waiting"))) {
        row?.remove();
        row = made(index, value);
        rows.set(index, row);
        layer.append(row);
      }
      row.style.transform = `translateY(${Math.round(index * ROW - top)}px)`;
      row.setAttribute("aria-selected", String(index === active));
    }
    load(Math.floor(first / PAGE), Math.floor(Math.max(first, end - 1) / PAGE));
    const from = Math.floor(top / ROW) + 1;
    put(where, count === 0 ? "no rows" : `${from.toLocaleString("en")} – ${Math.min(count, Math.floor((top + room()) / ROW)).toLocaleString("en")} of ${count.toLocaleString("en")}`);
  }

  function made(index, value) {
    const row = h("div", { class: `grid-row ${value ? "" : "waiting"}`, role: "row", id: `row-${index}`, "aria-rowindex": index + 2,
      on: { click: () => { active = index; draw(); if (value) open(value, index); } } });
    row.append(...columns.map((column) => {
      const text = value ? column.text(value) : "";
      return h("div", { class: `grid-cell ${column.kind ?? ""}`, role: "gridcell", vars: { "--w": `${column.width}px` }, title: text.length > 30 ? text.slice(0, 500) : undefined }, text);
    }));
    return row;
  }

  function load(first, end) {
    for (const [page, stop] of pending) if (page < first || page > end) { stop.abort(); pending.delete(page); }
    for (let page = first; page <= end; page += 1) {
      if (pages.has(page) || pending.has(page) || page * PAGE >= count) continue;
      const stop = new AbortController();
      pending.set(page, stop);
      // A pause, so that a fling over thousands of pages asks for few of them.
      setTimeout(() => fetched(page, stop), 40);
    }
  }

  async function fetched(page, stop) {
    if (stop.signal.aborted || signal.aborted) return;
    try {
      pages.set(page, await fetchPage(page * PAGE, PAGE, AbortSignal.any([stop.signal, signal])));
      if (pages.size > PAGES_KEPT) pages.delete(pages.keys().next().value);
      ask();
    } catch (error) {
      if (error.name !== "AbortError") failed(error);
    } finally {
      if (pending.get(page) === stop) pending.delete(page);
    }
  }

  function go(index) {
    if (count === 0) return;
    active = Math.min(count - 1, Math.max(0, index));
    if (active * ROW < top) top = active * ROW;
    else if ((active + 1) * ROW > top + room()) top = (active + 1) * ROW - room();
    last = scaled() ? (top / limit()) * scrollLimit() : top;
    grid.scrollTop = last;
    last = grid.scrollTop;
    draw();
    grid.setAttribute("aria-activedescendant", `row-${active}`);
  }

  function pressed(event) {
    const jump = Math.floor(room() / ROW) - 1;
    const to = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + jump, PageUp: active - jump, Home: 0, End: count - 1 }[event.key];
    if (to !== undefined) { event.preventDefault(); go(to); }
    const value = pages.get(Math.floor(active / PAGE))?.[active % PAGE];
    if (event.key === "Enter" && value) { event.preventDefault(); open(value, active); }
  }

  function reset() {
    put(head, columns.map(({ name, width, kind }) => h("div", { class: `grid-cell ${kind === "number" ? "number" : ""}`, role: "columnheader", vars: { "--w": `${width}px` }, title: name }, name)));
    grid.setAttribute("aria-rowcount", String(count + 1));
    grid.setAttribute("aria-colcount", String(columns.length));
    spacer.style.height = `${shown()}px`;
    spacer.style.width = `${columns.reduce((sum, { width }) => sum + width, 0)}px`;
    for (const row of rows.values()) row.remove();
    rows.clear();
    top = Math.min(top, limit());
    ask();
  }

  grid.addEventListener("scroll", moved, { passive: true });
  grid.addEventListener("keydown", pressed);
  const size = new ResizeObserver(() => ask());
  size.observe(grid);
  signal.addEventListener("abort", () => size.disconnect());
  reset();
  return {
    node: frame,
    // Other columns, or another length.
    change(next) {
      if (next.columns) columns = next.columns;
      if (next.count !== undefined) { count = next.count; pages.clear(); }
      reset();
    },
    loaded: () => [...pages.values()].flat(),
    focus: () => grid.focus(),
  };
}
