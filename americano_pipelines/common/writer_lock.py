"""Allow one writer at a time, by a lock file that the operating system releases when its holder dies.

Not a Dagster pool: with the in-process executor its waiter burns a core, and a killed run keeps its slot.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from americano_pipelines.common import atomic_files, file_permissions
from americano_pipelines.common.duckdb_session import resource_errors
from americano_pipelines.errors import LockHeldError
from americano_pipelines.settings import Settings

POLL_SECONDS = 0.5
# A full sync of 5 million rows takes half a minute; a longer wait ends with an error that names the holder.
WAIT_SECONDS = 900.0


@contextmanager
def writer_lock(
    settings: Settings, *, wait_seconds: float = WAIT_SECONDS, on_wait: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the writer locks of the data folder and of the published file for the block.

    Two data folders may publish under one name, so that has a lock too; always taken second.

    Args:
        settings: names the data folder and the published file.
        wait_seconds: how long to wait for another holder.
        on_wait: called once with the holder's description when the lock is held.

    Raises:
        LockHeldError: it is still held after that time; the message names the holder and since when.
        ResourceError: the lock cannot be written.
    """
    deadline = time.monotonic() + wait_seconds
    with resource_errors(settings), ExitStack() as held:
        file_permissions.protect(settings)
        for path in (settings.paths.writer_lock, settings.paths.published_lock):
            held.enter_context(_held(path, deadline, wait_seconds, on_wait))
        yield


@contextmanager
def _held(path: Path, deadline: float, wait_seconds: float, on_wait: Callable[[str], None] | None) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The holder's card lies beside the lock: a waiter that opens the lock file may truncate it.
    card = path.with_suffix(".json")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if on_wait is not None:
            on_wait(f"waiting for the writer lock {path}, held by {_holder(card)}")
        try:
            lock.acquire(timeout=max(0.0, deadline - time.monotonic()), poll_interval=POLL_SECONDS)
        except Timeout:
            raise LockHeldError(
                f"another sync holds the writer lock {path}: {_holder(card)}. "
                f"Waited {wait_seconds:.0f} s; run this again when it has ended"
            ) from None
    try:
        started = datetime.now(UTC).isoformat(timespec="seconds")
        atomic_files.write_text(card, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": started}))
        yield
    finally:
        card.unlink(missing_ok=True)
        lock.release()


def _holder(card: os.PathLike[str]) -> str:
    try:
        with open(card, encoding="utf-8") as stream:  # noqa: PTH123 - a path-like
            holder = json.load(stream)
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that has just taken it"
