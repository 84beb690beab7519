"""Resource `warehouse`: the published file, read-only, as dagster-duckdb's own resource.

Here belongs which file is opened, and not waiting for it without a bound.
https://docs.dagster.io/integrations/libraries/duckdb
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource

from americano_pipelines.engine import config, reader_spill_folder, session
from americano_pipelines.errors import WarehouseUnavailableError
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import publish
from americano_pipelines.warehouse.document import Document
from americano_pipelines.warehouse.read import open_published


def build_warehouse(settings: Settings) -> dg.ResourceDefinition:
    """The resource for these settings.

    The link is resolved once for a run: all its steps read the same snapshot, whatever is published meanwhile.
    """

    @dg.resource(
        description="The published DuckDB file, opened READ_ONLY by the path that the link means at the start."
    )
    def warehouse(_: dg.InitResourceContext) -> Iterator[DuckDBResource]:
        path = publish.current(settings) or settings.published_path
        # One folder to spill to for the run: in one process, one path means one session of DuckDB.
        with reader_spill_folder(settings) as folder:
            yield DuckDBResource(
                database=str(path), connection_config={**config(settings, folder), "access_mode": "READ_ONLY"}
            )

    return warehouse


@contextmanager
def reading(settings: Settings, warehouse: DuckDBResource) -> Iterator[tuple[duckdb.DuckDBPyConnection, Document]]:
    """Open the run's snapshot for the block, with its record.

    Raises:
        WarehouseUnavailableError: nothing is published, its record is gone, or a process holds it read-write.
    """
    # The resource would wait 102 s in silence for whoever holds the file; this waits some seconds and says who.
    with open_published(settings):
        pass
    path = Path(warehouse.database)
    document = publish.document_beside(path)
    if document is None:
        raise WarehouseUnavailableError(
            f"{path} has no record beside it that can be read: it was swept, or is none of ours. Run this again, or "
            "`americano sync` first"
        )
    # The resource does not close its connection when the block fails; the session does.
    with warehouse.get_connection() as connection, session(connection):
        yield connection, document
