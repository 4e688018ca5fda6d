"""Imports of large sources, in large commits of which several are under way at once. How far one came is remembered."""

from __future__ import annotations

import glob
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._columns import arrow, as_json, is_rows, listed_ids, pairs, rows_of
from ._results import BulkResult
from ._vectors import some
from .errors import InvalidArgument

if TYPE_CHECKING:
    from ._collection import Collection
    from ._drumlin import Pending, Task

# Seconds between two notes of how far an import came: each is a commit of the catalog.
_NOTE_INTERVAL = 10.0


@dataclass(frozen=True)
class Options:
    columns: Mapping[str, str] | None
    others: str
    upsert: bool
    batch_rows: int
    in_flight: int
    progress: bool | Callable[[int, int], None]
    resume: str | None
    bad_rows: str

    def check(self) -> None:
        if self.bad_rows not in ("refuse", "set aside"):
            raise InvalidArgument(f'bad_rows: expected "refuse" or "set aside", got {self.bad_rows!r}')
        for name in ("batch_rows", "in_flight"):
            if getattr(self, name) < 1:
                raise InvalidArgument(f"{name}: expected at least 1, got {getattr(self, name)}")


def add_batches(collection: Collection, source: Any, options: Options) -> BulkResult:
    """See :meth:`drumlin.Collection.add_batches`."""
    options.check()
    run = _Run(collection, options)
    meter = _Meter(options.progress, _rows_in(source))
    try:
        tables = _tables(source, options.batch_rows, options.columns or {}, texts=collection._inner.takes_texts)
        for table in _of_size(_passed_over(tables, run.done), options.batch_rows):
            run.start(table)
            while len(run.window) >= options.in_flight:
                meter.note(*run.settle())
        while run.window:
            meter.note(*run.settle())
    except BaseException as error:
        run.give_up(cancel=not isinstance(error, Exception))
        raise
    finally:
        meter.close()
    run.note(last=True)
    return BulkResult(run.applied, run.skipped, run.version, run.done, run.bad, time.monotonic() - run.began)


class _Run:
    """Commits under way, and the sums of those before them."""

    def __init__(self, collection: Collection, options: Options) -> None:
        self.collection, self.options = collection, options
        self.window: deque[tuple[Future[Any], Task, int, int]] = deque()
        self.key = f"import:{options.resume}"
        self.done = self._noted()
        self.started = self.done
        self.applied = self.skipped = 0
        self.version = int(collection.info()["version"])
        self.bad: list[tuple[int, str]] = []
        self.began = self.noted_at = time.monotonic()

    def _noted(self) -> int:
        if self.options.resume is None:
            return 0
        # As the bucket has it: another process may have noted more.
        infos = self.collection.database.infos(strong=True)
        found = next((info for info in infos if info["id"] == self.collection.id), self.collection.info())
        return int((found["metadata"] or {}).get(self.key, 0))

    def start(self, table: Any) -> None:
        options = self.options
        way = "upsert" if options.upsert else "add"
        columns, aside = pairs(options.columns), options.bad_rows == "set aside"
        pending = self.collection._inner.write_arrow(way, table, columns, options.others, self.started, aside)
        future, task = _started(pending)
        self.window.append((future, task, table.num_rows, table.nbytes))
        self.started += table.num_rows

    def settle(self) -> tuple[int, int]:
        """Waits for the oldest commit. Returns its rows and bytes."""
        future, _, rows, size = self.window[0]
        applied, skipped, version, _, bad = future.result()
        self.window.popleft()
        self.applied, self.skipped = self.applied + applied, self.skipped + skipped
        self.version = max(self.version, version)
        self.bad.extend(bad)
        self.done += rows
        self.note(last=False)
        return rows, size

    def note(self, *, last: bool) -> None:
        """Remembers in the collection how far this came."""
        if self.options.resume is None or not (last or time.monotonic() - self.noted_at > _NOTE_INTERVAL):
            return
        self.collection.update_metadata({self.key: self.done})
        self.noted_at = time.monotonic()

    def give_up(self, *, cancel: bool) -> None:
        """Lets the commits under way finish, or ends them; remembers how far this came."""
        if cancel:
            for _, task, _, _ in self.window:
                task.cancel()
            return
        for future, _, _, _ in self.window:
            future.exception()
        # What came before the first failure counts.
        while self.window and self.window[0][0].exception() is None:
            self.settle()
        self.note(last=True)


def _started(pending: Pending) -> tuple[Future[Any], Task]:
    future: Future[Any] = Future()

    def done(result: Any, error: BaseException | None) -> None:
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    return future, pending.start(done)


def _tables(source: Any, rows: int, naming: Mapping[str, str], *, texts: bool) -> Iterator[Any]:
    """The source as pyarrow tables of any size. ``naming`` says which column is which part of a record, and ``texts``
    whether records may come without an embedding."""
    import pyarrow as pa

    module = type(source).__module__.partition(".")[0]
    if isinstance(source, (str, os.PathLike)):
        import pyarrow.parquet as pq

        for path in _paths(source):
            for batch in pq.ParquetFile(path).iter_batches(batch_size=rows):
                yield pa.Table.from_batches([batch])
    elif module == "datasets":
        yield from source.with_format("arrow").iter(batch_size=rows)
    elif module == "polars" and hasattr(source, "collect"):
        if hasattr(source, "collect_batches"):
            pieces = source.collect_batches(chunk_size=rows, maintain_order=True)
        else:
            pieces = [source.collect(engine="streaming")]
        yield from (_table(piece, naming, texts) for piece in pieces)
    elif hasattr(source, "to_batches"):
        yield from (pa.Table.from_batches([batch]) for batch in source.to_batches())
    elif is_rows(source) or not isinstance(source, Iterable) or module == "pandas":
        yield _table(source, naming, texts)
    elif hasattr(source, "__arrow_c_stream__"):
        yield from (pa.Table.from_batches([batch]) for batch in pa.RecordBatchReader.from_stream(source))
    else:
        yield from (_table(piece, naming, texts) for piece in source)


def _paths(source: str | os.PathLike[str]) -> list[str]:
    path = os.fspath(source)
    pattern = os.path.join(path, "**", "*.parquet") if os.path.isdir(path) else path
    found = sorted(glob.glob(pattern, recursive=True))
    if not found:
        raise InvalidArgument(f"expected Parquet files, got none at {path}")
    return found


def _table(piece: Any, naming: Mapping[str, str], texts: bool) -> Any:
    """A piece as a pyarrow table; dicts with their metadata as JSON text, as values may differ in type."""
    import pyarrow as pa

    if not is_rows(piece):
        return pa.table(arrow(piece))
    columns = rows_of(piece, naming, texts=texts)
    parts = {
        "id": pa.array(listed_ids(columns["ids"]), pa.string()),
        "embedding": _embeddings(columns["embeddings"]),
        "document": pa.array(columns["documents"], pa.string()),
        "uri": pa.array(columns["uris"], pa.string()),
        "metadata": pa.array([as_json("metadata", value) for value in columns["metadatas"]], pa.string()),
    }
    return pa.table({naming.get(part, part): column for part, column in parts.items()})


def _embeddings(rows: list[Any]) -> Any:
    """A column of embeddings. Rows that have none are null."""
    import pyarrow as pa

    vectors, given = some("embedding", rows)
    if given is None and vectors is not None:
        return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    made = iter(() if vectors is None else vectors)
    return pa.array([next(made) if row is not None else None for row in rows], pa.list_(pa.float32()))


def _passed_over(tables: Iterable[Any], rows: int) -> Iterator[Any]:
    """The tables without the first rows."""
    for table in tables:
        passed = min(rows, table.num_rows)
        rows -= passed
        yield table.slice(passed) if passed else table


def _of_size(tables: Iterable[Any], rows: int) -> Iterator[Any]:
    """The same rows in tables of ``rows`` each, as far as neighbours have the same columns."""
    import pyarrow as pa

    waiting: list[Any] = []
    for table in tables:
        if waiting and not waiting[-1].schema.equals(table.schema):
            yield pa.concat_tables(waiting)
            waiting = []
        if table.num_rows:
            waiting.append(table)
        count = sum(piece.num_rows for piece in waiting)
        if count < rows:
            continue
        whole = pa.concat_tables(waiting)
        yield from (whole.slice(at, rows) for at in range(0, count // rows * rows, rows))
        rest = whole.slice(count // rows * rows)
        waiting = [rest] if rest.num_rows else []
    if waiting:
        yield pa.concat_tables(waiting)


def _rows_in(source: Any) -> int | None:
    """How many rows the source has, where that is known at once."""
    if isinstance(source, (str, os.PathLike)):
        import pyarrow.parquet as pq

        return sum(int(pq.read_metadata(path).num_rows) for path in _paths(source))
    if hasattr(source, "num_rows"):
        return int(source.num_rows)
    return len(source) if type(source).__module__.partition(".")[0] == "pandas" else None


class _Meter:
    """Shows how far an import came."""

    def __init__(self, progress: bool | Callable[[int, int], None], total: int | None) -> None:
        self.rows = self.bytes = 0
        self.began = self.shown = time.monotonic()
        self.bar: Any = None
        self.tell = progress if callable(progress) else self._show if progress else None
        if progress is True:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                return
            self.bar = tqdm(total=total, unit=" records", unit_scale=True)

    def note(self, rows: int, size: int) -> None:
        self.rows, self.bytes = self.rows + rows, self.bytes + size
        if self.bar is not None:
            self.bar.set_postfix_str(f"{self._rate(self.bytes) / 1e6:.1f} MB/s", refresh=False)
            self.bar.update(rows)
        elif self.tell is not None:
            self.tell(self.rows, self.bytes)

    def _rate(self, amount: int) -> float:
        return amount / max(time.monotonic() - self.began, 1e-9)

    def _show(self, rows: int, size: int) -> None:
        if time.monotonic() - self.shown > 1:
            self.shown = time.monotonic()
            rates = f"{self._rate(rows):,.0f} records/s, {self._rate(size) / 1e6:.1f} MB/s"
            print(f"{rows:,} records, {rates}", file=sys.stderr)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
