"""Ids, documents, uris and metadata as lists; and records as tables."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import InvalidArgument

# Names of the parts of a record in a list of dicts; every other key is a value of metadata.
_PARTS = {
    "id": ("id",),
    "embedding": ("embedding", "vector"),
    "document": ("document", "text"),
    "uri": ("uri",),
    "metadata": ("metadata",),
}


def listed(values: Any) -> list[Any] | None:
    """A column, or one value of it, as a list; ``None`` stays."""
    if values is None or isinstance(values, list):
        return values
    if isinstance(values, (str, Mapping)):
        return [values]
    for way in ("to_pylist", "tolist", "to_list"):
        if hasattr(values, way):
            made = getattr(values, way)()
            return made if isinstance(made, list) else [made]
    return list(values)


def listed_ids(values: Any) -> list[str] | None:
    """Ids as text. Integers and UUIDs become text; anything else that is no text is refused by the extension module."""
    ids = listed(values)
    if ids is None or all(type(value) is str for value in ids):
        return ids
    plain = (int, np.integer, uuid.UUID)
    return [str(value) if isinstance(value, plain) and not isinstance(value, bool) else value for value in ids]


def as_json(name: str, value: Mapping[str, Any] | None) -> str | None:
    """A filter as JSON text; ``None`` and an empty one are no filter."""
    if not value:
        return None
    try:
        return json.dumps(value, default=_plain)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"{name}: {error}") from error


def _plain(value: Any) -> Any:
    """A number of NumPy, or an array of them, as Python's own."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"expected text, numbers, booleans, lists and dicts, got {type(value).__name__}")


def rows_of(
    rows: Sequence[Mapping[str, Any]], naming: Mapping[str, str] | None, *, texts: bool
) -> dict[str, list[Any]]:
    """A list of dicts as the columns of :meth:`Collection.add`. ``naming`` says which key is which part, ``texts``
    whether rows may come without an embedding."""
    naming = naming or {}
    for part in naming:
        if part not in _PARTS:
            raise InvalidArgument(f"columns: expected some of {', '.join(_PARTS)}, got {part!r}")
    taken = set(naming.values())
    parts = {
        part: (naming[part],) if part in naming else tuple(name for name in names if name not in taken)
        for part, names in _PARTS.items()
    }
    columns: dict[str, list[Any]] = {name: [] for name in ("ids", "embeddings", "documents", "uris", "metadatas")}
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidArgument(f"row {number}: expected a dict, got {type(row).__name__}")
        rest = dict(row)
        found = {part: next((rest.pop(name) for name in names if name in rest), None) for part, names in parts.items()}
        for part in ("id",) if texts else ("id", "embedding"):
            if found[part] is None:
                raise InvalidArgument(f"row {number}: {naming.get(part, part)!r} is missing, among {sorted(map(str, row))}")
        metadata = found["metadata"]
        if isinstance(metadata, str):
            try:
                metadata = json.loads(metadata)
            except ValueError as error:
                raise InvalidArgument(f"row {number}: metadata: expected JSON text: {error}") from error
        if metadata is not None and not isinstance(metadata, Mapping):
            raise InvalidArgument(f"row {number}: metadata: expected a dict, got {type(metadata).__name__}")
        columns["ids"].append(found["id"])
        columns["embeddings"].append(found["embedding"])
        columns["documents"].append(found["document"])
        columns["uris"].append(found["uri"])
        columns["metadatas"].append({**(metadata or {}), **rest} or None)
    return columns


def is_rows(table: Any) -> bool:
    """Whether ``table`` is a list of dicts."""
    return isinstance(table, Sequence) and not isinstance(table, str) and all(isinstance(row, Mapping) for row in table)


def arrow(table: Any) -> Any:
    """``table`` as an object with ``__arrow_c_stream__``."""
    if hasattr(table, "__arrow_c_stream__"):
        return table
    if hasattr(table, "__arrow_c_array__"):
        import pyarrow as pa

        return pa.Table.from_batches([pa.record_batch(table)])
    if hasattr(table, "fetch_arrow_table"):
        return table.fetch_arrow_table()
    raise InvalidArgument(
        f"expected a table, a frame or a list of dicts, got {type(table).__name__}; ids and embeddings go by name"
    )


def pairs(columns: Mapping[str, str] | None) -> str:
    """``{"embedding": "vector"}`` as the extension module takes it."""
    return ",".join(f"{part}={column}" for part, column in (columns or {}).items())


Include = Iterable[str]
FIELDS = ("documents", "metadatas", "uris", "embeddings")


def included(include: Include | str | None) -> list[str]:
    """The names of fields, checked."""
    names = [include] if isinstance(include, str) else list(include or ())
    for name in names:
        if name not in FIELDS:
            raise InvalidArgument(f"include: expected some of {', '.join(FIELDS)}, got {name!r}")
    return names
