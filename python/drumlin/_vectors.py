"""Embeddings as the extension module takes them: n × d, float32, C-contiguous.

The rule: such a NumPy array is used as it is, without a copy. Everything else is converted once. Floats of another
width and integers round to the nearest float32; booleans, complex numbers, text and ragged lists are refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidArgument


def matrix(name: str, values: Any) -> NDArray[np.float32]:
    """``values`` as an n × d array of float32, shared where it is one already; one vector is a matrix of one row."""
    if type(values) is np.ndarray and values.dtype == np.float32 and values.flags.c_contiguous:
        # Before all else: a search of one vector takes a few microseconds more without this.
        if values.ndim == 2:
            return values
        if values.ndim == 1 and values.size:
            return values[np.newaxis]
    array = _array(name, values)
    if array.ndim == 1 and array.size:
        array = array[np.newaxis]
    if array.ndim != 2:
        raise InvalidArgument(f"{name}: expected n × d numbers, got an array of shape {array.shape}")
    return array


def some(name: str, values: Any) -> tuple[NDArray[np.float32] | None, list[bool] | None]:
    """``values`` as :func:`matrix`, without the rows that are ``None``; and which rows are not, if not all."""
    if values is None:
        return None, None
    if isinstance(values, (list, tuple)) and any(row is None for row in values):
        given = [row for row in values if row is not None]
        return (matrix(name, given) if given else None), [row is not None for row in values]
    return matrix(name, values), None


def texts_of(queries: Any) -> list[str] | None:
    """``queries`` as a list of texts, if that is what they are."""
    if isinstance(queries, str):
        return [queries]
    if isinstance(queries, np.ndarray):
        return [str(text) for text in queries] if queries.dtype.kind == "U" and queries.ndim == 1 else None
    return list(queries) if isinstance(queries, (list, tuple)) and queries and isinstance(queries[0], str) else None


def is_one(values: Any) -> bool:
    """Whether ``values`` is one vector, or one text, rather than several."""
    if isinstance(values, str):
        return True
    ndim = getattr(values, "ndim", None)
    if isinstance(ndim, int):
        return ndim == 1 and getattr(values, "dtype", None) != object
    try:
        return len(values) > 0 and np.ndim(values[0]) == 0 and not hasattr(values[0], "__len__")
    except (IndexError, KeyError, TypeError, ValueError):
        return False


def _array(name: str, values: Any) -> NDArray[np.float32]:
    try:
        array = _numpy(values)
        if array.dtype == object and array.ndim == 1:
            # A column of pandas, or an array of arrays.
            array = np.stack([_numpy(row) for row in array]) if array.size else array.astype(np.float32)
    except (BufferError, TypeError, ValueError) as error:
        raise InvalidArgument(f"{name}: expected numbers, all rows of the same length ({error})") from error
    # Kind V: the narrow floats of ml_dtypes, such as bfloat16, that JAX uses.
    if array.size and (array.dtype.kind not in "fiuV" or array.dtype.names is not None):
        raise InvalidArgument(f"{name}: expected numbers that float32 can hold, got {array.dtype}")
    try:
        with np.errstate(over="ignore"):
            # A value beyond float32 becomes infinite, which is refused with its place.
            return np.ascontiguousarray(array, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"{name}: expected numbers, got {array.dtype} ({error})") from error


def _numpy(values: Any) -> NDArray[Any]:
    """``values`` as a NumPy array of its own type, shared where that is possible."""
    if isinstance(values, np.ndarray):
        return values
    if type(values).__module__.partition(".")[0] == "torch":
        # NumPy has no bfloat16, and reads neither a graph of gradients nor another device.
        values = values.detach()
        values = values.float() if "bfloat16" in str(values.dtype) else values
        values = values.cpu() if hasattr(values, "cpu") else values
    if hasattr(values, "to_pylist"):
        # Arrow's lists are arrays of objects to NumPy.
        return np.asarray(values.to_pylist())
    if hasattr(values, "__dlpack__"):
        try:
            return np.from_dlpack(values)
        except (AttributeError, BufferError, RuntimeError, TypeError, ValueError):
            # Another device, or a type that DLPack and NumPy do not share: CuPy's `get`, or `__array__`.
            values = values.get() if hasattr(values, "get") and not hasattr(values, "__array__") else values
    return np.asarray(values)
