// Finds the rows of ids among up to millions without making strings of them: a hash table over the bytes as Arrow
// holds them. Open addressing; the hash is FNV-1a in 32 bits.

import { texts } from "../data/arrow.js";

const MISSING = -1;

function hash(bytes, from, to) {
  let value = 0x811c9dc5;
  for (let i = from; i < to; i += 1) value = Math.imul(value ^ bytes[i], 0x01000193);
  return value >>> 0;
}

export class IdIndex {
  constructor(batches) {
    this.batches = batches;
    this.text = texts(batches, "id");
    this.table = null;
  }

  // The table costs some milliseconds for a million, so it is made when first needed.
  prepare() {
    const starts = [0];
    for (const { rows } of this.batches) starts.push(starts.at(-1) + rows);
    const count = starts.at(-1);
    let size = 16;
    while (size < 2 * count) size *= 2;
    Object.assign(this, { starts, mask: size - 1, table: new Int32Array(size).fill(MISSING) });
    this.batches.forEach(({ rows, columns }, b) => {
      const { offsets, bytes } = columns.id;
      for (let i = 0; i < rows; i += 1) {
        let slot = hash(bytes, offsets[i], offsets[i + 1]) & this.mask;
        while (this.table[slot] !== MISSING) slot = (slot + 1) & this.mask;
        this.table[slot] = starts[b] + i;
      }
    });
  }

  rowOfBytes(bytes, from, to) {
    if (!this.table) this.prepare();
    let slot = hash(bytes, from, to) & this.mask;
    while (this.table[slot] !== MISSING) {
      if (this.isAt(this.table[slot], bytes, from, to)) return this.table[slot];
      slot = (slot + 1) & this.mask;
    }
    return MISSING;
  }

  isAt(row, bytes, from, to) {
    let batch = 0;
    while (row >= this.starts[batch + 1]) batch += 1;
    const { offsets, bytes: own } = this.batches[batch].columns.id;
    const at = row - this.starts[batch],
      begin = offsets[at];
    if (offsets[at + 1] - begin !== to - from) return false;
    for (let i = 0; i < to - from; i += 1) if (own[begin + i] !== bytes[from + i]) return false;
    return true;
  }

  // The row of an id, or −1.
  row(id) {
    const bytes = new TextEncoder().encode(id);
    return this.rowOfBytes(bytes, 0, bytes.length);
  }
}
