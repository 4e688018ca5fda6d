// Which colour each point has: by the commonest values of a metadata key, or by ranges of its numbers.

import { api } from "../core/api.js";
import { figure, short } from "../core/format.js";
import { valueOf } from "../data/metadata.js";
import { rowsMatching } from "./selection.js";

export const MOST = 20,
  OTHERS = 20,
  DIMMED = 21;
const RANGES = 7;

// { of: Uint8Array, names: [{ name, count }], isRange }; points without a value are OTHERS.
export async function groupBy(name, key, layout, signal) {
  const of = new Uint8Array(layout.count).fill(OTHERS);
  const conditions = key ? await conditionsFor(name, key, signal) : { list: [], isRange: false };
  const all = await Promise.all(conditions.list.map(({ where }) => rowsMatching(name, where, layout, signal)));
  all.forEach((rows, group) => {
    for (const row of rows) of[row] = group;
  });
  const names = conditions.list.map(({ text }, group) => ({ name: text, count: all[group].length }));
  return { of, names, isRange: conditions.isRange };
}

async function conditionsFor(name, key, signal) {
  const ask = async (facet) => {
    const { facets } = await api.on(name, "facets", { facets: { [key]: facet } }, { signal });
    return valueOf(facets, key);
  };
  const numbers = await ask({ range: true });
  if (!numbers) return { list: [], isRange: false };
  const values = await ask({ values: MOST }).catch(() => null);
  if (!values || (values.distinct > MOST && numbers.numbers > 0)) return { list: ranges(key, numbers), isRange: true };
  return {
    list: values.values.map(({ value }) => ({ text: short(value), where: { [key]: { $eq: value } } })),
    isRange: false,
  };
}

// Equal parts of what the numbers span.
function ranges(key, { min, max }) {
  const step = (max - min) / RANGES || 1;
  return Array.from({ length: RANGES }, (_, i) => {
    const from = min + i * step,
      to = min + (i + 1) * step;
    const upper = i === RANGES - 1 ? [] : [{ [key]: { $lt: to } }];
    return {
      text: `${figure(from)} – ${figure(to)}`,
      where: upper.length ? { $and: [{ [key]: { $gte: from } }, ...upper] } : { [key]: { $gte: from } },
    };
  });
}
