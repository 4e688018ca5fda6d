// A check of every object of the bucket: begun, watched, and what it has found.

import { place } from "../core/address.js";
import { call } from "../core/api.js";
import { bytes, count, integer, seconds, time } from "../core/format.js";
import { button, field, select } from "./controls.js";
import { h, put } from "./dom.js";
import { message, notifyError } from "./notice.js";
import { progressBar } from "./progress.js";
import { table } from "./table.js";

const LOOK_MS = 700;
const SHOWN = 100;
const WEIGHT = { damaged: "bad", suspicious: "warn", note: "" };

// `known` are the collections that one may choose from. A server without the route has no such section.
export function checking(known, signal) {
  const inner = h("div", { class: "stack" });
  const show = (state) => put(inner, state.state === "running" ? running(state) : [result(state), begin(known, ask)]);
  const follow = (state) => {
    if (signal.aborted) return;
    show(state);
    if (state.state === "running") setTimeout(look, LOOK_MS);
  };
  const look = async () => {
    try {
      follow(await call("GET", "api/verify", { signal }));
    } catch (error) {
      if (error.name === "AbortError") return;
      // The server is away: the check ended with it, or another look shows how far it is.
      if (error.status === 0) setTimeout(look, 5 * LOOK_MS);
      else put(inner, h("p", { class: "quiet" }, error.isMissingRoute ? "This server cannot do that." : error.message));
    }
  };
  const ask = async (body) => {
    try {
      follow(await call("POST", "api/verify", { body, signal }));
    } catch (error) {
      notifyError(error);
      // Somebody else's check may run.
      if (error.status === 409) look();
    }
  };
  look();
  return h("section", { class: "card" }, h("h2", {}, "Check of every object"), inner);
}

function begin(known, ask) {
  const names = known.map(({ name }) => name);
  let chosen = "";
  const choice = select([["", "The whole bucket"], ...names.map((name) => [name, name])], chosen, {
    class: "medium",
    on: {
      change: (event) => {
        chosen = event.target.value;
      },
    },
  });
  const body = () => (chosen === "" ? {} : { tenant: "default_tenant", database: "default_database", ...place(), collection: chosen });
  return h(
    "div",
    { class: "row" },
    field("What to check", choice),
    button("Check", { icon: "good", needs: "admin", click: () => ask(body()) }),
  );
}

function running({ collection, objects: { checked, known }, damaged, since }) {
  const part = known > 0 ? checked / known : 0;
  return [
    h(
      "div",
      { class: "spread" },
      h("span", {}, collection === undefined ? "The whole bucket" : collection),
      h("span", { class: "number" }, `${integer(checked)} of ${count(known, "object")}`),
    ),
    progressBar("Progress of the check", part).node,
    h("p", { class: "quiet" }, `Running since ${time(since)}, at low priority. You may leave: it goes on.`),
    damaged > 0 && message(`${count(damaged, "object")} damaged so far.`, "bad"),
  ];
}

function result({ state, sound, collection, damaged, suspicious, findings, objects, bytes: size, seconds: took, error }) {
  if (state === "none") {
    return h("p", { class: "quiet" }, "Reads every object and checks that all fit together. Nothing is written.");
  }
  if (state === "failed") return message(`The check was not finished: ${error}`, "warn");
  const what = collection === undefined ? "The bucket" : collection;
  const read = `${count(objects.checked, "object")}, ${bytes(size)} in ${seconds(took)}`;
  const verdict = sound
    ? message(`${what} is sound: ${read}.`, "good")
    : message(`${what} is damaged: ${count(damaged, "finding")} of damage. ${read}.`, "bad");
  return [verdict, suspicious > 0 && h("p", {}, `${integer(suspicious)} to be looked at.`), list(findings)];
}

function list(findings) {
  if (findings.length === 0) return null;
  const row = ({ severity, key, cause, remedy }) =>
    h(
      "tr",
      {},
      h("td", {}, h("span", { class: `badge ${WEIGHT[severity] ?? ""}` }, severity)),
      h("th", { scope: "row" }, h("code", {}, key)),
      h("td", {}, cause, h("br"), h("span", { class: "quiet" }, remedy)),
    );
  const more = findings.length - SHOWN;
  return [
    table(
      "Findings",
      [{ name: "Weight" }, { name: "Object" }, { name: "Finding, and what to do" }],
      h("tbody", {}, findings.slice(0, SHOWN).map(row)),
    ),
    more > 0 && h("p", { class: "quiet small" }, `${integer(more)} more; GET /api/verify has them.`),
  ];
}
