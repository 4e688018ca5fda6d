"""The asynchronous client behind the synchronous one's calls, so that one test drives both."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Coroutine
from typing import Any

from chromadb.api.models.AsyncCollection import AsyncCollection


class EventLoop:
    """An event loop on a thread of its own; any thread may wait for a coroutine on it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout=120)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout=10)
        self.loop.close()


class Blocking:
    """An AsyncClient or AsyncCollection whose methods wait for their answers."""

    def __init__(self, inner: Any, loop: EventLoop) -> None:
        self.inner, self.event_loop = inner, loop

    def settled(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            value = self.event_loop.wait(value)
        if isinstance(value, AsyncCollection):
            return Blocking(value, self.event_loop)
        if isinstance(value, list):
            return [self.settled(item) for item in value]
        return value

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.inner, name)
        if not inspect.ismethod(attribute):
            return attribute
        return lambda *args, **kwargs: self.settled(attribute(*args, **kwargs))
