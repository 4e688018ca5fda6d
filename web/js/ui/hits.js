// The answer of a search: hits, what it took, facets.

import { amend, link, parse } from "../core/address.js";
import { count, distance, integer, seconds, short } from "../core/format.js";
import { MARK } from "../data/query.js";
import { chips } from "./chips.js";
import { button } from "./controls.js";
import { h, put } from "./dom.js";
import { notifyError } from "./notice.js";
import { openRecord } from "./record_panel.js";

const ON_THE_MAP = 50;

// How long it took, how many records were compared, and the recall on demand.
export function told({ hits, ms, answer, info, recall, name, compares }) {
  const line = h(
    "p",
    { class: "told", role: "status" },
    h("span", {}, h("b", {}, count(hits.length, "hit")), " in ", h("b", {}, seconds(ms / 1000)), ", there and back"),
    answer.compared !== undefined &&
      h("span", {}, h("b", {}, integer(answer.compared)), compares ? ` of ${integer(info.count)} compared` : " scored"),
  );
  if (recall)
    line.append(
      button("Measure recall", {
        kind: "compact",
        click: async (event) => {
          const pressed = event.currentTarget;
          try {
            const { part, common, of, exactMs } = await recall();
            pressed.replaceWith(
              h(
                "span",
                {},
                "Recall ",
                h("b", {}, `${(100 * part).toFixed(0)} %`),
                `: ${common} of the ${of} nearest, which comparing all took ${seconds(exactMs / 1000)}`,
              ),
            );
          } catch (error) {
            notifyError(error);
          }
        },
      }),
    );
  if (hits.length > 0)
    line.append(
      h(
        "a",
        {
          href: link(["collections", name, "map"], {
            mark: hits.slice(0, ON_THE_MAP).map(({ id }) => id),
          }),
        },
        "Show on the map",
      ),
    );
  return line;
}

export function showHits({ view, hits }) {
  const farthest = Math.max(...hits.map((hit) => hit.distance ?? 0)),
    best = Math.max(...hits.map((hit) => hit.score ?? 0));
  const nearness = (hit) =>
    hit.score !== undefined ? hit.score / (best || 1) : 1 - (0.9 * hit.distance) / (farthest || 1);
  const open = (id) => {
    amend({ record: id });
    openRecord({
      name: view.name,
      id,
      version: view.asked.version,
      changed: () => view.run(),
      closed: () => {
        if (parse(location.hash).query.record === id) amend({ record: undefined });
      },
    });
  };
  if (view.query.record) {
    const id = view.query.record;
    view.query.record = undefined;
    queueMicrotask(() => open(id));
  }
  return h(
    "ol",
    { class: "hits", "aria-label": "Hits" },
    hits.map((hit, i) =>
      h(
        "li",
        { class: "hit" },
        h(
          "div",
          { class: "hit-head" },
          h("span", { class: "rank" }, i + 1),
          h("button", { type: "button", class: "id", on: { click: () => open(hit.id) } }, hit.id),
          h(
            "span",
            { class: "score" },
            h(
              "span",
              { class: "nearness", "aria-hidden": "true" },
              h("i", { vars: { "--part": Math.max(0.02, Math.min(1, nearness(hit))) } }),
            ),
            h(
              "span",
              {},
              h("span", { class: "unseen" }, hit.score !== undefined ? "score " : "distance "),
              distance(hit.score ?? hit.distance),
            ),
            view.info.dimension !== 0 && [
              button("", {
                icon: "like",
                kind: "icon compact bare",
                label: `More like ${hit.id}`,
                click: () => view.steer(hit.id, "like"),
              }),
              button("−", {
                kind: "icon compact bare",
                label: `Unlike ${hit.id}`,
                click: () => view.steer(hit.id, "unlike"),
              }),
            ],
          ),
        ),
        h("div", { class: "hit-body" }, text(hit), hit.metadata && chips(hit.metadata)),
      ),
    ),
  );
}

// The document, or the fragments of it that have the words, with the words marked.
function text({ document, highlights }) {
  if (!highlights?.length) return document !== undefined && h("p", { class: "text" }, document.slice(0, 600));
  const parts = highlights.flatMap((fragment, i) => [
    i > 0 && " … ",
    ...fragment.split(MARK[0]).flatMap((piece, j) => {
      if (j === 0) return [piece];
      const [inside, ...rest] = piece.split(MARK[1]);
      return [h("mark", {}, inside), rest.join("")];
    }),
  ]);
  return put(h("p", { class: "text" }), parts);
}

export function showFacets(facets, narrow) {
  return h(
    "aside",
    { class: "card", "aria-label": "Facets" },
    facets.map(([key, { values, distinct }]) =>
      h(
        "div",
        { class: "facet" },
        h(
          "h3",
          {},
          key,
          distinct > values.length && h("span", { class: "quiet small" }, ` ${values.length} of ${integer(distinct)}`),
        ),
        values.map(({ value, count: n }) =>
          h(
            "button",
            { type: "button", title: `Only ${key} ${short(value)}`, on: { click: () => narrow(key, value) } },
            h("span", {}, short(value)),
            h("span", { class: "count" }, integer(n)),
          ),
        ),
      ),
    ),
  );
}
