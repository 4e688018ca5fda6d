// What lies in the bucket, what it costs, who else writes there, and a check of all of it.

import { api, call } from "../core/api.js";
import { bytes, count, figure, integer, seconds, short, time } from "../core/format.js";
import { button } from "../ui/controls.js";
import { bars } from "../ui/chart.js";
import { h, put } from "../ui/dom.js";
import { heading } from "../ui/heading.js";
import { failed, message, notifyError } from "../ui/notice.js";

export const title = () => "Bucket";

const LOOK_MS = 1000;

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
    h("div", { class: "columns-2" }, kinds(found), levels(found), costs(found), writers(found), verification(signal)),
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

function tiles({
  kinds: all = [],
  garbage = {},
  requests_per_minute: requests = {},
  bytes_per_minute: moved = {},
  probe,
}) {
  const sum = (what) => all.reduce((n, each) => n + each[what], 0);
  const total = Object.values(requests).reduce((n, each) => n + each, 0);
  return h(
    "div",
    { class: "tiles" },
    tile("Stored", bytes(sum("bytes")), count(sum("objects"), "object")),
    tile("Garbage", bytes(garbage.bytes), `${count(garbage.objects ?? 0, "object")}, to be collected`),
    tile(
      "Requests a minute",
      figure(total),
      Object.entries(requests)
        .map(([name, n]) => `${name} ${figure(n)}`)
        .join(", "),
    ),
    tile("Written a minute", bytes(moved.written), `${bytes(moved.read)} read`),
    tile("Last probe", probe ? short(probe.result) : "–", probe?.at ? time(probe.at) : "none yet"),
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

function levels({ levels: all = [] }) {
  if (all.length === 0) return null;
  // Whatever fields a level has, as the server names them.
  const level = (each, i) => ({
    name: `Level ${each.level ?? i}`,
    value: each.bytes ?? 0,
    more: each.segments === undefined ? "" : `in ${count(each.segments, "segment")}`,
  });
  return h("section", { class: "card" }, h("h2", {}, "Levels of segments"), bars(all.map(level), bytes));
}

const dollars = (n) => (Number.isFinite(n) ? `$ ${n.toFixed(2)}` : "–");

function costs({ costs: all = [] }) {
  const least = Math.min(...all.map(({ total }) => total));
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
                total === least && h("span", { class: "badge good plain" }, "least"),
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

function writers({ writers: all = [] }) {
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Servers that write here"),
    all.length === 0
      ? h("p", { class: "quiet" }, "No other server was seen.")
      : h(
          "dl",
          { class: "pairs" },
          all.map(({ writer, seen, lag_s: lag }) => [
            h("dt", {}, writer),
            h("dd", {}, `seen ${time(seen)}, ${seconds(lag)} behind`),
          ]),
        ),
  );
}

function verification(signal) {
  const node = h("div", { class: "stack-s", role: "status" });
  let timer;
  signal.addEventListener("abort", () => clearTimeout(timer));
  const look = async () => {
    try {
      const state = await call("GET", "api/verify", { signal });
      put(node, told(state));
      if (state.state === "running") timer = setTimeout(look, LOOK_MS);
    } catch (error) {
      if (error.name !== "AbortError") put(node, failed(error));
    }
  };
  look();
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Verify"),
    h("p", { class: "quiet" }, "Reads every object and checks it, at low priority."),
    h(
      "div",
      {},
      button("Verify the bucket", {
        needs: "admin",
        click: async () => {
          try {
            await call("POST", "api/verify");
            look();
          } catch (error) {
            notifyError(error);
          }
        },
      }),
    ),
    node,
  );
}

function told({ state, done = 0, of = 0, findings = [] }) {
  if (state === "none") return h("p", { class: "quiet" }, "Not run since the server started.");
  if (state === "running")
    return [
      h("p", {}, `${integer(done)} of ${count(of, "object")}`),
      h(
        "div",
        {
          class: "progress",
          role: "progressbar",
          "aria-label": "Verification",
          "aria-valuemin": "0",
          "aria-valuemax": String(of),
          "aria-valuenow": String(done),
        },
        h("i", { vars: { "--part": of ? done / of : 0 } }),
      ),
    ];
  if (findings.length === 0) return message(`${count(of, "object")} checked, none damaged.`, "good");
  return [
    message(`${count(findings.length, "finding")}.`, "bad"),
    h(
      "ul",
      { class: "stack-s" },
      findings.map((each) => h("li", { class: "mono small" }, short(each))),
    ),
  ];
}
