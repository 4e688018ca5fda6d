// Colours of groups: ten that are told apart, a ramp for ranges, one for the others, one for what is dimmed.

const THEMES = {
  light: { groups: ["#17694d", "#2a68ad", "#c2691c", "#87489f", "#a0850b", "#b43c5e", "#1d8a99", "#5f6f1c", "#7b5a45", "#4b4fc0"], ramp: ["#b9d9e8", "#8cc0d4", "#5fa5bd", "#3d89a3", "#256d86", "#125268", "#05384a"], others: "#8a9690", dimmed: "#dde2dd" },
  dark: { groups: ["#6fcfa7", "#7fb4f0", "#f0a965", "#cf9ae6", "#d9c75a", "#f58fac", "#6cd5e0", "#b4c867", "#c8a68e", "#a5a8ff"], ramp: ["#1d4a5c", "#2a6379", "#3a7d96", "#5198b1", "#71b3c9", "#9ccddd", "#cfe8f0"], others: "#7d8b85", dimmed: "#26312c" },
};

// Twelve colours, as CSS text, for the present theme.
export function palette(isRange) {
  const theme = THEMES[document.documentElement.dataset.theme] ?? THEMES.light;
  const groups = isRange ? [...theme.ramp, theme.others, theme.others, theme.others] : theme.groups;
  return [...groups, theme.others, theme.dimmed];
}

export const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
