// The JavaScript twin of ../hashed_words.py: both give a text the same vector.

const DIMENSION = 32;

function fnv1a(word) {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(word)) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  return value;
}

export function embed(text) {
  const counts = new Array(DIMENSION).fill(0);
  for (const word of text.toLowerCase().match(/[a-z0-9]+/g) ?? []) counts[fnv1a(word) % DIMENSION] += 1;
  const length = Math.hypot(...counts) || 1;
  return counts.map((count) => count / length);
}

export class HashedWords {
  name = "hashed-words";

  constructor(note = "") {
    this.note = note;
  }

  async generate(texts) {
    return texts.map(embed);
  }

  getConfig() {
    return { note: this.note };
  }

  defaultSpace() {
    return "cosine";
  }

  static buildFromConfig(config) {
    return new HashedWords(config.note);
  }
}
