// Which points lie within the outline of a lasso.

import { api } from "../core/api.js";
import { readStream } from "../data/arrow.js";

// The rows whose points lie within a polygon [[x, y], …]: even-odd rule, bounding box first.
export function rowsWithin({ x, y, count }, polygon) {
  const xs = polygon.map(([px]) => px),
    ys = polygon.map(([, py]) => py);
  const [left, right, bottom, top] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const rows = [];
  for (let i = 0; i < count; i += 1) {
    if (x[i] < left || x[i] > right || y[i] < bottom || y[i] > top) continue;
    let inside = false;
    for (let a = 0, b = xs.length - 1; a < xs.length; b = a, a += 1) {
      if (ys[a] > y[i] !== ys[b] > y[i] && x[i] < ((xs[b] - xs[a]) * (y[i] - ys[a])) / (ys[b] - ys[a]) + xs[a])
        inside = !inside;
    }
    if (inside) rows.push(i);
  }
  return rows;
}

// The ids of the records within a polygon.
export const idsWithin = (layout, polygon) => rowsWithin(layout, polygon).map((row) => layout.ids.text(row));

// The rows of the records that match a filter.
export async function rowsMatching(name, where, layout, signal) {
  const answer = await api.table(name, "arrow", { where, include: [] }, { signal });
  const rows = [];
  for (const { rows: n, columns } of readStream(new Uint8Array(await answer.arrayBuffer())).batches) {
    const { offsets, bytes } = columns.id;
    for (let i = 0; i < n; i += 1) {
      const row = layout.ids.rowOfBytes(bytes, offsets[i], offsets[i + 1]);
      if (row >= 0) rows.push(row);
    }
  }
  return rows;
}
