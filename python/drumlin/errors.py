"""What Drumlin raises. Each class inherits the built-in that a Python programmer would catch.

>>> import drumlin
>>> try:
...     drumlin.connect("memory://").collection("nothing")
... except KeyError as error:
...     print(type(error).__name__)
NotFound
"""

from __future__ import annotations

__all__ = [
    "AlreadyExists",
    "Conflict",
    "Corrupted",
    "DrumlinError",
    "ForkedProcess",
    "InvalidArgument",
    "LimitExceeded",
    "NotFound",
    "OutOfMemory",
    "OutcomeUnknown",
    "RaggedResult",
    "Unauthorized",
    "Unavailable",
]


class DrumlinError(Exception):
    """Any error of Drumlin."""


class InvalidArgument(DrumlinError, ValueError):
    """An argument does not fit; the message names it. Nothing was changed."""


class LimitExceeded(DrumlinError, ValueError):
    """An argument passes a limit; the message names the limit. Nothing was changed."""


class RaggedResult(DrumlinError, ValueError):
    """The lists of a result differ in length, so that they are no n × k array."""


class NotFound(DrumlinError, KeyError):
    """There is no such store, collection or version."""

    # KeyError shows its argument quoted.
    __str__ = Exception.__str__


class AlreadyExists(DrumlinError, ValueError):
    """The name is taken."""


class Conflict(DrumlinError, RuntimeError):
    """A condition of the call did not hold. Nothing was changed."""


class Unavailable(DrumlinError, ConnectionError):
    """The bucket does not answer. Nothing was changed; try again later."""


class OutcomeUnknown(DrumlinError, TimeoutError):
    """The bucket did not say whether the write was applied. Read the collection, or send the same write again."""


class Unauthorized(DrumlinError, PermissionError):
    """The credentials do not allow this."""


class OutOfMemory(DrumlinError, MemoryError):
    """There is no memory for it within the limit. Nothing was changed."""


class Corrupted(DrumlinError, RuntimeError):
    """An object in the bucket is damaged; the message names it."""


class ForkedProcess(DrumlinError, RuntimeError):
    """A store in memory was used in a forked process, which does not have it."""
