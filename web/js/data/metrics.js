// Reads the text of /metrics, and makes rates and quantiles of two readings.

// A Map from a metric's name to its samples [{ labels, value }].
export function parse(text) {
  const metrics = new Map();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const space = line.lastIndexOf(" ");
    const value = Number(line.slice(space + 1));
    const head = line.slice(0, space);
    const brace = head.indexOf("{");
    const name = brace < 0 ? head : head.slice(0, brace);
    const labels = {};
    if (brace >= 0)
      for (const [, key, inner] of head.slice(brace).matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g))
        labels[key] = inner;
    if (!metrics.has(name)) metrics.set(name, []);
    metrics.get(name).push({ labels, value });
  }
  return metrics;
}

// The sum of a metric's samples whose labels pass.
export function sum(metrics, name, passes = () => true) {
  let total = 0;
  for (const { labels, value } of metrics.get(name) ?? []) if (passes(labels)) total += value;
  return total;
}

// What a counter grew by in a second between two readings { at, metrics }. A restart begins at 0 again.
export function rate(before, after, name, passes) {
  const grown = sum(after.metrics, name, passes) - sum(before.metrics, name, passes);
  const elapsed = (after.at - before.at) / 1000;
  return elapsed > 0 ? Math.max(0, grown) / elapsed : 0;
}

// A quantile of a histogram's growth between two readings, in its unit; null where nothing was counted.
export function quantile(before, after, name, part, passes = () => true) {
  const grown = new Map();
  for (const [reading, sign] of [
    [after, 1],
    [before, -1],
  ]) {
    for (const { labels, value } of reading.metrics.get(`${name}_bucket`) ?? []) {
      if (passes(labels)) grown.set(labels.le, (grown.get(labels.le) ?? 0) + sign * value);
    }
  }
  const bounds = [...grown].map(([le, n]) => [le === "+Inf" ? Infinity : Number(le), n]).sort((a, b) => a[0] - b[0]);
  const total = bounds.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  const wanted = part * total;
  let lower = 0,
    below = 0;
  for (const [upper, n] of bounds) {
    if (n >= wanted) {
      if (upper === Infinity) return lower;
      return n === below ? upper : lower + ((wanted - below) / (n - below)) * (upper - lower);
    }
    lower = upper;
    below = n;
  }
  return lower;
}
