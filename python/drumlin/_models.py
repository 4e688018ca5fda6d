"""Sentence models in the bucket, with which collections make embeddings of texts."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._database import Database

# Within the class, `list` is a method.
_Infos = list[dict[str, Any]]


class Models:
    """The sentence models in a bucket: :attr:`Database.models`.

    A model is there once for all databases and all processes. Each process loads it into memory when a collection
    first needs it.

    Examples
    --------
    >>> import drumlin
    >>> drumlin.connect("memory://").models.list()
    []
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def __repr__(self) -> str:
        return f"<models in {self._database!r}>"

    def add(self, folder: str | os.PathLike[str], name: str | None = None) -> dict[str, Any]:
        """Put a model into the bucket. It is loaded once before, to prove it. One of the same name is replaced.

        Parameters
        ----------
        folder : str or path
            The model as Hugging Face lays it out: ``config.json``, ``tokenizer.json``, and the weights as
            ``model.safetensors`` or ``model.onnx``. It may lie in a folder below, as in an unpacked wheel.
        name : str, optional
            Its name in the bucket; by default the folder's.

        Returns
        -------
        dict
            ``name``, ``dimension``, ``max_tokens``, ``normalised``, ``pooling``, ``scores_pairs`` (true for a
            cross-encoder), ``stored_bytes`` and ``memory_bytes``.

        Raises
        ------
        InvalidArgument
            The folder has no model of the BERT family, or the name does not fit.
        OutOfMemory
            There is no memory to try it.
        """
        info: dict[str, Any] = json.loads(self._database._store.add_model(folder, name).wait())
        return info

    def list(self) -> _Infos:
        """The models, by name, as :meth:`add` describes them."""
        infos: _Infos = json.loads(self._database._store.models().wait())
        return infos

    def remove(self, name: str) -> None:
        """Remove a model. Collections that use it keep their embeddings, and take texts again once it is back.

        Raises
        ------
        NotFound
            There is no such model.
        """
        self._database._store.remove_model(name).wait()
