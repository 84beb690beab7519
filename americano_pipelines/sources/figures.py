"""What a table is, in numbers: its state in Postgres, and figures that both engines compute alike.

Here belong the bucket (a month of the sort time, or one for what has none), the fingerprint of a state, and
the figures by which a copy is reconciled. Comparing them is left to those who copied.

The fingerprint of a bucket is `count(*)` and the sum of a hash of (id, ctid, xmin) over its rows: Postgres
gives every version of a row a new xmin, so an insert, an update, a delete or a move to another month changes
it. The ctid tells rows apart whose id is null or not unique, and a sum, unlike an XOR, does not lose two that
are alike. A view has no xmin; there the whole row is hashed as text, for equal values may read differently
(1.0 and 1.00 in jsonb, 0 and -0).
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
        min_us: first sort time, microseconds since 1970 UTC; -1 for one before the year 1, 1 for one after
            9999, 0 for none.
        max_us: last sort time, likewise.
        checksum: XOR over the rows of the first 60 bits of md5(id) plus the time in microseconds. Plus, so that
            two rows that swap their times show.
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
        fingerprint: order-independent sum of 64-bit hashes of their versions, as decimal text.
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
    return f"CASE WHEN {_in_range(time)} THEN date_trunc('month', {time}) END"


def time_expression(table: SourceTable) -> str:
    """SQL, the same in both engines, for the sort time of a row as a timestamp in UTC."""
    column = table.column(table.contract.sort_role)
    return f"CAST({sql.quote(column.name) if column else 'NULL'} AS timestamp)"


def _in_range(time: str) -> str:
    return f"{time} >= '0001-01-01' AND {time} < '10000-01-01'"


def rest_label(table: SourceTable) -> str:
    """SQL of the name for rows that belong to no month."""
    return f"'{NO_MONTH if table.contract.by_month else WHOLE}'"


def source_state(snapshot: Snapshot, table: PostgresTable) -> dict[str, State]:
    """Compute the state of every bucket of a table, in the snapshot."""
    identifier = table.column("id")
    if not table.has_row_versions:
        row_hash = "hashtextextended(t::text, 0)"
    else:
        row_hash = "hashtidextended(ctid, xmin::text::bigint)"
        if identifier is not None:
            row_hash = f"hashtextextended(coalesce({sql.quote(identifier.name)}::text, ''), {row_hash})"
    rows = snapshot.query(
        sql.render(
            sql.load("sources", "fingerprint"),
            bucket=bucket_expression(table),
            row_hash=row_hash,
            relation=sql.quote(table.schema, table.relation),
            rest=rest_label(table),
        ),
        table.found_as,
    )
    return {str(bucket): State(int(count), str(fingerprint)) for bucket, count, fingerprint in rows}


def postgres_figures(snapshot: Snapshot, table: PostgresTable) -> dict[str, Figures]:
    """Figures of a table as the source holds it, in the snapshot."""
    relation = sql.quote(table.schema, table.relation)
    return _figures(snapshot.query(_statement("figures_postgres", table, relation, id_type="text"), table.found_as))


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
        in_range=_in_range(time_expression(table)),
        relation=relation,
        rest=rest_label(table),
    )


def _figures(rows: list[tuple[Any, ...]]) -> dict[str, Figures]:
    return {str(bucket): Figures(*(int(value) for value in values)) for bucket, *values in rows}
