// The start: which view is shown, what happens when the server goes away or wants a key.

import { link, parse } from "./core/address.js";
import { ApiError, api, events } from "./core/api.js";
import { read } from "./core/parameters.js";
import { session } from "./core/session.js";
import { makeShell } from "./core/shell.js";
import { h, put } from "./ui/dom.js";
import { askForKey } from "./ui/key_dialog.js";
import { empty, failed, message, waiting } from "./ui/notice.js";

// Each view is fetched when it is first shown, and the rest of them once something is shown.
const VIEWS = {
  collections: () => import("./views/collections.js"),
  files: () => import("./views/files.js"),
  health: () => import("./views/health.js"),
  bucket: () => import("./views/bucket.js"),
  console: () => import("./views/console.js"),
};
const OF_COLLECTION = {
  records: () => import("./views/records.js"),
  search: () => import("./views/search.js"),
  map: () => import("./views/map.js"),
  history: () => import("./views/history.js"),
  overview: () => import("./views/overview.js"),
};
const AGAIN_MS = 1000,
  HEALTH_MS = 5000;

let leave = new AbortController();
let asking = null,
  isAway = false;
const shell = makeShell({ changeKey: () => need("Another key changes what this page may do.") });

// { name, load } of the view that a path leads to, or null. Only names that are written above are views.
function viewAt([place = "collections", collection, tab = "records"]) {
  const [views, name] = place === "collections" && collection ? [OF_COLLECTION, tab] : [VIEWS, place];
  return Object.hasOwn(views, name) ? { name, load: views[name] } : null;
}

// What the address says: { path, view, query, problems }, or { node } where it leads to no view.
function destination() {
  const { path, query: raw } = parse(location.hash);
  const nowhere = (title, text) => ({ path: path ?? [], node: empty({ title, text, icon: "warn", actions: home() }) });
  if (path === null) return nowhere("The address cannot be read", "A percent sign in it stands for no character.");
  const view = viewAt(path);
  if (!view) return nowhere("There is no such view", "The address may be mistyped.");
  const { values: query, problems } = read(view.name, raw);
  const deciding = problems.filter(({ decides }) => decides);
  if (deciding.length === 0) return { path, view, query, problems };
  const without = h("a", { class: "button", href: link(path) }, "Show it without");
  const text = deciding.map((each) => each.text).join(" ");
  return { path, node: empty({ title: "The address cannot be read", text, icon: "warn", actions: [without] }) };
}

const home = () => [h("a", { class: "button", href: link(["collections"]) }, "All collections")];

// Shows what the address says. `keepFocus`: the person did not ask to go somewhere else.
async function show({ keepFocus = false } = {}) {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const to = destination();
  shell.at(to.path.length ? to.path : ["collections"]);
  document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  if (to.node) {
    document.title = "Drumlin";
    put(shell.main, to.node);
  } else await showView(to, signal);
  if (signal.aborted || keepFocus) return;
  shell.main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

async function showView({ path, view: { load }, query, problems }, signal) {
  const late = setTimeout(() => put(shell.main, waiting()), 150);
  try {
    const view = await load().catch(broken);
    const node = await view.show({ path, query, signal, reload: () => show({ keepFocus: true }) });
    clearTimeout(late);
    if (signal.aborted) return;
    const told = problems.map(({ text }) => message(text, "warn"));
    put(shell.main, told, node);
    document.title = `${view.title(path)} · Drumlin`;
    fetchRest();
  } catch (error) {
    clearTimeout(late);
    if (error.name === "AbortError" || signal.aborted) return;
    // A server that starts is looked for until it has.
    if (error.status === 503)
      api
        .health()
        .then(({ status }) => {
          if (status === "starting") lookForServer();
        })
        .catch(() => {});
    put(
      shell.main,
      failed(error instanceof ApiError ? error : Object.assign(error, { status: -1 }), () => show()),
    );
    if (!(error instanceof ApiError)) console.error(error);
  }
}

let isWhole = false;
function fetchRest() {
  if (isWhole) return;
  isWhole = true;
  const all = [...Object.values(VIEWS), ...Object.values(OF_COLLECTION)];
  (window.requestIdleCallback ?? setTimeout)(() => all.forEach((load) => load().catch(() => {})));
}

// A module did not come. A browser does not try that again until the page is loaded anew, which waits for the server.
let isBroken = false;
function broken() {
  isBroken = true;
  lookForServer();
  throw new ApiError(0, "unreachable", "A part of this page could not be fetched.");
}

async function need(why) {
  asking ??= askForKey(why).finally(() => {
    asking = null;
  });
  if (await asking) show();
}

// While the server is away: asks once a second, and shows the view anew when it is back.
async function lookForServer() {
  if (isAway) return;
  isAway = true;
  shell.away(true);
  shell.tell(null);
  for (;;) {
    await new Promise((resume) => setTimeout(resume, AGAIN_MS));
    const health = await fetch(new URL("../../health", import.meta.url), { cache: "no-store" })
      .then((answer) => (answer.ok ? answer.json() : null))
      .catch(() => null);
    if (health && health.status !== "starting") break;
  }
  if (isBroken) {
    location.reload();
    return;
  }
  isAway = false;
  shell.away(false);
  start({ keepFocus: true });
}

let healthTimer;
async function tellHealth() {
  clearTimeout(healthTimer);
  // A page in the background asks for nothing.
  if (!document.hidden && !isAway) {
    try {
      shell.tell(await api.health());
    } catch {
      /* The event "away" has told it. */
    }
  }
  healthTimer = setTimeout(tellHealth, HEALTH_MS);
}

events.addEventListener("away", lookForServer);
events.addEventListener("keyneeded", () => need("The server did not accept the key of this page."));
addEventListener("hashchange", () => show());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  shell.main.focus();
});
addEventListener("visibilitychange", () => {
  if (!document.hidden) tellHealth();
});

// Also after the server was away: what the key allows may have changed.
async function start(how) {
  tellHealth();
  try {
    session.grant = await api.key();
  } catch (error) {
    if (error.status === 0) return;
    // A server without the route says nothing of keys; a request that needs one will ask.
  }
  if (session.grant.required && !session.grant.scope) {
    put(
      shell.main,
      empty({
        title: "This server needs a key",
        text: "Ask whoever runs it, or make one with: drumlin key new --scope read",
        icon: "key",
      }),
    );
    shell.at(parse(location.hash).path ?? []);
    await need("This server answers only to keys.");
    return;
  }
  show(how);
}

start();
