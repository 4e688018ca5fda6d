// The icons, each a few strokes on a grid of 24.

import { svg } from "./dom.js";

const PATHS = {
  collections: [
    "M4 7c0-1.700 3.600-3 8-3s8 1.300 8 3-3.600 3-8 3-8-1.300-8-3z",
    "M4 7v10c0 1.700 3.600 3 8 3s8-1.300 8-3V7",
    "M4 12c0 1.700 3.600 3 8 3s8-1.300 8-3",
  ],
  files: ["M6 3h8l5 5v13H6z", "M14 3v5h5"],
  bucket: ["M4 6h16l-2 14H6z", "M4 6c0-1 3.600-2 8-2s8 1 8 2"],
  health: ["M3 12h4l3-7 4 14 3-7h4"],
  console: ["M5 7l5 5-5 5", "M12 18h8"],
  search: ["M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14z", "M16 16l5 5"],
  plus: ["M12 5v14", "M5 12h14"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  download: ["M12 4v11", "M7 11l5 5 5-5", "M5 20h14"],
  upload: ["M12 16V5", "M7 9l5-5 5 5", "M5 20h14"],
  filter: ["M4 5h16l-6 8v6l-4-2v-4z"],
  columns: ["M4 5h16v14H4z", "M10 5v14", "M15 5v14"],
  key: ["M8 11a4 4 0 1 0 0 8 4 4 0 0 0 0-8z", "M11 12l9-9", "M16 7l3 3"],
  theme: ["M12 4a8 8 0 1 0 8 8 6 6 0 0 1-8-8z"],
  warn: ["M12 4l9 16H3z", "M12 10v4", "M12 17v.01"],
  good: ["M5 12l5 5L20 7"],
  edit: ["M4 20l1-4L16 5l3 3L8 19z"],
  trash: ["M5 7h14", "M9 7V4h6v3", "M7 7l1 13h8l1-13"],
  like: ["M12 5v14", "M5 12h14"],
  copy: ["M9 9h11v11H9z", "M5 15H4V4h11v1"],
  map: [
    "M12 12m-1.500 0a1.500 1.500 0 1 0 3 0 1.500 1.500 0 1 0-3 0",
    "M6 7v.01",
    "M9 4v.01",
    "M18 6v.01",
    "M19 15v.01",
    "M5 16v.01",
    "M14 19v.01",
  ],
  history: ["M4 12a8 8 0 1 0 3-6.200", "M4 4v4h4", "M12 8v5l3 2"],
  lasso: ["M12 5c5 0 9 2 9 5s-4 5-9 5-9-2-9-5 4-5 9-5z", "M7 15c-2 1-2 5 1 5"],
  move: ["M12 3v18", "M3 12h18", "M9 6l3-3 3 3", "M9 18l3 3 3-3", "M6 9l-3 3 3 3", "M18 9l3 3-3 3"],
  fork: ["M7 4v16", "M7 14c6 0 10-2 10-9", "M14 7l3-3 3 3"],
  empty: ["M3 19c3-9 7-12 11-12 4 0 5 5 7 12z", "M3 19h18"],
};

export function icon(name) {
  const paths = PATHS[name].map((d) => svg("path", { d }));
  return svg(
    "svg",
    {
      viewBox: "0 0 24 24",
      fill: "none",
      stroke: "currentColor",
      "stroke-width": "1.8",
      "stroke-linecap": "round",
      "stroke-linejoin": "round",
      "aria-hidden": "true",
    },
    paths,
  );
}

// The hill of the product.
export function logo() {
  return svg(
    "svg",
    { viewBox: "0 0 32 32", "aria-hidden": "true" },
    svg("rect", { width: 32, height: 32, rx: 7, fill: "#17694d" }),
    svg("path", { d: "M3 24C7 13 12 9 18 9c5 0 8 7 11 15z", fill: "#dff2e8" }),
    svg("path", { d: "M3 24c5-5 10-6 16-5 4 .7 7 2.600 10 5z", fill: "#7cc7a4" }),
  );
}
