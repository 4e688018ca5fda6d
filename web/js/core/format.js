// Figures and times as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const integer = (n) => (Number.isFinite(n) ? whole.format(n) : "–");

export function figure(n) {
  if (!Number.isFinite(n)) return "–";
  const size = Math.abs(n);
  if (size >= 10000) return new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(n);
  return new Intl.NumberFormat("en", {
    maximumFractionDigits: size >= 100 || Number.isInteger(n) ? 0 : size >= 1 ? 1 : 3,
  }).format(n);
}

export function bytes(n) {
  if (!Number.isFinite(n)) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return `${n >= 100 || unit === 0 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}

export function seconds(s) {
  if (!Number.isFinite(s)) return "–";
  if (s < 0.001) return `${Math.round(s * 1e6)} µs`;
  if (s < 1) return `${s < 0.1 ? (s * 1000).toFixed(1) : Math.round(s * 1000)} ms`;
  if (s < 120) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} days`;
}

export function time(rfc3339) {
  const at = new Date(rfc3339);
  return Number.isNaN(at.getTime())
    ? String(rfc3339)
    : at.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

// "1 record", "2 records".
export const count = (n, one, many = `${one}s`) => `${integer(n)} ${n === 1 ? one : many}`;

// A value of metadata in one line.
export const short = (value) => (typeof value === "string" ? value : JSON.stringify(value));

export const distance = (n) => (Number.isFinite(n) ? Number(n.toPrecision(4)).toString() : "–");
