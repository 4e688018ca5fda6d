"""Embeddings of every library that holds arrays, and the rule by which they are converted."""

from __future__ import annotations

import numpy as np
import pytest

import drumlin
from drumlin._vectors import is_one, matrix


def stored(notes) -> np.ndarray:
    return notes.get(include=["embeddings"]).embeddings


def test_float32_in_c_order_is_used_in_place():
    rows = np.ones((3, 2), np.float32)
    assert matrix("rows", rows) is rows
    assert np.shares_memory(matrix("rows", rows[0]), rows)
    assert not np.shares_memory(matrix("rows", np.asfortranarray(rows)), rows)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i1", "i4", "i8", "u1", "u4", ">f4", ">i2"])
def test_numbers_of_every_width_and_order_become_float32(notes, kind):
    rows = np.array([[1, 2, 3], [4, 5, 6]]).astype(kind)[:, ::-1]
    notes.add(ids=["a", "b"], embeddings=rows)
    assert stored(notes).dtype == np.float32 and stored(notes).tolist() == [[3, 2, 1], [6, 5, 4]]


def test_bfloat16_becomes_float32(notes):
    types = pytest.importorskip("ml_dtypes")
    rows = np.array([[1.5, -2.0]]).astype(types.bfloat16)
    notes.add(ids=["a"], embeddings=rows)
    assert stored(notes).tolist() == [[1.5, -2.0]]


@pytest.mark.parametrize(
    "values", [[[1, 2], [3]], [["a", "b"]], [[1j, 2]], [[True, False]], np.zeros((1, 2, 3)), [[None, 1.0]], [{}]]
)
def test_what_is_no_matrix_of_numbers_is_refused(notes, values):
    with pytest.raises(drumlin.InvalidArgument, match="embeddings"):
        notes.add(ids=["a"] * len(values), embeddings=values)


def test_numbers_that_float32_cannot_hold_are_refused(notes):
    for value in (1e300, np.nan, np.inf):
        with pytest.raises(drumlin.InvalidArgument):
            notes.add(ids=["a"], embeddings=np.array([[value, 1.0]]))
    assert notes.count() == 0


class ByDlpack:
    """An array of another library, on the CPU."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **wishes):
        return self.array.__dlpack__(**wishes)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OnDevice:
    """An array on a device that NumPy cannot read, as CuPy's: `get` copies it to the CPU."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **wishes):
        raise BufferError("on another device")

    def __dlpack_device__(self):
        return (2, 0)

    def get(self) -> np.ndarray:
        return self.array


class ByArray:
    """An array of a library that knows NumPy's protocol alone."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self.array if dtype is None else self.array.astype(dtype)


@pytest.mark.parametrize("wrapper", [ByDlpack, OnDevice, ByArray])
def test_arrays_of_other_libraries_go_in(notes, wrapper):
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    notes.add(ids=["a", "b"], embeddings=wrapper(rows))
    assert stored(notes).tolist() == rows.tolist()
    assert notes.search(wrapper(rows[1]), k=1).ids == [["b"]]


def test_an_array_by_dlpack_is_not_copied():
    rows = np.ones((3, 2), np.float32)
    assert np.shares_memory(matrix("rows", ByDlpack(rows)), rows)


def test_one_vector_and_several_are_not_copied():
    rows = np.ones((3, 2), np.float32)
    for given in (rows, rows[1]):
        made = matrix("rows", given)
        assert made.ndim == 2 and np.shares_memory(made, given), given.shape
    assert matrix("rows", rows.T[0]).tolist() == [[1, 1, 1]], "a column is copied"


def test_a_tensor_with_a_gradient_or_in_bfloat16_goes_in(notes):
    torch = pytest.importorskip("torch")
    rows = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    notes.add(ids=["a", "b"], embeddings=rows.clone().requires_grad_())
    notes.upsert(ids=["b"], embeddings=rows[1:].bfloat16())
    assert stored(notes).tolist() == rows.tolist()


def test_arrays_of_jax_go_in_without_a_copy_and_in_bfloat16(notes):
    jnp = pytest.importorskip("jax.numpy")
    rows = jnp.arange(6, dtype=jnp.float32).reshape(2, 3)
    shared = matrix("rows", rows)
    assert shared.ctypes.data == rows.unsafe_buffer_pointer()
    notes.add(ids=["a", "b"], embeddings=rows)
    assert stored(notes).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert notes.search(rows[1], k=1).ids == [["b"]]
    notes.upsert(ids=["a", "b"], embeddings=rows.astype(jnp.bfloat16) * 2)
    assert stored(notes).tolist() == [[0, 2, 4], [6, 8, 10]]


def test_one_vector_is_told_from_several():
    assert is_one([1, 2]) and is_one(np.ones(2)) and is_one((1.0,))
    assert not is_one([[1, 2]]) and not is_one(np.ones((1, 2))) and not is_one([]) and not is_one([np.ones(2)])


def test_columns_of_frames_are_matrices(notes):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"name": ["a", "b"], "vector": [np.array([1.0, 2.0]), [3, 4]]})
    notes.add(ids=frame["name"], embeddings=frame["vector"])
    assert stored(notes).tolist() == [[1, 2], [3, 4]]
    pa = pytest.importorskip("pyarrow")
    lists = pa.array([[5.0, 6.0]], pa.list_(pa.float32(), 2))
    notes.add(ids=pa.array(["c"]), embeddings=lists)
    assert stored(notes)[2].tolist() == [5, 6]
