// Puts the theme on before anything is drawn: what the person chose in this browser, else what the system says.
// A plain script, so that it runs before the first paint. Only the word "light" or "dark" is stored.
(() => {
  "use strict";
  const NAME = "drumlin-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const read = () => {
    try {
      return localStorage.getItem(NAME);
    } catch {
      return null;
    }
  };
  const apply = () => {
    const chosen = read();
    const dark = chosen ? chosen === "dark" : system.matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    dispatchEvent(new Event("themechange"));
  };
  addEventListener("toggletheme", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(NAME, next);
    } catch {
      /* A browser may forbid storage: then it lasts until reload. */
    }
    document.documentElement.dataset.theme = next;
    dispatchEvent(new Event("themechange"));
  });
  system.addEventListener("change", apply);
  apply();
})();
