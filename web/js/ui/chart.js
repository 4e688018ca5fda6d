// A line chart over time that is redrawn with each reading: lines, an optional limit, a legend with the latest values,
// and the values under the pointer or, with the arrow keys, under a cursor.

import { h, put, svg } from "./dom.js";

const WIDTH = 600,
  HEIGHT = 144,
  TOP = 10,
  BOTTOM = 20,
  LEFT = 4,
  RIGHT = 4;

// series: [{ name, colour: 1…6, area? }]; `text` formats a value. `update(times, values)` has a list per series;
// null in it is a gap.
export function lineChart({ title, series, text, note, limitName }) {
  const plot = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    role: "img",
    tabindex: "0",
    "aria-label": title,
  });
  const legend = h("div", { class: "legend-row" });
  const latest = series.map(() => h("b", {}, "–"));
  put(
    legend,
    series.map(({ name, colour }, i) =>
      h("span", {}, h("i", { class: "swatch", vars: { "--swatch": `var(--s${colour})` } }), name, latest[i]),
    ),
  );
  const when = h("span", { class: "quiet small" });
  const top = h("span", { class: "quiet small number" });
  const card = h(
    "section",
    { class: "card chart" },
    h("div", { class: "chart-head" }, h("h3", {}, title), when),
    legend,
    plot,
    h("div", { class: "spread" }, top, note && h("span", { class: "quiet small" }, note)),
  );
  let times = [],
    values = [],
    limit = null,
    cursor = null;

  const x = (i) => LEFT + ((WIDTH - LEFT - RIGHT) * (times[i] - times[0])) / Math.max(1, times.at(-1) - times[0]);
  const draw = () => {
    const highest = Math.max(limit ?? 0, ...values.flat().filter(Number.isFinite));
    const most = highest || 1;
    const y = (value) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * value) / most;
    const lines = series.flatMap(({ colour, area }, s) => {
      const d = path(values[s] ?? [], x, y);
      const stroke = `var(--s${colour})`;
      return [
        area &&
          d &&
          svg("path", { class: "area", d: `${d}L${x(times.length - 1)} ${y(0)}L${x(0)} ${y(0)}Z`, fill: stroke }),
        svg("path", { class: "line", d, stroke }),
      ];
    });
    put(
      plot,
      [0, 0.5, 1].map((part) =>
        svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: y(most * part), y2: y(most * part) }),
      ),
      lines,
      limit !== null && svg("line", { class: "limit", x1: 0, x2: WIDTH, y1: y(limit), y2: y(limit) }),
      cursor !== null && svg("line", { class: "cursor", x1: x(cursor), x2: x(cursor), y1: TOP, y2: HEIGHT - BOTTOM }),
    );
    const shown = cursor ?? times.length - 1;
    latest.forEach((node, s) => put(node, format(values[s]?.[shown])));
    put(when, cursor === null ? "now" : new Date(times[shown]).toLocaleTimeString("en-GB"));
    put(top, limit !== null ? `${limitName} ${text(limit)}` : highest > 0 ? `top ${text(highest)}` : "nothing yet");
    plot.setAttribute(
      "aria-label",
      `${title}: ${series.map(({ name }, s) => `${name} ${format(values[s]?.[shown])}`).join(", ")}`,
    );
  };
  const format = (value) => (Number.isFinite(value) ? text(value) : "–");
  const point = (i) => {
    cursor = i;
    if (times.length > 0) draw();
  };
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const at = times[0] + ((times.at(-1) - times[0]) * (event.clientX - box.left)) / box.width;
    point(times.reduce((best, time, i) => (Math.abs(time - at) < Math.abs(times[best] - at) ? i : best), 0));
  });
  plot.addEventListener("pointerleave", () => point(null));
  plot.addEventListener("blur", () => point(null));
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || times.length === 0) return;
    event.preventDefault();
    point(Math.min(times.length - 1, Math.max(0, (cursor ?? times.length - 1) + step)));
  });
  return {
    node: card,
    update(newTimes, newValues, newLimit = null) {
      [times, values, limit] = [newTimes, newValues, newLimit];
      if (cursor !== null && cursor >= times.length) cursor = null;
      if (times.length > 0) draw();
    },
  };
}

function path(list, x, y) {
  let d = "",
    open = false;
  list.forEach((value, i) => {
    if (!Number.isFinite(value)) {
      open = false;
      return;
    }
    d += `${open ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    open = true;
  });
  return d;
}

// Named parts of a whole, the largest first.
export function bars(items, text) {
  const most = Math.max(...items.map(({ value }) => value), 0) || 1;
  return h(
    "div",
    { class: "bars" },
    items.map(({ name, value, more }) =>
      h(
        "div",
        { class: "bar" },
        h("span", {}, name),
        h("span", { class: "track", "aria-hidden": "true" }, h("i", { vars: { "--part": value / most } })),
        h("span", { class: "number" }, text(value), more && h("span", { class: "quiet" }, ` ${more}`)),
      ),
    ),
  );
}

// A vector as a small line.
export function spark(values) {
  const least = Math.min(...values),
    most = Math.max(...values),
    span = most - least || 1;
  const d = values
    .map(
      (value, i) =>
        `${i === 0 ? "M" : "L"}${((600 * i) / Math.max(1, values.length - 1)).toFixed(1)} ${(54 - (52 * (value - least)) / span).toFixed(1)}`,
    )
    .join("");
  return svg(
    "svg",
    {
      class: "spark",
      viewBox: "0 0 600 56",
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `${values.length} numbers from ${least.toPrecision(3)} to ${most.toPrecision(3)}`,
    },
    svg("path", {
      d,
      fill: "none",
      stroke: "currentColor",
      "stroke-width": "1.2",
      "vector-effect": "non-scaling-stroke",
    }),
  );
}
