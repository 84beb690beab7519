"""The link between a recorded analysis and the app's row for it: written, made, read.

Here belongs writing one row. What is written is decided by the caller; columns that the app does not have are left
out. A row that still waits for its analysis is `requests.py`.
"""

from collections.abc import Mapping
from typing import Any

from americano_pipelines.errors import LinkError, RowNotOursError
from americano_pipelines.settings import PostgresTarget
from americano_pipelines.tracking.app_connection import connected
from americano_pipelines.tracking.app_table import SUMMARY, AppTable


def read_row(target: PostgresTarget, analysis_run_id: str) -> dict[str, Any] | None:
    """A row as it is now, column to value; None when there is none.

    Raises:
        LinkError: the table cannot be read; TransientLinkError: Postgres cannot be reached at the moment.
    """
    with connected(target) as (cursor, table):
        return _read(cursor, table, analysis_run_id)


def owner(row: Mapping[str, Any]) -> str | None:
    """The Dagster run that a row of `read_row` says it is of; None when it names none."""
    summary = row.get(SUMMARY)
    return summary.get("dagster_run_id") if isinstance(summary, dict) else None


def write(target: PostgresTarget, analysis_run_id: str, dagster_run_id: str, values: Mapping[str, Any]) -> list[str]:
    """Write what is known of a recorded analysis into its row.

    The row must be that of the Dagster run, or have FAILED: one that asks for an analysis anew, or that another run
    has by now, is not written over.

    Args:
        target: the app's database.
        analysis_run_id: the row.
        dagster_run_id: the Dagster run that carried it out.
        values: column to value, by the app's names; those that the table lacks are left out.

    Returns:
        The columns that were written.

    Raises:
        RowNotOursError: there is no such row, or it is not this run's.
        LinkError: it cannot be written; TransientLinkError as `read_row`.
    """
    from psycopg2 import errors, sql

    with connected(target) as (cursor, table):
        known = table.known(values)
        # Where a row cannot say whose it is, that nobody asks for it is all there is to go by.
        ours = table.owned_by(dagster_run_id) if table.names_owners else sql.SQL("true")
        try:
            cursor.execute(
                sql.SQL("UPDATE {table} SET {values} WHERE id = {id} AND (status::text = 'FAILED' OR {ours})").format(
                    table=table.identifier,
                    values=table.assignments(known),
                    id=sql.Literal(analysis_run_id),
                    ours=sql.SQL("status::text <> 'PENDING' AND {}").format(ours),
                )
            )
        except errors.UniqueViolation as error:
            raise LinkError(
                f"{table.label}: another row than {analysis_run_id!r} is linked to this analysis already "
                f"({str(error).strip().splitlines()[-1].strip()})"
            ) from None
        if cursor.rowcount != 1:
            raise RowNotOursError(_why_not(table, analysis_run_id, _read(cursor, table, analysis_run_id)))
        return list(known)


def make(target: PostgresTarget, analysis_run_id: str, values: Mapping[str, Any]) -> list[str]:
    """Make the row of an analysis that nobody had registered; one of that id is brought to these values.

    Args:
        target: the app's database.
        analysis_run_id: the row.
        values: column to value; every column that the app requires must be among them.

    Returns:
        The columns that were written.

    Raises:
        LinkError: a required column has no value, a label does not exist, or the app does not have the protocol;
            TransientLinkError as `read_row`.
    """
    from psycopg2 import errors, sql

    with connected(target) as (cursor, table):
        known = {"id": analysis_run_id, **table.known(values)}
        if missing := [name for name, column in table.columns.items() if column.required and known.get(name) is None]:
            raise LinkError(
                f"{table.label} requires {', '.join(missing)}, which this analysis has no value for; register it in "
                "the app and give its id"
            )
        try:
            cursor.execute(
                sql.SQL(
                    "INSERT INTO {table} ({names}) VALUES ({values}) ON CONFLICT (id) DO UPDATE SET {again}"
                ).format(
                    table=table.identifier,
                    names=sql.SQL(", ").join(map(sql.Identifier, known)),
                    values=sql.SQL(", ").join(table.literal(name, value) for name, value in known.items()),
                    again=table.assignments(known),
                )
            )
        except errors.ForeignKeyViolation:
            raise LinkError(
                f"the app has no protocol {values.get('protocolId')!r} any more, so it can have no analysis of it"
            ) from None
        return list(known)


def _read(cursor: Any, table: AppTable, analysis_run_id: str) -> dict[str, Any] | None:  # noqa: ANN401 - a psycopg2 cursor
    from psycopg2 import sql

    cursor.execute(sql.SQL("SELECT * FROM {} WHERE id = {}").format(table.identifier, sql.Literal(analysis_run_id)))
    found = cursor.fetchone()
    return dict(zip([column[0] for column in cursor.description], found, strict=True)) if found else None


def _why_not(table: AppTable, analysis_run_id: str, row: Mapping[str, Any] | None) -> str:
    if row is None:
        return f"{table.label} has no row {analysis_run_id!r}: there is nothing to link to"
    if row["status"] == "PENDING":
        return f"{table.label}: row {analysis_run_id!r} is PENDING again: it asks for another run"
    return f"{table.label}: row {analysis_run_id!r} is {row['status']}, by Dagster run {owner(row) or 'unknown'}"
