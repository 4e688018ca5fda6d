// What lies in the bucket, and what it costs.

import { api, call } from "../core/api.js";
import { bytes, count, integer } from "../core/format.js";
import { bars } from "../ui/chart.js";
import { h } from "../ui/dom.js";
import { heading } from "../ui/heading.js";
import { failed, message } from "../ui/notice.js";

export const title = () => "Bucket";

export async function show({ signal, reload }) {
  const health = await api.health({ signal });
  const storage = health.storage ?? {};
  const top = heading("Bucket", {
    lead: whereabouts(storage),
  });
  let found;
  try {
    found = await call("GET", "api/bucket", { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return [top, connection(storage), failed(error, reload)];
  }
  return [
    top,
    connection(storage),
    tiles(found),
    h("div", { class: "columns-2" }, kinds(found), costs(found)),
  ];
}

const PROVIDERS = { s3: "S3", r2: "Cloudflare R2", gcs: "Google Cloud Storage", azure: "Azure", dropbox: "Dropbox" };

function whereabouts({ kind, location }) {
  if (kind === "memory") return "Memory only: nothing outlives the server";
  const provider = kind === "folder" ? "A folder" : (PROVIDERS[kind] ?? kind ?? "");
  return location ? `${provider}: ${location}` : provider;
}

function connection({ connected, failing = [], last_error: words }) {
  if (connected && failing.length === 0) return null;
  return message(
    `${connected ? `The bucket refuses ${failing.join(" and ")}.` : "The bucket does not answer."} ${words ?? ""}`,
    "bad",
  );
}

function tile(name, value, more) {
  return h(
    "div",
    { class: "tile" },
    h("span", { class: "name" }, name),
    h("span", { class: "value" }, value),
    h("span", { class: "more" }, more),
  );
}

function tiles({ kinds: all = [], garbage = {} }) {
  const sum = (what) => all.reduce((n, each) => n + each[what], 0);
  return h(
    "div",
    { class: "tiles" },
    tile("Stored", bytes(sum("bytes")), count(sum("objects"), "object")),
    tile("Garbage", bytes(garbage.bytes), `${count(garbage.objects ?? 0, "object")}, to be collected`),
  );
}

function kinds({ kinds: all = [] }) {
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Objects by kind"),
    bars(
      [...all]
        .sort((a, b) => b.bytes - a.bytes)
        .map(({ kind, objects, bytes: size }) => ({ name: kind, value: size, more: `in ${integer(objects)}` })),
      bytes,
    ),
  );
}

const dollars = (n) => (Number.isFinite(n) ? `$ ${n.toFixed(2)}` : "–");

function costs({ costs: all = [] }) {
  // Before an hour of requests was counted only storage is told.
  const totals = all.map(({ total }) => total).filter(Number.isFinite);
  const least = totals.length > 1 ? Math.min(...totals) : undefined;
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "A month at list prices"),
    h(
      "div",
      { class: "scroll-x", tabindex: "0", role: "region", "aria-label": "Costs" },
      h(
        "table",
        { class: "table" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "Provider"),
            ["Storage", "Requests", "Traffic", "Total"].map((each) => h("th", { class: "number", scope: "col" }, each)),
          ),
        ),
        h(
          "tbody",
          {},
          all.map(({ provider, storage, requests, traffic, total }) =>
            h(
              "tr",
              {},
              h(
                "th",
                { scope: "row" },
                provider,
                " ",
                least !== undefined && total === least && h("span", { class: "badge good plain" }, "least"),
              ),
              [storage, requests, traffic].map((each) => h("td", { class: "number" }, dollars(each))),
              h("td", { class: "number" }, h("b", {}, dollars(total))),
            ),
          ),
        ),
      ),
    ),
  );
}
