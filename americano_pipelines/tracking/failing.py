"""Rows of the app whose analysis does not come: requests that are refused, and rows that their run left behind.

Here belongs FAILED. Each is written by one statement that looks whether the row is still as it was when that was
decided.
"""

from typing import TYPE_CHECKING, Any

from americano_pipelines.errors import RowNotOursError
from americano_pipelines.settings import PostgresTarget
from americano_pipelines.tracking.app_connection import connected
from americano_pipelines.tracking.app_table import SUMMARY, AppTable

if TYPE_CHECKING:
    from psycopg2.sql import Composable

_MOST_ERROR_TEXT = 4000


def refuse(target: PostgresTarget, analysis_run_id: str, reason: str) -> bool:
    """Fail a pending request that cannot be carried out.

    Returns:
        Whether it was still pending.

    Raises:
        LinkError: it cannot be written; TransientLinkError: Postgres cannot be reached at the moment.
    """
    from psycopg2 import sql

    with connected(target) as (cursor, table):
        table.check_label("status", "PENDING")
        return _fail(cursor, table, analysis_run_id, reason, sql.SQL("status = 'PENDING'"))


def abandon(target: PostgresTarget, analysis_run_id: str, dagster_run_id: str, reason: str) -> bool:
    """Fail a row that a Dagster run took or made, and left RUNNING when it ended.

    Returns:
        Whether it was: a row that is another run's by now is left alone.

    Raises:
        RowNotOursError: the table has no place where the row could say whose it is.
        LinkError, TransientLinkError: as `refuse`.
    """
    from psycopg2 import sql

    with connected(target) as (cursor, table):
        if not table.names_owners:
            raise RowNotOursError(
                f"{table.label} has no column {SUMMARY} of JSON, so row {analysis_run_id!r} does not say whose it is; "
                f"if it is still RUNNING, set it to FAILED in the app ({reason})"
            )
        condition = sql.SQL("status::text = 'RUNNING' AND {}").format(table.owned_by(dagster_run_id))
        return _fail(cursor, table, analysis_run_id, reason, condition)


def _fail(cursor: Any, table: AppTable, analysis_run_id: str, reason: str, condition: "Composable") -> bool:  # noqa: ANN401 - a psycopg2 cursor
    from psycopg2 import sql

    values = {"status": "FAILED", "errorMessage": _error_text(table, reason)}
    ended = [table.assignments(table.known(values))]
    if "completedAt" in table.columns:
        ended.append(sql.SQL('"completedAt" = now()'))
    cursor.execute(
        sql.SQL("UPDATE {table} SET {ended} WHERE id = {id} AND {condition}").format(
            table=table.identifier,
            ended=sql.SQL(", ").join(ended),
            id=sql.Literal(analysis_run_id),
            condition=condition,
        )
    )
    return bool(cursor.rowcount)


def _error_text(table: AppTable, error: str) -> str:
    """An error's text as it goes into a row: a page of it is enough for people, and less if the column is short."""
    column = table.columns.get("errorMessage")
    most = min(_MOST_ERROR_TEXT, column.longest or _MOST_ERROR_TEXT) if column else _MOST_ERROR_TEXT
    return error if len(error) <= most else f"{error[: most - 1]}…"
