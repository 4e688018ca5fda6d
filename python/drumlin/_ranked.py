"""Searches by words, by sparse vectors, and by several of these with an embedding."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from ._columns import included

# The names of fields, as searches over HTTP have them.
_FIELDS = {"documents": "document", "metadatas": "metadata", "uris": "uri", "embeddings": "embedding"}


@dataclass(frozen=True)
class RankedResult(Sequence[dict[str, Any]]):
    """The answer to :meth:`Collection.rank`: a sequence of hits, best first.

    Attributes
    ----------
    hits : list of dict
        ``id``; ``score`` (larger is better), or ``distance`` where an embedding alone was searched; ``parts``, which
        says how each search ranked the record; ``rerank_score``; ``highlights``; and the included fields.
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


def fields(options: dict[str, Any], include: Any) -> dict[str, Any]:
    """The fields of a search; options that are ``None`` are left out."""
    given = {name: value for name, value in options.items() if value is not None}
    given["include"] = [_FIELDS[name] for name in included(include)]
    return given


def result(answer: tuple[list[dict[str, Any]], list[dict[str, Any]], str | None, int]) -> RankedResult:
    """The result that an answer holds."""
    hits, groups, facets, version = answer
    return RankedResult(hits, groups, json.loads(facets) if facets else {}, version)
