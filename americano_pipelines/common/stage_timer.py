"""Time the stages of an operation and measure the peak memory of the process."""

import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("stage_listener", default=None)


@contextmanager
def stage_listener(listener: Callable[[str], None]) -> Iterator[None]:
    """Call `listener` with the name of every stage that begins inside the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class StageTimer:
    """Seconds spent per stage, in order."""

    def __init__(self, on_start: Callable[[str], None] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._on_start = on_start

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block's time under a name; the same name again adds up."""
        for listener in (self._on_start, _listener.get()):
            if listener is not None:
                listener(name)
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 3)


_STATUS = Path("/proc/self/status")
_KB_PER_MB, _BYTES_PER_MB = 1024, 1024 * 1024


def peak_memory_mb() -> int:
    """Most memory that this process held, in MB.

    Not by getrusage on Linux: that begins with the memory of the parent process (it reported 1,027 MB for a sync that
    held 300, because a test runner had started it).
    """
    if _STATUS.exists() and (match := re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"))):
        return int(match.group(1)) // _KB_PER_MB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (_BYTES_PER_MB if sys.platform == "darwin" else _KB_PER_MB)
