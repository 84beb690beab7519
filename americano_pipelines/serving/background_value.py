"""Keep a value that takes seconds to read, and read it again in the background."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class BackgroundValue(Generic[T]):
    """The value as it was read last; the first use after some seconds reads it again."""

    def __init__(self, read: Callable[[], Awaitable[T]], fresh_seconds: float) -> None:
        self._read, self._fresh_seconds = read, fresh_seconds
        self._value: T | None = None
        self._read_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def latest(self) -> T | None:
        """The last value, None before the first; where it is old, another is on its way."""
        if self._task is None and time.monotonic() - self._read_at > self._fresh_seconds:
            self._task = asyncio.create_task(self._refresh())
        return self._value

    async def close(self) -> None:
        """End what is being read."""
        if self._task is not None:
            task = self._task
            task.cancel()
            await asyncio.wait({task})

    async def _refresh(self) -> None:
        try:
            self._value = await self._read()
        finally:
            self._read_at, self._task = time.monotonic(), None
