// Finds the point nearest to the pointer: the points in square bins, by a counting sort, so that a million take some
// milliseconds once and a look-up next to nothing.

const SIDE = 512;

export class Bins {
  constructor({ x, y, count, bounds: { left, right, bottom, top } }) {
    Object.assign(this, { x, y, left, bottom, step: Math.max(right - left, top - bottom) / SIDE || 1 });
    this.starts = new Uint32Array(SIDE * SIDE + 1);
    const bin = new Uint32Array(count);
    for (let i = 0; i < count; i += 1) {
      bin[i] = this.column(y[i], this.bottom) * SIDE + this.column(x[i], this.left);
      this.starts[bin[i] + 1] += 1;
    }
    for (let b = 0; b < SIDE * SIDE; b += 1) this.starts[b + 1] += this.starts[b];
    this.rows = new Uint32Array(count);
    const next = this.starts.slice();
    for (let i = 0; i < count; i += 1) {
      this.rows[next[bin[i]]] = i;
      next[bin[i]] += 1;
    }
  }

  column(value, from) {
    return Math.min(SIDE - 1, Math.max(0, Math.floor((value - from) / this.step)));
  }

  // The row nearest to a place within a distance, or −1.
  nearest(px, py, distance) {
    let best = -1,
      least = distance * distance;
    const [c0, c1] = [this.column(px - distance, this.left), this.column(px + distance, this.left)];
    for (let r = this.column(py - distance, this.bottom); r <= this.column(py + distance, this.bottom); r += 1) {
      for (let at = this.starts[r * SIDE + c0]; at < this.starts[r * SIDE + c1 + 1]; at += 1) {
        const i = this.rows[at],
          d = (this.x[i] - px) ** 2 + (this.y[i] - py) ** 2;
        if (d <= least) {
          least = d;
          best = i;
        }
      }
    }
    return best;
  }
}
