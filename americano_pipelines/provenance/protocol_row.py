"""Read a protocol's row in the published file, with the columns that only some sources have."""

from typing import Any

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.settings import Settings
from americano_pipelines.sources.contracts import PROTOCOLS
from americano_pipelines.warehouse import snapshots
from americano_pipelines.warehouse.snapshot_record import SnapshotRecord

_PROTOCOL_ROW = "SELECT * FROM analytics.{table} WHERE CAST({id} AS VARCHAR) = $1"


def published_protocol(settings: Settings, protocol_id: str) -> dict[str, Any]:
    """A protocol's row in the published file, by column name without case and underscores; empty without one."""
    if snapshots.current(settings.paths) is None:
        return {}
    with snapshots.open_published(settings) as connection:
        document = snapshots.read_record(settings.paths)
        return read_protocol_row(connection, document, protocol_id) if document else {}


def read_protocol_row(
    connection: duckdb.DuckDBPyConnection, document: SnapshotRecord, protocol_id: str
) -> dict[str, Any]:
    """The same of an open file.

    Args:
        connection: the published file.
        document: the file's record.
        protocol_id: the protocol.
    """
    built = document.tables.get(PROTOCOLS.name)
    if built is None or "id" not in built.roles:
        return {}
    cursor = connection.execute(
        sql.render(_PROTOCOL_ROW, table=sql.quote(PROTOCOLS.name), id=sql.quote(built.roles["id"])), [protocol_id]
    )
    names = [column[0].replace("_", "").casefold() for column in cursor.description or ()]
    row = cursor.fetchone()
    return dict(zip(names, row, strict=True)) if row else {}
