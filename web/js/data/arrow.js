// Reads what this page needs of an Arrow IPC stream: columns of utf8 and float32 without compression, and the schema's
// metadata. The message headers are flatbuffers (Arrow's format/Message.fbs and Schema.fbs); the numbers of their
// fields are named below. Bounds are checked by DataView and subarray lengths: damaged bytes throw.

const SCHEMA = 1,
  RECORD_BATCH = 3;
const FLOATING_POINT = 3,
  UTF8 = 5;
const CONTINUATION = 0xffffffff;

// A table of a flatbuffer: the field of number n, or null where it is left out.
class Table {
  constructor(view, at) {
    Object.assign(this, { view, at, vtable: at - view.getInt32(at, true) });
  }
  field(n) {
    const entry = 4 + 2 * n;
    if (entry >= this.view.getUint16(this.vtable, true)) return null;
    const offset = this.view.getUint16(this.vtable + entry, true);
    return offset === 0 ? null : this.at + offset;
  }
  byte(n) {
    const at = this.field(n);
    return at === null ? 0 : this.view.getUint8(at);
  }
  short(n) {
    const at = this.field(n);
    return at === null ? 0 : this.view.getInt16(at, true);
  }
  long(n) {
    const at = this.field(n);
    return at === null ? 0 : Number(this.view.getBigInt64(at, true));
  }
  table(n) {
    const at = this.field(n);
    return at === null ? null : new Table(this.view, at + this.view.getUint32(at, true));
  }
  vector(n) {
    const field = this.field(n);
    if (field === null) return { length: 0, at: 0 };
    const at = field + this.view.getUint32(field, true);
    return { length: this.view.getUint32(at, true), at: at + 4 };
  }
  text(n) {
    const { length, at } = this.vector(n);
    return new TextDecoder().decode(new Uint8Array(this.view.buffer, this.view.byteOffset + at, length));
  }
  tables(n) {
    const { length, at } = this.vector(n);
    return Array.from({ length }, (_, i) => new Table(this.view, at + 4 * i + this.view.getUint32(at + 4 * i, true)));
  }
}

function schemaOf(table) {
  const fields = table.tables(1).map((field) => {
    const type = field.byte(2);
    const name = field.text(0);
    if (type !== UTF8 && type !== FLOATING_POINT) throw new Error(`the column ${name} is neither utf8 nor float32`);
    if (type === FLOATING_POINT && field.table(3)?.short(0) !== 1) throw new Error(`the column ${name} is not float32`);
    return { name, type };
  });
  const metadata = Object.fromEntries(table.tables(2).map((pair) => [pair.text(0), pair.text(1)]));
  return { fields, metadata };
}

// The columns of one batch: Float32Array, or { offsets, bytes } of texts.
function batchOf(header, body, fields) {
  if (header.field(3) !== null) throw new Error("the table is compressed, which this page does not read");
  const rows = header.long(0);
  const buffers = header.vector(2);
  let next = 0;
  const buffer = () => {
    if (next >= buffers.length) throw new Error("the table ends too early");
    const at = buffers.at + 16 * next;
    next += 1;
    const start = Number(header.view.getBigInt64(at, true)),
      length = Number(header.view.getBigInt64(at + 8, true));
    if (start < 0 || length < 0 || start + length > body.byteLength) throw new Error("the table ends too early");
    // Copied, because a typed array has to begin at a multiple of its width.
    return body.slice(start, start + length);
  };
  const columns = {};
  for (const { name, type } of fields) {
    buffer(); // validity: the server sends no nulls here
    if (type === FLOATING_POINT) columns[name] = new Float32Array(buffer().buffer, 0, rows);
    else {
      const offsets = buffer();
      columns[name] = {
        offsets: rows === 0 ? new Int32Array(1) : new Int32Array(offsets.buffer, 0, rows + 1),
        bytes: buffer(),
      };
    }
  }
  return { rows, columns };
}

// { metadata, batches: [{ rows, columns }] } of a whole stream.
export function readStream(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0,
    schema = null;
  const batches = [];
  while (at + 8 <= bytes.byteLength) {
    if (view.getUint32(at, true) !== CONTINUATION) throw new Error("this is not an Arrow stream");
    const size = view.getInt32(at + 4, true);
    if (size === 0) break;
    const start = at + 8;
    const metadata = new DataView(view.buffer, view.byteOffset + start, size);
    const message = new Table(metadata, metadata.getUint32(0, true));
    const bodyAt = start + size,
      length = message.long(3);
    if (length < 0 || bodyAt + length > bytes.byteLength) throw new Error("the stream ends too early");
    const kind = message.byte(1);
    if (kind === SCHEMA) schema = schemaOf(message.table(2));
    else if (kind === RECORD_BATCH)
      batches.push(batchOf(message.table(2), bytes.subarray(bodyAt, bodyAt + length), schema.fields));
    at = bodyAt + length;
  }
  if (schema === null) throw new Error("the stream has no schema");
  return { metadata: schema.metadata, batches };
}

// One float column of all batches.
export function floats(batches, name) {
  if (batches.length === 1) return batches[0].columns[name];
  const all = new Float32Array(batches.reduce((n, batch) => n + batch.rows, 0));
  let at = 0;
  for (const { rows, columns } of batches) {
    all.set(columns[name], at);
    at += rows;
  }
  return all;
}

// Reads texts one by one: a million of them as strings would be too much at once.
export function texts(batches, name) {
  const decoder = new TextDecoder();
  const starts = [0];
  for (const batch of batches) starts.push(starts.at(-1) + batch.rows);
  return (row) => {
    let batch = 0;
    while (row >= starts[batch + 1]) batch += 1;
    const { offsets, bytes } = batches[batch].columns[name];
    const at = row - starts[batch];
    return decoder.decode(bytes.subarray(offsets[at], offsets[at + 1]));
  };
}
