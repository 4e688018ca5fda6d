// Dialogs: in the middle of the window, or at its side. The element of the browser keeps the focus inside and closes
// at Escape.

import { button, field, input } from "./controls.js";
import { freshId, h } from "./dom.js";
import { icon } from "./icons.js";

// Opens a dialog; `close` of what it returns ends it. `closed` is called however it ends.
export function openDialog({ title, body, foot = [], drawer = false, closed, submit }) {
  const id = freshId("title");
  const inner = h(
    submit ? "form" : "div",
    {
      class: "dialog",
      on: submit
        ? {
            submit: (event) => {
              event.preventDefault();
              submit();
            },
          }
        : {},
    },
    h(
      "div",
      { class: "dialog-head" },
      h("h2", { id, tabindex: "-1" }, title),
      h(
        "button",
        { type: "button", class: "button bare icon compact", "aria-label": "Close", on: { click: () => node.close() } },
        icon("close"),
      ),
    ),
    body,
    foot.length > 0 && h("div", { class: "dialog-foot" }, foot),
  );
  const node = h("dialog", { class: drawer ? "drawer" : "", "aria-labelledby": id }, inner);
  const before = document.activeElement;
  node.addEventListener("close", () => {
    node.remove();
    if (before instanceof HTMLElement && before.isConnected) before.focus();
    closed?.();
  });
  // A click on the backdrop hits the dialog itself.
  node.addEventListener("pointerdown", (event) => {
    if (event.target === node) node.close();
  });
  document.body.append(node);
  node.showModal();
  return { node, close: () => node.close() };
}

// Asks; resolves to true or false. With `word`, the person has to type it.
export function confirm({ title, text, action, word }) {
  return new Promise((resolve) => {
    let answer = false;
    const typed = input({ "aria-label": `Type ${word ?? ""} to confirm`, on: { input: () => ready() } });
    const go = () => {
      if (!word || typed.value === word) {
        answer = true;
        dialog.close();
      }
    };
    const yes = button(action, { kind: "primary danger", type: "submit" });
    const ready = () => yes.setAttribute("aria-disabled", String(Boolean(word) && typed.value !== word));
    const dialog = openDialog({
      title,
      submit: go,
      closed: () => resolve(answer),
      body: [h("p", {}, text), word && field(`Type “${word}” to confirm`, typed)],
      foot: [button("Cancel", { click: () => dialog.close() }), yes],
    });
    ready();
    if (word) typed.focus();
  });
}
