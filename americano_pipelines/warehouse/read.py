"""Opening the published file to read it.

Here belongs the one way readers in this project open it: read-only, by the path the link means now, with a
short bounded wait when another process holds it read-write.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

from americano_pipelines.errors import WarehouseUnavailableError
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import publish

WAIT_SECONDS = 8.0
PREVIEW_ROWS = 5
_POLL_SECONDS = 0.25


@contextmanager
def open_published(settings: Settings, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the published file read-only for the block.

    The resolved path is opened, not the link: a second `connect` to one path in one process gives the old
    database for as long as an older handle is open.

    Raises:
        WarehouseUnavailableError: nothing is published, or a process holds the file read-write.
    """
    path = publish.current(settings)
    if path is None:
        raise WarehouseUnavailableError(
            f"nothing is published at {settings.published_path} yet; run `americano sync` first"
        )
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            connection = duckdb.connect(str(path), read_only=True)
            break
        except duckdb.IOException as error:
            if "lock" not in str(error).lower():
                raise WarehouseUnavailableError(f"{path} cannot be opened: {error}") from None
            if time.monotonic() > deadline:
                raise WarehouseUnavailableError(
                    f"{path} is held read-write by another process; open it with -readonly there. {error}"
                ) from None
            time.sleep(_POLL_SECONDS)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
        yield connection
    finally:
        connection.close()


def preview(
    connection: duckdb.DuckDBPyConnection, relation: str, parameters: list[Any] | None = None
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and the first few rows of a relation, for people to look at."""
    cursor = connection.execute(f"FROM {relation} LIMIT {PREVIEW_ROWS}", parameters or [])
    return [str(column[0]) for column in cursor.description or ()], cursor.fetchall()
