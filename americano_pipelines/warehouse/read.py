"""Opening the published file to read it.

Here belongs the one way readers in this project open it: read-only, by the path the link means now, with a
short bounded wait when another process holds it read-write.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import duckdb
from pydantic import ValidationError

from americano_pipelines.engine import connect_to_read
from americano_pipelines.errors import WarehouseUnavailableError
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import publish
from americano_pipelines.warehouse.document import Document

WAIT_SECONDS = 8.0
PREVIEW_ROWS = 5
_POLL_SECONDS = 0.25


@contextmanager
def open_published(settings: Settings, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the published file read-only for the block.

    The resolved path is opened, not the link: what is published meanwhile does not change what the block reads.

    Raises:
        WarehouseUnavailableError: nothing is published, or a process holds the file read-write.
    """
    deadline = time.monotonic() + wait_seconds
    with ExitStack() as sessions:
        while True:
            path = publish.current(settings)
            if path is None:
                raise WarehouseUnavailableError(
                    f"nothing is published at {settings.published_path} yet; run `americano sync` first"
                )
            try:
                connection = sessions.enter_context(connect_to_read(settings, path))
                break
            except duckdb.IOException as error:
                if not path.exists() and path != publish.current(settings):
                    continue  # a sync published another one and swept this one between the two lines above
                if "lock" not in str(error).lower():
                    raise WarehouseUnavailableError(f"{path} cannot be opened: {error}") from None
                if time.monotonic() > deadline:
                    raise WarehouseUnavailableError(
                        f"{path} is held read-write by another process; open it with -readonly there. {error}"
                    ) from None
                time.sleep(_POLL_SECONDS)
        yield connection


def document_of(connection: duckdb.DuckDBPyConnection) -> Document | None:
    """The record that an open published file carries of itself, None when it has none that can be read."""
    try:
        row = connection.execute("SELECT document FROM meta.snapshot").fetchone()
        return Document.model_validate_json(row[0]) if row else None
    except (duckdb.CatalogException, ValidationError):
        return None


def preview(
    connection: duckdb.DuckDBPyConnection, relation: str, parameters: list[Any] | None = None
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and the first few rows of a relation, for people to look at."""
    cursor = connection.execute(f"FROM {relation} LIMIT {PREVIEW_ROWS}", parameters or [])
    return [str(column[0]) for column in cursor.description or ()], cursor.fetchall()
