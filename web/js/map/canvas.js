// Draws the points into the pixels of a plain canvas, where there is no WebGL.

import { rgb } from "./colours.js";

export function canvas2d(canvas, { x, y, count }) {
  const context = canvas.getContext("2d");
  let of = new Uint8Array(count),
    colours = new Uint32Array(22);
  return {
    kind: "canvas",
    groups(next) {
      of = next;
    },
    colours(list) {
      colours = Uint32Array.from(list, (hex) => {
        const [r, g, b] = rgb(hex).map((part) => Math.round(part * 255));
        return (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;
      });
    },
    draw({ centre, zoom, width, height, ratio, size }) {
      const image = context.createImageData(canvas.width, canvas.height);
      const pixels = new Uint32Array(image.data.buffer);
      const half = Math.max(0, Math.round((size * ratio) / 2 - 0.5)),
        scale = zoom * ratio;
      for (let i = 0; i < count; i += 1) {
        const px = Math.round((x[i] - centre[0]) * scale + (width * ratio) / 2),
          py = Math.round((height * ratio) / 2 - (y[i] - centre[1]) * scale);
        if (px < half || py < half || px >= canvas.width - half || py >= canvas.height - half) continue;
        for (let dy = -half; dy <= half; dy += 1)
          for (let dx = -half; dx <= half; dx += 1) pixels[(py + dy) * canvas.width + px + dx] = colours[of[i]];
      }
      context.putImageData(image, 0, 0);
    },
    end() {},
  };
}
