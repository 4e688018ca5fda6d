"""Whether two servers answered the same: ids, times and the noise of floats left aside."""

from __future__ import annotations

import re
from typing import Any

from .wire import Answer, Request, Wire

UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
# Distances are sums of f32 in an order that each server chooses.
NOISE = 2e-5
# What follows is the sentence of a parser or validator, of serde's or its kin: their words, types and positions, the
# last even in an order that changes from request to request. Of a filter ours adds the reason behind the same words.
DETAIL = re.compile(
    r"^(Failed to (?:deserialize the JSON body into the target type|parse the request body as JSON"
    r"|deserialize query string): |Validation error: name: (?=Validation error: length|expected at least)"
    r"|Invalid where(?: document)? clause(?=$|: )).*$",
    re.DOTALL,
)


def normalised(request: Request, answer: Answer, wire: Wire) -> Any:
    """The body with its ids replaced by their slots, in an order that both servers share."""
    text = answer.text
    for slot, collection_id in wire.ids.items():
        text = text.replace(collection_id, f"{{{slot}}}")
    body = Answer(answer.status, answer.kind, UUID.sub("{uuid}", text)).json()
    if body is None:
        return text
    route = request.path.split("?")[0].rsplit("/", 1)[-1]
    if isinstance(body, dict):
        if "nanosecond heartbeat" in body:
            body["nanosecond heartbeat"] = "{time}"
        if answer.status >= 400 and isinstance(body.get("message"), str):
            body["message"] = DETAIL.sub(r"\1", body["message"])
        if route == "query" and body.get("distances"):
            body = ties_by_id(body)
    if route == "collections" and isinstance(body, list):
        assert listed(answer) == sorted(listed(answer)), f"{wire.url}: collections are not in the order of their ids"
        # Which collections are on a page depends on the ids.
        body = len(body) if "?" in request.path else sorted(body, key=lambda each: each["name"])
    return body


def listed(answer: Answer) -> list[str]:
    return [each["id"] for each in answer.json()]


def ties_by_id(body: dict[str, Any]) -> dict[str, Any]:
    """Rows of (nearly) one distance in the order of their ids: Chroma promises none."""
    body = {name: list(column) if isinstance(column, list) else column for name, column in body.items()}
    for query, distances in enumerate(body["distances"]):
        order: list[int] = []
        tied: list[int] = []
        for row, distance in enumerate(distances):
            if tied and not close(distance, distances[tied[-1]]):
                order += sorted(tied, key=lambda row: body["ids"][query][row])
                tied = []
            tied.append(row)
        order += sorted(tied, key=lambda row: body["ids"][query][row])
        for name in ("ids", "embeddings", "documents", "uris", "metadatas", "distances"):
            if body[name] is not None:
                body[name][query] = [body[name][query][row] for row in order]
    return body


def close(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    return a == b or (isinstance(a, float) and abs(a - b) <= NOISE * max(1.0, abs(a), abs(b)))


def first_difference(theirs: Any, ours: Any, where: str = "body") -> str | None:
    """The first place at which two bodies differ, in words."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if theirs.keys() != ours.keys():
            only = sorted(theirs.keys() - ours.keys()), sorted(ours.keys() - theirs.keys())
            return f"{where}: only theirs has {only[0]}, only ours has {only[1]}"
        pairs = [(theirs[key], ours[key], f"{where}.{key}") for key in theirs]
    elif isinstance(theirs, list) and isinstance(ours, list):
        if len(theirs) != len(ours):
            return f"{where}: theirs has {len(theirs)} items, ours {len(ours)}"
        pairs = [(a, b, f"{where}[{i}]") for i, (a, b) in enumerate(zip(theirs, ours, strict=True))]
    else:
        return None if close(theirs, ours) else f"{where}: theirs {theirs!r}, ours {ours!r}"
    return next((found for a, b, at in pairs if (found := first_difference(a, b, at))), None)


def difference(request: Request, theirs: tuple[Answer, Wire], ours: tuple[Answer, Wire]) -> str | None:
    """What differs between two answers to one request; None where they say the same."""
    if theirs[0].status != ours[0].status:
        return f"status: theirs {theirs[0].status}, ours {ours[0].status}"
    if theirs[0].kind != ours[0].kind:
        return f"content-type: theirs {theirs[0].kind!r}, ours {ours[0].kind!r}"
    return first_difference(normalised(request, *theirs), normalised(request, *ours))
