"""A stream of the bucket folded from its objects alone, as docs/format.md says, by three Parquet readers.

HEAD names the segments and the floor; commits from the floor on follow. The row with the highest address of an id
wins, and lives if it is a put. The address of a commit's row is version << 24 | row number."""

from __future__ import annotations

import io
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Stream:
    """One collection's objects: the segments that HEAD names, and the commits it does not cover yet."""

    segments: list[bytes]
    commits: dict[int, bytes]
    log: dict[int, bytes]

    @classmethod
    def of(cls, objects: dict[str, bytes], collection_id: str) -> Stream:
        prefix = f"c/{collection_id}/"
        head = json.loads(objects[f"{prefix}HEAD"])
        log = {
            int(key.removeprefix(f"{prefix}log/").removesuffix(".parquet")): body
            for key, body in objects.items()
            if key.startswith(f"{prefix}log/")
        }
        segments = [objects[segment["key"]] for segment in head["segs"]]
        return cls(segments, {version: body for version, body in log.items() if version >= head["floor"]}, log)


def pyarrow_fold(stream: Stream) -> dict[str, str]:
    """Live ids and their documents by pyarrow and plain Python."""
    latest: dict[str, tuple[int, str, str]] = {}
    for segment in stream.segments:
        for row in pq.read_table(io.BytesIO(segment)).to_pylist():
            latest[row["id"]] = max(latest.get(row["id"], (-1,)), (row["address"], row["op"], row["document"] or ""))
    for version, commit in sorted(stream.commits.items()):
        for number, row in enumerate(pq.read_table(io.BytesIO(commit)).to_pylist()):
            address = version << 24 | number
            latest[row["id"]] = max(latest.get(row["id"], (-1,)), (address, row["op"], row["document"] or ""))
    return {id: document for id, (_, op, document) in latest.items() if op == "put"}


def polars_fold(stream: Stream) -> dict[str, str]:
    """The same by Polars."""
    frames = [pl.read_parquet(io.BytesIO(segment)) for segment in stream.segments]
    for version, commit in sorted(stream.commits.items()):
        frame = pl.read_parquet(io.BytesIO(commit)).with_row_index("row")
        frames.append(frame.with_columns(address=pl.lit(version << 24, pl.UInt64) + pl.col("row").cast(pl.UInt64)))
    wanted = [frame.select("id", "op", "address", pl.col("document").fill_null("")) for frame in frames]
    latest = pl.concat(wanted).sort("address").group_by("id").last().filter(pl.col("op") == "put")
    return dict(zip(latest["id"], latest["document"], strict=True))


def duckdb_fold(stream: Stream) -> dict[str, str]:
    """The same by one SQL query of DuckDB over the files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, segment in enumerate(stream.segments):
            (folder / f"segment-{number}.parquet").write_bytes(segment)
        for version, commit in stream.commits.items():
            (folder / f"{version:020}.parquet").write_bytes(commit)
        parts = []
        if stream.segments:
            parts.append(f"SELECT id, op, document, address FROM read_parquet('{folder}/segment-*.parquet')")
        if stream.commits:
            version = "CAST(parse_filename(filename, true) AS UBIGINT)"
            parts.append(
                f"SELECT id, op, document, ({version} << 24) + CAST(file_row_number AS UBIGINT) AS address "
                f"FROM read_parquet('{folder}/0*.parquet', filename = true, file_row_number = true)"
            )
        query = (
            "SELECT id, coalesce(document, '') FROM (SELECT id, arg_max(op, address) AS op, "
            f"arg_max(coalesce(document, ''), address) AS document FROM ({' UNION ALL '.join(parts)}) GROUP BY id) "
            "WHERE op = 'put'"
        )
        return dict(duckdb.sql(query).fetchall())


def embedding_types(stream: Stream) -> dict[str, str]:
    """What each reader takes the embedding column of the newest commit for."""
    newest = stream.commits[max(stream.commits)]
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        file.write(newest)
        file.flush()
        described = duckdb.sql(f"SELECT typeof(embedding) FROM read_parquet('{file.name}') LIMIT 1").fetchall()
    arrow: pa.DataType = pq.read_schema(io.BytesIO(newest)).field("embedding").type
    return {
        "duckdb": described[0][0],
        "polars": str(pl.read_parquet(io.BytesIO(newest)).schema["embedding"]),
        "pyarrow": str(arrow),
    }
