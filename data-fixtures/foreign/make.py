"""Makes the files of this folder: tables as other tools write them, and hostile ones. Needs pyarrow.

Each good file holds the records a and b (or 1 and 2) with the vectors [0.5, 0.25] and [3, 4]; `src/interchange/` and
`src/transfer/` read them in tests.
"""

import pathlib
import struct
import uuid

import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent
IDS = ["a", "b"]
VECTORS = [[0.5, 0.25], [3.0, 4.0]]
FLOATS = pa.array(VECTORS, pa.list_(pa.float32()))


def table(**columns):
    return pa.table(columns)


def write(name, what, **how):
    pq.write_table(what, HERE / f"{name}.parquet", **how)


plain = table(id=IDS, embedding=FLOATS, document=["one", "two"])
for codec in ["none", "snappy", "gzip", "brotli", "lz4", "zstd"]:
    write(f"codec-{codec}", plain, compression=codec)
    write(f"codec-{codec}-v2", plain, compression=codec, data_page_version="2.0")
for name, vectors in {
    "double": pa.array(VECTORS),
    "large-list-double": pa.array(VECTORS, pa.large_list(pa.float64())),
    "fixed-size-double": pa.array(VECTORS, pa.list_(pa.float64(), 2)),
    "float16": pa.array(VECTORS).cast(pa.list_(pa.float16())),
    "json-text": pa.array(["[.5,.25]", "[3, 4]"]),
}.items():
    write(f"vectors-{name}", table(id=IDS, embedding=vectors, document=["one", "two"]))
write("vectors-int64", table(id=IDS, embedding=[[1, 2], [3, 4]]))
write("ids-dictionary", table(id=pa.array(IDS).dictionary_encode(), embedding=FLOATS))
write("ids-int64", table(id=[1, 2], embedding=FLOATS))
uuids = pa.array([uuid.UUID(int=1).bytes, uuid.UUID(int=2).bytes], pa.uuid())
write("ids-uuid", table(id=uuids, embedding=FLOATS))
write("metadata-struct", table(id=IDS, embedding=FLOATS, metadata=[{"k": 1, "t": ["x"]}, {"k": None, "t": None}]))
entries = pa.array([[("k", "v")], []], pa.map_(pa.string(), pa.string()))
write("metadata-map", table(id=IDS, embedding=FLOATS, metadata=entries))
write("metadata-text", table(id=IDS, embedding=FLOATS, metadata=['{"k": 1, "none": null}', None]))
days = pa.array([0, 1], pa.date32())
write("other-columns", table(id=IDS, vector=FLOATS, text=["one", "two"], year=[2024, None], day=days))
write("duplicate-ids", table(id=["a", "a"], embedding=FLOATS))
strings = table(id=[f"key-{i:04}" for i in range(2000)], embedding=pa.array([[float(i)] for i in range(2000)]))
write("delta-encodings", strings, use_dictionary=False, column_encoding={"id": "DELTA_BYTE_ARRAY"})
write("byte-stream-split", plain, use_dictionary=False, column_encoding={"embedding.list.element": "BYTE_STREAM_SPLIT"})

# One value of a megabyte, two thousand times: 2 GB of documents.
rows = 2000
words = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["d" * (1 << 20)]))
ones = pa.FixedSizeListArray.from_arrays(pa.array([1.0] * (2 * rows), pa.float32()), 2)
huge = table(id=[f"r{i}" for i in range(rows)], embedding=ones, document=words)
write("hostile-dictionary", huge, compression="zstd", store_schema=False)
# One vector of a hundred million zeros.
zeros = pa.FixedSizeListArray.from_arrays(pa.array([0.0] * 100_000_000, pa.float32()), 100_000_000)
write("hostile-zeros", table(id=["a"], embedding=zeros), compression="zstd", store_schema=False)
# A document of 64 MiB, as gzip makes it small.
write("hostile-gzip", table(id=["a"], embedding=FLOATS[:1], document=["d" * (64 << 20)]), compression="gzip",
      compression_level=9, use_dictionary=False, write_statistics=False)


def thrift_int(number):
    number = (number << 1) ^ (number >> 63)
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def count(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def footer(elements):
    """A footer with a schema of these elements, each (name, children)."""
    schema = b""
    for name, children in elements:
        schema += b"\x35" + thrift_int(0) + b"\x18" + count(len(name)) + name  # repetition, name
        schema += (b"\x15" + thrift_int(children) if children else b"") + b"\x00"
    metadata = b"\x15" + thrift_int(1) + b"\x19\xfc" + count(len(elements)) + schema + b"\x16\x00" + b"\x19\x0c\x00"
    return b"PAR1" + metadata + struct.pack("<I", len(metadata)) + b"PAR1"


# Groups within groups, deeper than a stack; and a group of two thousand million children.
(HERE / "hostile-deep.parquet").write_bytes(footer([(b"g", 1)] * 5_000 + [(b"x", 0)]))
(HERE / "hostile-wide.parquet").write_bytes(footer([(b"g", (1 << 31) - 1), (b"x", 0)]))

for codec in ["lz4", "zstd"]:
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_stream(HERE / f"codec-{codec}.arrows", plain.schema, options=options) as stream:
        stream.write_table(plain)
    with pa.ipc.new_stream(HERE / f"hostile-{codec}.arrows", pa.schema([("id", pa.string())]), options=options) as stream:
        stream.write_table(table(id=["d" * (16 << 20)]))
