// Asks for a key, and tells what the present one allows.

import { api } from "../core/api.js";
import { session } from "../core/session.js";
import { button, field, input } from "./controls.js";
import { openDialog } from "./dialog.js";
import { h, put } from "./dom.js";

// Resolves to true once a key is accepted, to false where the person closes the dialog.
export function askForKey(why) {
  return new Promise((resolve) => {
    let accepted = false;
    const text = input({ type: "password", autocomplete: "off", required: "" });
    const problem = h("p", { class: "problem", role: "alert" });
    const submit = async () => {
      session.key = text.value.trim();
      try {
        session.grant = await api.key();
        if (session.grant.scope) {
          accepted = true;
          dialog.close();
          return;
        }
        put(problem, "The server does not know this key, or it has expired.");
      } catch (error) {
        put(problem, error.message);
      }
      session.key = null;
    };
    const dialog = openDialog({
      title: "A key, please",
      submit,
      closed: () => resolve(accepted),
      body: [
        h("p", {}, why),
        field(
          "Key",
          text,
          "Kept in the memory of this page only: not stored, and gone when the page is closed or reloaded.",
        ),
        problem,
      ],
      foot: [
        button("Cancel", { click: () => dialog.close() }),
        button("Use this key", { kind: "primary", type: "submit" }),
      ],
    });
    text.focus();
  });
}
