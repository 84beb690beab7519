"""Read rows out of Postgres: one parallel scan for most of a table, a filtered query for a few months."""

from collections.abc import Collection, Mapping

from americano_pipelines.common import sql
from americano_pipelines.sources.change_detection import State, bucket_filter
from americano_pipelines.sources.column_roles import Column
from americano_pipelines.sources.postgres_catalog import PostgresTable
from americano_pipelines.sources.postgres_snapshot import Snapshot
from americano_pipelines.sources.snapshot_connections import ATTACHED

# A scan reads the heap in parallel, half a million rows a second; DuckDB pushes its filters down, but Postgres
# still reads the whole heap. A query by time uses the index, on one connection. On 5 M rows the two take the same
# time when about a quarter of the rows is read.
_SCAN_FROM_SHARE = 0.25


def rows_of(
    snapshot: Snapshot, table: PostgresTable, state: Mapping[str, State], buckets: Collection[str]
) -> tuple[str, list[str]]:
    """SQL of a relation with the rows of some buckets, every column in its exact type.

    Args:
        snapshot: the snapshot to read in.
        table: the table.
        state: all its buckets.
        buckets: the buckets to read.

    Returns:
        The relation and the values it binds.
    """
    where = bucket_filter(table, buckets)
    scannable = not any(column.as_text for column in table.columns)
    share = sum(state[name].rows for name in buckets) / max(1, sum(part.rows for part in state.values()))
    parameters: list[str] = []
    if scannable and len(buckets) == len(state):
        relation, where = snapshot.relation(table.schema, table.relation), "true"
    elif scannable and share > _SCAN_FROM_SHARE:
        relation = snapshot.relation(table.schema, table.relation)
    else:
        # Postgres must cast to text, and a scan of a column without a DuckDB type does not. A query
        # gives an enum's values as text too: a list of them would come as '{A,B}'.
        columns = selected_columns(table)
        where = "true" if len(buckets) == len(state) else where
        query = f"SELECT {columns} FROM {sql.quote(table.schema, table.relation)} WHERE {where}"  # noqa: S608 - quoted
        relation, parameters, where = f"postgres_query('{ATTACHED}', $1)", [query], "true"
    return f"(SELECT {table.projection} FROM {relation} WHERE {where})", parameters  # noqa: S608 - quoted


def selected_columns(table: PostgresTable) -> str:
    """SQL, for Postgres, of all columns as a query is to give them."""
    return ", ".join(selected(column) for column in table.columns)


def selected(column: Column) -> str:
    """SQL, for Postgres, of a column as a query is to give it."""
    name = sql.quote(column.name)
    types = {"VARCHAR": "text", "VARCHAR[]": "text[]"}
    return f"{name}::{types[column.type]} AS {name}" if column.type in types else name
