"""Searches by words, by sparse vectors, and by several of these with an embedding."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload
from urllib.parse import quote, urlencode

from . import errors
from ._columns import included

# The kinds of the server's errors, as the routes name them.
_ERRORS: dict[str, type[errors.DrumlinError]] = {
    "invalid": errors.InvalidArgument,
    "limit": errors.LimitExceeded,
    "not_found": errors.NotFound,
    "gone": errors.NotFound,
    "already_exists": errors.AlreadyExists,
    "conflict": errors.Conflict,
    "unavailable": errors.Unavailable,
    "outcome_unknown": errors.OutcomeUnknown,
    "unauthorized": errors.Unauthorized,
    "no_room": errors.OutOfMemory,
    "corrupted": errors.Corrupted,
}
_FIELDS = {"documents": "document", "metadatas": "metadata", "uris": "uri", "embeddings": "embedding"}


@dataclass(frozen=True)
class RankedResult(Sequence[dict[str, Any]]):
    """The answer to :meth:`Collection.rank`: a sequence of hits, best first.

    Attributes
    ----------
    hits : list of dict
        ``id``; ``score`` (larger is better), or ``distance`` where an embedding alone was searched; ``parts``, which
        says how each search ranked the record; ``highlights``; and the included fields.
    groups : list of dict
        With ``group_by``: for each group its ``value`` and its ``results``.
    facets : dict
        With ``facets``: for each key its counts and figures.
    version : int
        The version of the collection that was searched.
    """

    hits: list[dict[str, Any]] = field(default_factory=list)
    groups: list[dict[str, Any]] = field(default_factory=list)
    facets: dict[str, Any] = field(default_factory=dict)
    version: int = 0

    @property
    def ids(self) -> list[str]:
        """The ids of the hits, best first."""
        return [hit["id"] for hit in self.hits]

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self.hits[place]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.hits)


def target(name: str, scope: tuple[str, str] | None, strong: bool) -> str:
    """The route of a collection's searches."""
    query = dict(zip(("tenant", "database"), scope or (), strict=False)) | ({"consistency": "strong"} if strong else {})
    return f"/api/collections/{quote(name, safe='')}/search" + (f"?{urlencode(query)}" if query else "")


def body(options: dict[str, Any], include: Any) -> bytes:
    """The body of a search; options that are ``None`` are left out."""
    given = {name: value for name, value in options.items() if value is not None}
    given["include"] = [_FIELDS.get(name, name) for name in included(include)]
    try:
        return _ENCODER.encode(given).encode()
    except (TypeError, ValueError) as error:
        raise errors.InvalidArgument(f"expected what can be written as JSON: {error}") from error


def _plain(value: Any) -> Any:
    """Arrays and numbers of NumPy, and other sequences, as Python's own."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (set, frozenset, tuple, range)):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


# Made once: `json.dumps` would make one for each search.
_ENCODER = json.JSONEncoder(default=_plain)


def result(answer: tuple[int, list[tuple[bytes, bytes]], bytes]) -> RankedResult:
    """The result that an answer holds.

    Raises
    ------
    DrumlinError
        Of the kind that the answer names.
    """
    status, _, content = answer
    read = json.loads(content)
    if status != 200:
        told = read["error"]
        raise _ERRORS.get(told["kind"], errors.DrumlinError)(told["message"])
    lists = read.get("results") or [[]]
    return RankedResult(lists[0], read.get("groups", []), read.get("facets", {}), read["version"])
