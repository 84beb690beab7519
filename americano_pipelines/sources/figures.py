"""Figures of a table's rows that Postgres and DuckDB compute alike, by which a copy is reconciled.

Here belongs computing them in either engine. Comparing them is left to those who copied.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from americano_pipelines import sql
from americano_pipelines.errors import SourceError
from americano_pipelines.sources.catalog import PostgresTable
from americano_pipelines.sources.postgres import Snapshot
from americano_pipelines.sources.state import bucket_expression, bucket_filter, in_range, rest_label, time_expression
from americano_pipelines.sources.tables import SourceTable
from americano_pipelines.sources.types import misfit

# Where `figures_postgres.sql` counts the rows that cannot be copied.
MISFITS = 4


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


def postgres_figures(
    snapshot: Snapshot, table: PostgresTable, only: Collection[str] | None = None
) -> dict[str, Figures]:
    """Figures of a table as the source holds it, in the snapshot; of some buckets, or of all.

    Raises:
        SourceError: a row holds a value that cannot be copied exactly; the message names the column.
    """
    relation = sql.quote(table.schema, table.relation)
    rows = snapshot.query(_statement("figures_postgres", table, relation, "text", only), table.found_as)
    if any(row[MISFITS] for row in rows):
        raise SourceError(_describe_misfits(snapshot, table, relation))
    return _figures([row[:MISFITS] + row[MISFITS + 1 :] for row in rows])


def _describe_misfits(snapshot: Snapshot, table: PostgresTable, relation: str) -> str:
    """Which columns hold values that no copy in DuckDB would hold, and how many."""
    conditions = {column.name: misfit(column.name, column.type) for column in table.columns if not column.as_text}
    counts = ", ".join(f"count(*) FILTER (WHERE {c}) AS {sql.quote(n)}" for n, c in conditions.items() if c)
    found = snapshot.query(f"SELECT {counts} FROM {relation} AS t", table.found_as)[0]  # noqa: S608 - quoted
    names = [name for name, condition in conditions.items() if condition]
    worst = ", ".join(f"{name!r} in {count:,} rows" for name, count in zip(names, found, strict=True) if count)
    return (
        f"{table.found_as}: values that DuckDB cannot hold (NaN in a numeric, a time after the year 294246, an array "
        f"of several dimensions or not starting at 1) in {worst}. Correct them, or offer a view with the column as text"
    )


def duckdb_figures(
    connection: duckdb.DuckDBPyConnection,
    table: SourceTable,
    relation: str,
    parameters: list[Any] | None = None,
    only: Collection[str] | None = None,
) -> dict[str, Figures]:
    """Figures of the same table as a DuckDB relation holds it.

    Args:
        connection: the session to run in.
        table: which columns play the roles.
        relation: SQL of the relation; its parameters are bound from `parameters`.
        parameters: values for the relation, if it has any.
        only: the buckets wanted, None for all.
    """
    statement = _statement("figures_duckdb", table, relation, "VARCHAR", only)
    return _figures(connection.execute(statement, parameters or []).fetchall())


def total(figures: Mapping[str, Figures]) -> int:
    """Rows in all buckets."""
    return sum(figure.rows for figure in figures.values())


def _statement(name: str, table: SourceTable, relation: str, id_type: str, only: Collection[str] | None) -> str:
    identifier = table.column("id")
    return sql.render(
        sql.load("sources", name),
        bucket=bucket_expression(table),
        id=f"CAST({sql.quote(identifier.name)} AS {id_type})" if identifier else "''",
        time=time_expression(table),
        in_range=in_range(time_expression(table)),
        relation=relation,
        rest=rest_label(table),
        misfits=table.misfits if isinstance(table, PostgresTable) else "false",
        where="true" if only is None else bucket_filter(table, only),
    )


def _figures(rows: list[tuple[Any, ...]]) -> dict[str, Figures]:
    return {str(bucket): Figures(*(int(value) for value in values)) for bucket, *values in rows}
