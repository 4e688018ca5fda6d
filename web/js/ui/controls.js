// Buttons, fields and menus. A control that the present key does not allow stays reachable, and says why.

import { session } from "../core/session.js";
import { freshId, h } from "./dom.js";
import { icon } from "./icons.js";
import { notify } from "./notice.js";

// button("Save", { icon: "edit", kind: "primary", needs: "write", click })
export function button(text, { icon: name, kind = "", needs, click, label, pressed, type = "button" } = {}) {
  const reason = needs ? session.reason(needs) : null;
  const node = h(
    "button",
    {
      class: `button ${kind}`,
      type,
      "aria-label": label,
      title: reason ?? label,
      "aria-disabled": reason ? "true" : undefined,
      "aria-pressed": pressed === undefined ? undefined : String(pressed),
      on: { click: (event) => (reason ? (event.preventDefault(), notify(reason)) : click?.(event)) },
    },
    name && icon(name),
    text,
  );
  if (reason) node.append(h("span", { class: "unseen" }, `. ${reason}`));
  return node;
}

export function linkButton(text, href, { icon: name, kind = "" } = {}) {
  return h("a", { class: `button ${kind}`, href }, name && icon(name), text);
}

// A labelled control: field("Name", input, "What a name may hold").
export function field(label, control, help) {
  const id = control.id || (control.id = freshId("field"));
  const helpId = help && freshId("help");
  if (helpId) control.setAttribute("aria-describedby", helpId);
  return h(
    "div",
    { class: "field" },
    h("label", { class: "label", for: id }, label),
    control,
    help && h("span", { class: "help", id: helpId }, help),
  );
}

export function input(attributes = {}) {
  const { class: more = "", ...rest } = attributes;
  return h("input", { class: `input ${more}`, type: "text", autocomplete: "off", spellcheck: "false", ...rest });
}

export function area(attributes = {}, text = "") {
  const { class: more = "", ...rest } = attributes;
  return h("textarea", { class: `input ${more}`, spellcheck: "false", ...rest, value: text });
}

// select([["a", "Option A"], …], "a", { on })
export function select(options, chosen, attributes = {}) {
  const { class: more = "", ...rest } = attributes;
  return h(
    "select",
    { class: `input ${more}`, ...rest },
    options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
  );
}

export function check(label, checked, change) {
  return h(
    "label",
    { class: "check" },
    h("input", { type: "checkbox", checked, on: { change: (event) => change(event.target.checked) } }),
    h("span", {}, label),
  );
}

// One choice of few, as buttons side by side.
export function segments(label, options, chosen, change) {
  const node = h("div", { class: "segments", role: "group", "aria-label": label });
  const choose = (value, tell) => {
    for (const each of node.children) each.setAttribute("aria-pressed", String(each.dataset.value === value));
    if (tell) change(value);
  };
  node.append(
    ...options.map(([value, text]) =>
      h("button", { type: "button", "data-value": value, on: { click: () => choose(value, true) } }, text),
    ),
  );
  choose(chosen, false);
  return node;
}

// A button that opens a panel; Escape and a click elsewhere close it.
export function menu(text, iconName, ...children) {
  const node = h(
    "details",
    { class: "menu" },
    h("summary", { class: "button" }, icon(iconName), text),
    h("div", { class: "menu-panel" }, children),
  );
  const close = (event) => {
    if (event.type === "keydown" ? event.key === "Escape" : !node.contains(event.target)) {
      if (event.type === "keydown" && node.contains(document.activeElement)) node.firstElementChild.focus();
      node.open = false;
    }
  };
  node.addEventListener("toggle", () => {
    const change = node.open ? "addEventListener" : "removeEventListener";
    document[change]("pointerdown", close);
    document[change]("keydown", close);
  });
  return node;
}
