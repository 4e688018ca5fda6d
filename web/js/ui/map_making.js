// Having the server make a map, and its progress.

import { api } from "../core/api.js";
import { load } from "../map/layout.js";
import { button } from "./controls.js";
import { h, put } from "./dom.js";
import { empty, message, notifyError } from "./notice.js";
import { progressBar } from "./progress.js";

const LOOK_MS = 700;
const percent = (part) => `${Math.round(100 * part)} %`;

// What stands in place of a map that is not there: an offer to make it, or how far it has come. `why` says what it is
// needed for; `reload` is called when it is there.
export function mapInstead({ name, found, why, signal, reload }) {
  return found.state === "progress" ? progress(name, found.progress, signal, reload) : invitation(name, why, reload);
}

export function invitation(name, why, reload) {
  const about = "The server lays the records out in two dimensions, at low priority, and keeps the result in memory.";
  const click = async () => {
    try {
      await api.on(name, "map", {});
      reload();
    } catch (error) {
      notifyError(error);
    }
  };
  return empty({
    title: why ? "The map is to be made first" : "No map yet",
    icon: "map",
    text: why ? `${why} ${about}` : about,
    actions: [button("Make the map", { icon: "map", kind: "primary", needs: "write", click })],
  });
}

function progress(name, part, signal, reload) {
  const told = h("span", { class: "number" }),
    bar = progressBar("Progress of the map", part);
  const tell = (now) => {
    bar.tell(now);
    put(told, percent(now));
  };
  const look = async () => {
    if (signal.aborted) return;
    try {
      const found = await load(name, signal);
      if (found.state !== "progress") return reload();
      tell(found.progress);
      setTimeout(look, LOOK_MS);
    } catch (error) {
      // Another look shows whether it passes; what does not is told by the view itself.
      if (error.name !== "AbortError") reload();
    }
  };
  tell(part);
  setTimeout(look, LOOK_MS);
  return h(
    "div",
    { class: "card" },
    h("div", { class: "spread" }, h("h2", {}, "The map is being made"), told),
    bar.node,
    h("p", { class: "quiet" }, "You may leave: it goes on, and the map stays as long as the collection is in memory."),
  );
}

// Says that records have changed since the map was made, and offers a new one.
export function outdated({ name, of, now, reload }) {
  const node = message(`This map is of version ${of}; the collection is at version ${now}.`, "");
  const remake = async () => {
    try {
      const { progress: part } = await api.on(name, "map", {});
      if (part === 1) return reload();
      put(node, `A map of version ${now} is being made: ${percent(part)}.`);
      if (node.isConnected) setTimeout(remake, LOOK_MS);
    } catch (error) {
      notifyError(error);
    }
  };
  node.append(" ", button("Make it anew", { needs: "write", click: remake }));
  return node;
}
