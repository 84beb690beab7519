"""What a table is, in numbers: its state in Postgres, and figures that both engines compute alike.

Here belong the bucket (a month of the sort time, or one for what has none), the fingerprint of a state, and
the figures by which a copy is reconciled. Comparing them is left to those who copied.

The fingerprint of a bucket is `count(*)` and the XOR of `hashtextextended(id, xmin)` over its rows: Postgres
gives every version of a row a new xmin, so an insert, an update, a delete or a move to another month changes
it. A view has no xmin; there the whole row is hashed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from americano_pipelines import sql
from americano_pipelines.sources.catalog import PostgresTable
from americano_pipelines.sources.postgres import Snapshot
from americano_pipelines.sources.tables import SourceTable

# The bucket of rows whose time is null, infinite or out of range; and the one of tables kept whole.
NO_MONTH, WHOLE = "none", "all"


@dataclass(frozen=True)
class Figures:
    """Figures of the rows in one bucket, equal wherever the same rows are.

    Attributes:
        rows: how many.
        min_us: first sort time, microseconds since 1970 UTC (0 in the bucket of rows without one).
        max_us: last sort time, likewise.
        checksum: XOR over the rows of the first 60 bits of md5(id) and the time in microseconds.
    """

    rows: int
    min_us: int
    max_us: int
    checksum: int


@dataclass(frozen=True)
class State:
    """State of one bucket in the source.

    Attributes:
        rows: how many rows.
        fingerprint: order-independent 64-bit hash of their versions, as decimal text.
    """

    rows: int
    fingerprint: str


def state_sha256(schema_sha256: str, state: Mapping[str, State]) -> str:
    """Hash of a table's schema and of every bucket's state: its data version."""
    canonical = [schema_sha256, {bucket: [part.rows, part.fingerprint] for bucket, part in state.items()}]
    return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()


def bucket_expression(table: SourceTable) -> str:
    """SQL, the same in both engines, for the month a row belongs to; NULL outside the years 1 to 9999."""
    if not table.contract.by_month:
        return "CAST(NULL AS timestamp)"
    time = time_expression(table)
    return f"CASE WHEN {time} >= '0001-01-01' AND {time} < '10000-01-01' THEN date_trunc('month', {time}) END"


def time_expression(table: SourceTable) -> str:
    """SQL, the same in both engines, for the sort time of a row as a timestamp in UTC."""
    column = table.column(table.contract.sort_role)
    return f"CAST({sql.quote(column.name) if column else 'NULL'} AS timestamp)"


def rest_label(table: SourceTable) -> str:
    """SQL of the name for rows that belong to no month."""
    return f"'{NO_MONTH if table.contract.by_month else WHOLE}'"


def source_state(snapshot: Snapshot, table: PostgresTable) -> dict[str, State]:
    """Compute the state of every bucket of a table, in the snapshot."""
    identifier = table.column("id")
    if not table.has_row_versions:
        row_hash = "hash_record_extended(t, 0)"
    elif identifier is None:
        row_hash = "hashtextextended(ctid::text, xmin::text::bigint)"
    else:
        row_hash = f"hashtextextended({sql.quote(identifier.name)}::text, xmin::text::bigint)"
    rows = snapshot.query(
        sql.render(
            sql.load("sources", "fingerprint"),
            bucket=bucket_expression(table),
            row_hash=row_hash,
            relation=sql.quote(table.schema, table.relation),
            rest=rest_label(table),
        )
    )
    return {str(bucket): State(int(count), str(fingerprint)) for bucket, count, fingerprint in rows}


def postgres_figures(snapshot: Snapshot, table: PostgresTable) -> dict[str, Figures]:
    """Figures of a table as the source holds it, in the snapshot."""
    relation = sql.quote(table.schema, table.relation)
    return _figures(snapshot.query(_statement("figures_postgres", table, relation, id_type="text")))


def duckdb_figures(
    connection: duckdb.DuckDBPyConnection,
    table: SourceTable,
    relation: str,
    parameters: list[Any] | None = None,
) -> dict[str, Figures]:
    """Figures of the same table as a DuckDB relation holds it.

    Args:
        connection: the session to run in.
        table: which columns play the roles.
        relation: SQL of the relation; its parameters are bound from `parameters`.
        parameters: values for the relation, if it has any.
    """
    statement = _statement("figures_duckdb", table, relation, id_type="VARCHAR")
    return _figures(connection.execute(statement, parameters or []).fetchall())


def total(figures: Mapping[str, Figures]) -> int:
    """Rows in all buckets."""
    return sum(figure.rows for figure in figures.values())


def _statement(name: str, table: SourceTable, relation: str, id_type: str) -> str:
    identifier = table.column("id")
    return sql.render(
        sql.load("sources", name),
        bucket=bucket_expression(table),
        id=f"CAST({sql.quote(identifier.name)} AS {id_type})" if identifier else "''",
        time=time_expression(table),
        relation=relation,
        rest=rest_label(table),
    )


def _figures(rows: list[tuple[Any, ...]]) -> dict[str, Figures]:
    return {str(bucket): Figures(*(int(value) for value in values)) for bucket, *values in rows}
