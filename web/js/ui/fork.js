// Forking a collection: as it is now, or as it was at a version, which also saves what is sound of a damaged one.

import { link } from "../core/address.js";
import { api } from "../core/api.js";
import { button, field, input } from "./controls.js";
import { h } from "./dom.js";
import { message, notify } from "./notice.js";
import { askForName } from "./name_dialog.js";

async function fork(name, as, version) {
  await api.on(name, "fork", { name: as, ...(version !== undefined && { version }) });
  notify(`Forked ${name} to ${as}.`);
  location.hash = link(["collections", as, "records"]);
}

export function askForFork(name, version) {
  askForName({
    title: version === undefined ? `Fork ${name}` : `Fork ${name} from version ${version}`,
    label: "Name of the fork",
    action: "Fork",
    make: (as) => fork(name, as, version),
  });
}

// The newest version below a damaged object of the log, whose key ends in its number.
function soundBefore(key) {
  const found = /\/log\/0*(\d{1,15})\.parquet$/.exec(key ?? "");
  return found && Number(found[1]) > 1 ? Number(found[1]) - 1 : "";
}

function askForSoundFork({ name, key }) {
  const version = input({ type: "number", class: "narrow", min: "1", required: "", value: soundBefore(key) });
  askForName({
    title: `Fork ${name} from before the damage`,
    text: "The fork is a collection of its own with all that was there at a version. The damaged one stays as it is.",
    label: "Name of the fork",
    action: "Fork",
    more: field("Version", version, "The newest one before the damage. History lists all."),
    make: (as) => fork(name, as, Number(version.value)),
  });
}

// What is wrong with a damaged collection, and what to do about it.
export function damage({ name, cause = "an object does not check out", key }) {
  return message(
    `${name} is damaged: ${cause}.`,
    "bad",
    h("p", {}, `In ${key ?? "an unknown object"}. Searches, reads and writes are refused until it is put back.`),
    h(
      "p",
      {},
      "What was there before the damage can be forked. ",
      h("code", {}, "drumlin verify"),
      " tells what is lost.",
    ),
    h(
      "div",
      { class: "row" },
      button("Fork", {
        icon: "fork",
        kind: "compact",
        label: `Fork ${name} from before the damage`,
        needs: "write",
        click: () => askForSoundFork({ name, key }),
      }),
      h("a", { class: "button compact", href: link(["collections", name, "history"]) }, "History"),
    ),
  );
}
