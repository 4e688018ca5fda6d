// Colours of groups: ten that are told apart and a second shade of each, a ramp for ranges, one for the others, one for
// what is dimmed.

const GROUPS = 20;

const THEMES = {
  light: {
    groups: [
      "#17694d",
      "#2a68ad",
      "#c2691c",
      "#87489f",
      "#a0850b",
      "#b43c5e",
      "#1d8a99",
      "#5f6f1c",
      "#7b5a45",
      "#4b4fc0",
    ],
    ramp: ["#b9d9e8", "#8cc0d4", "#5fa5bd", "#3d89a3", "#256d86", "#125268", "#05384a"],
    others: "#8a9690",
    dimmed: "#dde2dd",
  },
  dark: {
    groups: [
      "#6fcfa7",
      "#7fb4f0",
      "#f0a965",
      "#cf9ae6",
      "#d9c75a",
      "#f58fac",
      "#6cd5e0",
      "#b4c867",
      "#c8a68e",
      "#a5a8ff",
    ],
    ramp: ["#1d4a5c", "#2a6379", "#3a7d96", "#5198b1", "#71b3c9", "#9ccddd", "#cfe8f0"],
    others: "#7d8b85",
    dimmed: "#26312c",
  },
};

// The groups' colours, that of the others and that of what is dimmed, as CSS text, for the present theme.
export function palette(isRange) {
  const theme = THEMES[document.documentElement.dataset.theme] ?? THEMES.light;
  const shades = theme.groups.map((hex) => mixed(hex, theme === THEMES.light ? 255 : 40, 0.45));
  const groups = isRange
    ? [...theme.ramp, ...Array(GROUPS - theme.ramp.length).fill(theme.others)]
    : [...theme.groups, ...shades];
  return [...groups, theme.others, theme.dimmed];
}

// A colour with a part of grey in it.
function mixed(hex, grey, part) {
  return `#${rgb(hex)
    .map((value) =>
      Math.round(value * 255 * (1 - part) + grey * part)
        .toString(16)
        .padStart(2, "0"),
    )
    .join("")}`;
}

export const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
