"""Where Drumlin means to answer otherwise than Chroma's server, and why. Everything else has to agree.

Each entry belongs to one edge (`wire.Request.edge`): what the real server answers, and what ours does. A difference
that is not exactly this one is a failure, and so is one that nothing shows any more."""

from __future__ import annotations

from dataclasses import dataclass

from .wire import Answer

DROPPED = 0


@dataclass(frozen=True)
class Difference:
    """Statuses of both, and the reason. Bodies of equal status may differ as the reason says."""

    reason: str
    theirs: int
    ours: int

    def covers(self, theirs: Answer, ours: Answer) -> bool:
        return (theirs.status, ours.status) == (self.theirs, self.ours)


DIFFERENCES: dict[str, Difference] = {
    "max_batch_size": Difference("ours advertises its own, larger limit", 200, 200),
    "crn": Difference("theirs panics and drops the connection; resource names exist in their cloud only", DROPPED, 404),
    "resource_name": Difference("theirs forgets a tenant's resource_name, ours keeps it", 200, 200),
    "patch of a missing tenant": Difference("theirs says that it changed a tenant that is not there", 200, 404),
    "database in a missing tenant": Difference("theirs makes a database in a tenant that does not exist", 200, 404),
    "record route of another database": Difference(
        "theirs looks at the collection's id only; ours at its tenant and database too, as keys may be bound to them",
        200,
        404,
    ),
    "list in a collection's metadata": Difference("theirs panics and drops the connection", DROPPED, 400),
    "rename to a name that is taken": Difference("theirs says 500 with SQLite's words for a conflict", 500, 409),
    "query with an unknown id": Difference(
        "theirs says 500, ours that the id is unknown; both skip it by a filter", 500, 400
    ),
    "infinite query": Difference("theirs answers null distances; no record is nearest to infinity", 200, 400),
    "fraction against an integer": Difference(
        "theirs cuts the fraction off the operand when it meets an integer: 2 equals 2.5, and is not less than 2.5",
        200,
        200,
    ),
    "empty list in the schema": Difference("an empty list has no type; theirs takes it for one of booleans", 200, 200),
    "body over the limit": Difference("ours takes larger bodies (64 MiB), with documents up to 8 MiB", 413, 400),
    "reserved key": Difference("theirs finds documents by the name of their column, too", 200, 200),
    "first version": Difference("theirs no longer has it; ours serves it to older clients", 410, 200),
    "outside of the API": Difference("ours says where the routes are listed", 404, 404),
    "functions": Difference("in other words: theirs names the type of its own that lacks them", 501, 501),
    "search": Difference("theirs has no search on one machine; ours answers plain nearest neighbours", 501, 200),
    "fork": Difference("theirs cannot fork on one machine", 501, 200),
    "fork_count": Difference("theirs cannot fork on one machine", 501, 200),
    "indexing_status": Difference("theirs answers 500, ours its counters", 500, 200),
}
