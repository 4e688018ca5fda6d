// The drawing surface: what part of the map is in sight, moving and zooming it, the lasso, and what is drawn over the
// points (marks, lines to neighbours).

import { h } from "../ui/dom.js";
import { Bins } from "./bins.js";
import { DIMMED } from "./groups.js";
import { canvas2d } from "./canvas.js";
import { palette } from "./colours.js";
import { webgl } from "./webgl.js";

const HOVER_PX = 10,
  LASSO_STEP_PX = 4,
  PAN_PX = 60,
  // What the tools take of the height.
  TOOLS_PX = 52;

export class Stage {
  // on: { hover(row, px, py), pick(row), lasso(polygon), moved(view) }
  constructor(layout, on, signal, { box, plain = false } = {}) {
    Object.assign(this, {
      layout,
      on,
      tool: "pan",
      marks: [],
      lines: [],
      polygon: null,
      pointers: new Map(),
      isRange: false,
    });
    this.points = h("canvas", { "aria-hidden": "true" });
    this.over = h("canvas", {
      class: "over pan",
      tabindex: "0",
      role: "application",
      "aria-label": `Map of ${layout.count} records. Arrow keys move, plus and minus zoom, 0 shows all, Enter opens the record nearest to the middle.`,
    });
    this.node = h("div", { class: "map-stage" }, this.points, this.over);
    this.renderer = (plain ? null : webgl(this.points, layout)) ?? canvas2d(this.points, layout);
    this.bins = new Bins(layout);
    this.groups = new Uint8Array(layout.count).fill(DIMMED - 1);
    this.view = null;
    this.wanted = box;
    this.listen(signal);
  }

  listen(signal) {
    const add = (event, run, target = this.over) => target.addEventListener(event, run, { signal, passive: false });
    add("pointerdown", (e) => this.down(e));
    add("pointermove", (e) => this.move(e));
    add("pointerup", (e) => this.up(e));
    add("pointercancel", (e) => this.up(e));
    add("pointerleave", () => this.on.hover(-1));
    add("wheel", (e) => {
      e.preventDefault();
      this.zoom(Math.exp(-e.deltaY * (e.ctrlKey ? 0.01 : 0.0015)), ...this.place(e));
    });
    add("dblclick", (e) => this.zoom(2, ...this.place(e)));
    add("keydown", (e) => this.key(e));
    add("themechange", () => this.recolour(), window);
    const size = new ResizeObserver(() => this.resize());
    size.observe(this.node);
    signal.addEventListener("abort", () => {
      size.disconnect();
      this.renderer.end();
    });
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.node;
    if (width === 0 || height === 0) return;
    const ratio = Math.min(2, devicePixelRatio || 1);
    for (const canvas of [this.points, this.over]) {
      canvas.width = width * ratio;
      canvas.height = height * ratio;
    }
    const before = this.view;
    this.view = {
      width,
      height,
      ratio,
      ...(before ? { centre: before.centre, zoom: before.zoom } : (this.wanted ?? this.whole(width, height))),
    };
    if (!before) this.recolour();
    this.ask();
  }

  whole(width, height) {
    const { left, right, bottom, top } = this.layout.bounds;
    const zoom = 0.94 * Math.min(width / (right - left || 1), (height - TOOLS_PX) / (top - bottom || 1));
    return { centre: [(left + right) / 2, (bottom + top) / 2 + TOOLS_PX / 2 / zoom], zoom };
  }

  recolour() {
    this.renderer.colours(palette(this.isRange));
    this.ask();
  }

  show(groups, isRange) {
    Object.assign(this, { groups, isRange });
    this.renderer.groups(groups);
    this.recolour();
  }

  ask() {
    if (this.asked || !this.view) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.draw();
    });
  }

  draw() {
    const { count } = this.layout;
    const grown = Math.min(
      3,
      Math.max(1, Math.sqrt(this.view.zoom / this.whole(this.view.width, this.view.height).zoom)),
    );
    const size = (count > 300000 ? 1.6 : count > 30000 ? 2.4 : count > 3000 ? 4 : 7) * grown;
    this.renderer.draw({ ...this.view, size, opacity: count > 30000 ? 0.7 : 0.85 });
    this.drawOver(size);
  }

  drawOver(size) {
    const context = this.over.getContext("2d"),
      style = getComputedStyle(this.node);
    const colour = (name) => style.getPropertyValue(name).trim();
    context.setTransform(this.view.ratio, 0, 0, this.view.ratio, 0, 0);
    context.clearRect(0, 0, this.view.width, this.view.height);
    context.strokeStyle = colour("--ink-2");
    context.lineWidth = 1;
    context.beginPath();
    for (const [a, b] of this.lines) {
      context.moveTo(...this.onScreen(a));
      context.lineTo(...this.onScreen(b));
    }
    context.stroke();
    context.strokeStyle = colour("--ink");
    context.lineWidth = 2;
    for (const row of this.marks) {
      context.beginPath();
      context.arc(...this.onScreen(row), size / 2 + 4, 0, 7);
      context.stroke();
    }
    if (this.polygon?.length > 1) {
      context.beginPath();
      this.polygon.forEach(([x, y], i) => context[i === 0 ? "moveTo" : "lineTo"](...this.pixel(x, y)));
      context.closePath();
      context.fillStyle = colour("--accent");
      context.globalAlpha = 0.1;
      context.fill();
      context.globalAlpha = 1;
      context.strokeStyle = colour("--accent");
      context.lineWidth = 1.5;
      context.stroke();
    }
  }

  pixel(x, y) {
    const { centre, zoom, width, height } = this.view;
    return [(x - centre[0]) * zoom + width / 2, height / 2 - (y - centre[1]) * zoom];
  }
  onScreen(row) {
    return this.pixel(this.layout.x[row], this.layout.y[row]);
  }
  place(event) {
    const box = this.over.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }
  onMap(px, py) {
    const { centre, zoom, width, height } = this.view;
    return [centre[0] + (px - width / 2) / zoom, centre[1] - (py - height / 2) / zoom];
  }
  at(px, py, reach = HOVER_PX) {
    return this.bins.nearest(...this.onMap(px, py), reach / this.view.zoom);
  }

  zoom(factor, px = this.view.width / 2, py = this.view.height / 2) {
    const fixed = this.onMap(px, py),
      least = 0.2 * this.whole(this.view.width, this.view.height).zoom;
    this.view.zoom = Math.min(least * 5e5, Math.max(least, this.view.zoom * factor));
    const now = this.onMap(px, py);
    this.pan((fixed[0] - now[0]) * this.view.zoom, -(fixed[1] - now[1]) * this.view.zoom);
  }

  pan(dx, dy) {
    const { centre, zoom } = this.view;
    this.view.centre = [centre[0] + dx / zoom, centre[1] - dy / zoom];
    this.on.moved(this.view);
    this.ask();
  }

  reset() {
    Object.assign(this.view, this.whole(this.view.width, this.view.height));
    this.on.moved(null);
    this.ask();
  }

  down(event) {
    this.over.setPointerCapture(event.pointerId);
    const [px, py] = this.place(event);
    this.pointers.set(event.pointerId, { px, py, from: [px, py] });
    if (this.tool === "lasso" && this.pointers.size === 1) this.polygon = [this.onMap(px, py)];
  }

  move(event) {
    const [px, py] = this.place(event),
      held = this.pointers.get(event.pointerId);
    if (!held) {
      this.on.hover(this.view ? this.at(px, py) : -1, px, py);
      return;
    }
    if (this.pointers.size === 2) this.pinch(held, px, py);
    else if (this.tool === "pan") this.pan(held.px - px, held.py - py);
    else if (Math.hypot(px - held.px, py - held.py) < LASSO_STEP_PX) return;
    else {
      this.polygon?.push(this.onMap(px, py));
      this.ask();
    }
    Object.assign(held, { px, py });
  }

  pinch(held, px, py) {
    const other = [...this.pointers.values()].find((each) => each !== held);
    const before = Math.hypot(held.px - other.px, held.py - other.py),
      now = Math.hypot(px - other.px, py - other.py);
    this.polygon = null;
    this.zoom(now / (before || 1), (px + other.px) / 2, (py + other.py) / 2);
  }

  up(event) {
    const held = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (!held) return;
    const [px, py] = this.place(event);
    if (Math.hypot(px - held.from[0], py - held.from[1]) < LASSO_STEP_PX) {
      this.polygon = null;
      this.ask();
      this.on.pick(this.at(px, py));
    } else if (this.tool === "lasso" && this.polygon?.length > 2) this.on.lasso(this.polygon);
  }

  key(event) {
    const { width, height } = this.view;
    const run = {
      ArrowLeft: () => this.pan(-PAN_PX, 0),
      ArrowRight: () => this.pan(PAN_PX, 0),
      ArrowUp: () => this.pan(0, -PAN_PX),
      ArrowDown: () => this.pan(0, PAN_PX),
      "+": () => this.zoom(1.4),
      "=": () => this.zoom(1.4),
      "-": () => this.zoom(1 / 1.4),
      0: () => this.reset(),
      Enter: () => this.on.pick(this.at(width / 2, height / 2, Math.max(width, height))),
    }[event.key];
    if (run) {
      event.preventDefault();
      run();
    }
  }
}
