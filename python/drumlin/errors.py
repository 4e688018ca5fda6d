"""What Drumlin raises. Each class inherits the built-in that a Python programmer would catch."""


class DrumlinError(Exception):
    """Any error of Drumlin."""


class InvalidArgument(DrumlinError, ValueError):
    """An argument does not fit; the message names it. Nothing was changed."""


class LimitExceeded(DrumlinError, ValueError):
    """An argument passes a limit; the message names the limit. Nothing was changed."""


class NotFound(DrumlinError, KeyError):
    """There is no such collection, record or file."""

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


class OutOfMemory(DrumlinError, MemoryError):
    """There is no memory for it within the limit. Nothing was changed."""


class Corrupted(DrumlinError, RuntimeError):
    """An object in the bucket is damaged; the message names it."""
