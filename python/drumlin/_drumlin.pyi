from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str

class Store:
    def __init__(
        self,
        url: str,
        *,
        memory_limit: int | None = None,
        search_threads: int | None = None,
        index_threads: int | None = None,
        sync_interval: float | None = None,
        create: bool = True,
        maintenance: bool = True,
    ) -> None: ...
    @property
    def url(self) -> str: ...
    def with_scope(self, tenant: str, database: str) -> Store: ...
    def create_collection(
        self, name: str, metric: str, dimension: int | None, metadata: dict[str, Any] | None
    ) -> Collection: ...
    def collection(self, name: str) -> Collection: ...
    def collections(self, strong: bool) -> list[str]: ...
    def drop_collection(self, name: str) -> None: ...
    def sync(self) -> None: ...
    def close(self, seconds: float) -> None: ...

class Collection:
    @property
    def name(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def dimension(self) -> int | None: ...
    def write_array(
        self,
        how: str,
        ids: list[str],
        embeddings: NDArray[np.float32],
        documents: list[str | None] | None,
        metadatas: list[dict[str, Any] | None] | None,
    ) -> tuple[int, int, int]: ...
    def write_arrow(self, how: str, table: Any) -> tuple[int, int, int]: ...
    def delete(
        self, ids: list[str] | None, where_: str | None, where_document: str | None, limit: int | None
    ) -> tuple[int, int, int]: ...
    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        ids: list[str] | None,
        where_: str | None,
        where_document: str | None,
        include: list[str],
        ef_search: int | None,
        exact: bool,
        strong: bool,
        fields: bool,
    ) -> tuple[list[list[str]], NDArray[np.float32], int, bytes | None]: ...
    def get(
        self,
        ids: list[str] | None,
        where_: str | None,
        where_document: str | None,
        limit: int | None,
        offset: int,
        include: list[str],
        strong: bool,
    ) -> tuple[list[dict[str, Any]], int]: ...
    def count(self, where_: str | None, where_document: str | None, strong: bool) -> int: ...
