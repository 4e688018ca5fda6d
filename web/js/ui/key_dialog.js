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
      const key = text.value.trim();
      put(problem);
      if (!/^[!-~]+$/.test(key)) {
        put(problem, "A key has letters, digits and signs of ASCII only.");
        return;
      }
      try {
        // The present key stays until the server knows the new one.
        const grant = await api.key({ headers: { "x-api-key": key } });
        if (!grant.scope) {
          put(problem, "The server does not know this key, or it has expired.");
          return;
        }
        Object.assign(session, { key, grant });
        accepted = true;
        dialog.close();
      } catch (error) {
        put(problem, error.message);
      }
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
