"""Which stage the work is in and how long each took, for logs, metadata and the terminal.

Here belongs only the keeping of time. A listener set by the caller (a log, a progress line) is told when a
stage begins.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("stage_listener", default=None)


@contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Tell `listener` the name of every stage that begins inside the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class Stages:
    """Seconds spent per stage, in order."""

    def __init__(self, on_start: Callable[[str], None] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._on_start = on_start

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block's time under a name; the same name again adds up."""
        for tell in (self._on_start, _listener.get()):
            if tell is not None:
                tell(name)
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 3)
