// The frame around every view: navigation, the state of the server, the theme, the key.

import { button } from "../ui/controls.js";
import { h, put } from "../ui/dom.js";
import { icon, logo } from "../ui/icons.js";
import { link } from "./address.js";
import { session } from "./session.js";

const PLACES = [
  ["collections", "Collections", "collections"],
  ["files", "Files", "files"],
  ["health", "Health", "health"],
  ["bucket", "Bucket", "bucket"],
  ["console", "Console", "console"],
];

export function makeShell({ changeKey }) {
  const nav = h("ul");
  const state = h("div", { class: "server-state" });
  const detail = h("div", { class: "server-detail" });
  const keys = h("span");
  const main = h("main", { class: "main", id: "main", tabindex: "-1" });
  const away = h(
    "div",
    { class: "away", role: "alert", hidden: true },
    icon("warn"),
    h("span", {}, "The server does not answer. This page tries again every second."),
  );
  const side = h(
    "header",
    { class: "side" },
    h("a", { class: "brand", href: "#/collections" }, logo(), "Drumlin"),
    h("nav", { "aria-label": "Main" }, nav),
    h(
      "div",
      { class: "foot" },
      state,
      detail,
      h(
        "div",
        { class: "foot-buttons" },
        keys,
        button("", {
          icon: "theme",
          kind: "icon compact",
          label: "Light or dark",
          click: () => dispatchEvent(new Event("toggletheme")),
        }),
      ),
    ),
  );
  document.getElementById("shell").replaceChildren(side, h("div", { class: "content" }, away, main));
  return {
    main,
    at(path) {
      put(
        nav,
        PLACES.map(([place, text, name]) =>
          h(
            "li",
            {},
            h("a", { href: link([place]), "aria-current": path[0] === place ? "page" : undefined }, icon(name), text),
          ),
        ),
      );
      const { required, scope, name, tenant } = session.grant;
      put(
        keys,
        required &&
          button("", {
            icon: "key",
            kind: "icon compact",
            label: scope
              ? `Key: may ${scope === "admin" ? "do everything" : scope}${name ? `, ${name}` : ""}${tenant ? `, in ${tenant}` : ""}. Change it`
              : "Enter a key",
            click: changeKey,
          }),
      );
    },
    tell(health) {
      const kinds = { ok: "good", degraded: "bad", loading: "warn", starting: "warn" };
      put(
        state,
        h("span", { class: `dot ${kinds[health?.status] ?? "bad"}` }),
        health
          ? ({ ok: "All is well", degraded: "Degraded", loading: "Loading", starting: "Starting" }[health.status] ??
              health.status)
          : "No answer",
      );
      put(
        detail,
        health && [
          `Drumlin ${health.version ?? ""}`,
          health.storage?.location && h("div", {}, health.storage.location),
        ],
      );
    },
    away(isAway) {
      away.hidden = !isAway;
    },
  };
}
