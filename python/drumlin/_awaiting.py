"""Calls of the extension module for ``await``: the work runs on the store's threads, not on the loop's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._drumlin import Pending


async def finished(pending: Pending) -> Any:
    """The result of a call. Cancelling ends the work; whether a write was applied is then unknown."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def done(result: Any, error: BaseException | None) -> None:
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            pass  # The loop was closed: nobody waits any more.

    task = pending.start(done)
    try:
        return await future
    except asyncio.CancelledError:
        task.cancel()
        raise
