// Asks for a name under which something is made, and stays open with the server's words while the server refuses it.

import { button, field, input } from "./controls.js";
import { openDialog } from "./dialog.js";
import { h, put } from "./dom.js";

// `make(name)` does it; `more` are further fields.
export function askForName({ title, text, label, action, more = [], make }) {
  const name = input({ required: "" });
  const problem = h("p", { class: "problem", role: "alert" });
  const submit = async () => {
    put(problem);
    try {
      await make(name.value.trim());
      dialog.close();
    } catch (error) {
      put(problem, error.message);
    }
  };
  const dialog = openDialog({
    title,
    submit,
    body: [text && h("p", {}, text), field(label, name), more, problem],
    foot: [button("Cancel", { click: () => dialog.close() }), button(action, { kind: "primary", type: "submit" })],
  });
  name.focus();
}
