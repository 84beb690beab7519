"""Rows of the app that ask for an analysis: listed, and claimed by one worker.

Here belongs a row on its way from PENDING to RUNNING. How it ends is `link.py` when its analysis is recorded, else
`failing.py`; which run is started for a request is `defs/requests.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from americano_pipelines import sql as statements
from americano_pipelines.settings import PostgresTarget
from americano_pipelines.tracking.answering import Answer
from americano_pipelines.tracking.app_connection import connected
from americano_pipelines.tracking.app_table import SUMMARY, AppTable, decoded

if TYPE_CHECKING:
    from psycopg2.sql import Composable

_WANTED = ("id", "protocolId", "analysisType", "inputParams")
# What an earlier analysis left in a row that is asked for again.
_OF_A_RESULT = ("mlflowRunId", "mlflowExperimentId", "mlflowRunUrl", "completedAt", "durationSeconds", "errorMessage")


@dataclass(frozen=True)
class Request:
    """A row that asks for an analysis, or did.

    Attributes:
        analysis_run_id: the row.
        protocol_id: the protocol.
        analysis_type: what the app calls the analysis.
        parameters: what is asked of it, whatever the app's JSON holds; an empty object where it has no such column.
    """

    analysis_run_id: str
    protocol_id: str
    analysis_type: str
    parameters: Any


def pending(target: PostgresTarget, limit: int) -> list[Request]:
    """Requests that nobody has claimed, oldest first.

    Raises:
        LinkError: the table cannot be read; TransientLinkError: Postgres cannot be reached at the moment.
    """
    from psycopg2 import sql

    with connected(target) as (cursor, table):
        table.check_label("status", "PENDING")
        first = "startedAt" if "startedAt" in table.columns else "id"
        cursor.execute(
            sql.SQL("SELECT {columns} FROM {table} WHERE status = 'PENDING' ORDER BY {first}, id LIMIT {limit}").format(
                columns=_columns(table),
                table=table.identifier,
                first=sql.Identifier(first),
                limit=sql.Literal(limit),
            )
        )
        return [_request(table, row) for row in cursor.fetchall()]


def claim(target: PostgresTarget, analysis_run_id: str, dagster_run_id: str, answer: Answer) -> Request | None:
    """Take a pending request, so that nobody else does.

    The row is taken by the one statement that finds it PENDING: of two workers one finds it so. A Dagster run whose
    step is tried again may take the row it had once more.

    Args:
        target: the app's database.
        analysis_run_id: the row.
        dagster_run_id: the Dagster run, noted in `resultsSummary` so that the row says who has it.
        answer: what the run is about to carry out; a row that asks for something else is not taken.

    Returns:
        The request; None when it is not pending any more, or not there.

    Raises:
        LinkError: it asks for something else; and as TransientLinkError, as `pending`.
    """
    from psycopg2 import sql

    with connected(target) as (cursor, table):
        table.check_label("status", "PENDING")
        values = {"status": "RUNNING", **dict.fromkeys(_OF_A_RESULT), SUMMARY: {"dagster_run_id": dagster_run_id}}
        started = [table.assignments(table.known(values))]
        if "startedAt" in table.columns:
            started.append(sql.SQL('"startedAt" = now()'))
        cursor.execute(
            sql.SQL(statements.load("tracking", "claim")).format(
                table=table.identifier,
                started=sql.SQL(", ").join(started),
                id=sql.Literal(analysis_run_id),
                owned=table.owned_by(dagster_run_id),
                columns=_columns(table),
            )
        )
        row = cursor.fetchone()
        if row is None:
            return None
        request = _request(table, row)
        # Raised inside the transaction, which leaves the row as it was.
        answer.check(request.analysis_run_id, request.protocol_id, request.analysis_type)
        return request


def _columns(table: AppTable) -> "Composable":
    from psycopg2 import sql

    return sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(name))
        if name == "analysisType"
        else sql.Identifier(name)
        if name in table.columns
        else sql.SQL("'{}'")
        for name in _WANTED
    )


def _request(table: AppTable, row: Sequence[Any]) -> Request:
    analysis_run_id, protocol_id, analysis_type, parameters = row
    if isinstance(parameters, str) and not table.is_json("inputParams"):
        parameters = decoded(parameters)
    return Request(analysis_run_id, protocol_id, analysis_type, parameters)
