// A button that copies a text.

import { button } from "./controls.js";
import { notify } from "./notice.js";

export function copyButton(text, { title = "Copy", label, done = "Copied." }) {
  const click = async () => {
    try {
      await navigator.clipboard.writeText(text);
      notify(done);
    } catch {
      notify("The browser does not allow copying here.", "error");
    }
  };
  return button(title, { icon: "copy", kind: "compact", label, click });
}
