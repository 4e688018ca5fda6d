"""The exceptions of Drumlin. Each class is also the built-in class that fits it, such as ``KeyError``.

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
    """Any error of Drumlin. An error of none of the classes below is a bug."""


class InvalidArgument(DrumlinError, ValueError):
    """An argument does not fit; the message names it. Nothing was changed."""


class LimitExceeded(DrumlinError, ValueError):
    """An argument is beyond a limit; the message names the limit. Nothing was changed."""


class RaggedResult(DrumlinError, ValueError):
    """The lists of a result differ in length, so that they are no q × k array."""


class NotFound(DrumlinError, KeyError):
    """There is no such store, collection or version."""

    # KeyError shows its argument quoted.
    __str__ = Exception.__str__


class AlreadyExists(DrumlinError, ValueError):
    """The name is taken."""


class Conflict(DrumlinError, RuntimeError):
    """Another writer was first. Nothing was changed; the same call may succeed now."""


class Unavailable(DrumlinError, ConnectionError):
    """The bucket does not answer, or refuses the call. Nothing was changed; the message says why."""


class OutcomeUnknown(DrumlinError, TimeoutError):
    """The bucket did not say whether the write was applied. Read the collection to see, or write the same again."""


class Unauthorized(DrumlinError, PermissionError):
    """The bucket refuses the credentials with which a store is to be opened, or there are none. A bucket that refuses
    them later, when the store is open, is :class:`Unavailable`."""


class OutOfMemory(DrumlinError, MemoryError):
    """There is no room within the memory limit; the message names use and need. Nothing was changed."""


class Corrupted(DrumlinError, RuntimeError):
    """An object in the bucket is damaged; the message names it."""


class ForkedProcess(DrumlinError, RuntimeError):
    """A store in memory was used in a forked process, which does not have it."""
