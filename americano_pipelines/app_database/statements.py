"""Read and write rows of the app's table: list, claim, create, complete and fail them.

Each change is one statement that checks the row is still as expected.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from americano_pipelines.app_database.connection import SUMMARY, AppTable, connected, decoded
from americano_pipelines.app_database.matching import Request, RowMatcher
from americano_pipelines.common import sql as statements
from americano_pipelines.errors import AppRowError, RowOwnershipError
from americano_pipelines.settings import PostgresTarget

if TYPE_CHECKING:
    from psycopg2.sql import Composable


def read_row(target: PostgresTarget, analysis_run_id: str) -> dict[str, Any] | None:
    """A row as it is now, column to value; None when there is none.

    Raises:
        AppRowError: the table cannot be read; TransientAppRowError: Postgres cannot be reached at the moment.
    """
    with connected(target) as (cursor, table):
        return _read(cursor, table, analysis_run_id)


def owner(row: Mapping[str, Any]) -> str | None:
    """The Dagster run that a row of `read_row` says it is of; None when it names none."""
    summary = row.get(SUMMARY)
    return summary.get("dagster_run_id") if isinstance(summary, dict) else None


def complete(target: PostgresTarget, analysis_run_id: str, dagster_run_id: str, values: Mapping[str, Any]) -> list[str]:
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
        RowOwnershipError: there is no such row, or it is not this run's.
        AppRowError: it cannot be written; TransientAppRowError as `read_row`.
    """
    from psycopg2 import errors, sql

    with connected(target) as (cursor, table):
        known = table.known(values)
        # Where a row cannot say whose it is, that nobody asks for it is all there is to go by.
        ours = table.owned_by(dagster_run_id) if table.has_owner_column else sql.SQL("true")
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
            raise AppRowError(
                f"{table.label}: another row than {analysis_run_id!r} is linked to this analysis already "
                f"({str(error).strip().splitlines()[-1].strip()})"
            ) from None
        if cursor.rowcount != 1:
            raise RowOwnershipError(_mismatch(table, analysis_run_id, _read(cursor, table, analysis_run_id)))
        return list(known)


def create(target: PostgresTarget, analysis_run_id: str, values: Mapping[str, Any]) -> list[str]:
    """Make the row of an analysis that nobody had registered; one of that id is brought to these values.

    Args:
        target: the app's database.
        analysis_run_id: the row.
        values: column to value; every column that the app requires must be among them.

    Returns:
        The columns that were written.

    Raises:
        AppRowError: a required column has no value, a label does not exist, or the app does not have the protocol;
            TransientAppRowError as `read_row`.
    """
    from psycopg2 import errors, sql

    with connected(target) as (cursor, table):
        known = {"id": analysis_run_id, **table.known(values)}
        if missing := [name for name, column in table.columns.items() if column.required and known.get(name) is None]:
            raise AppRowError(
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
            raise AppRowError(
                f"the app has no protocol {values.get('protocolId')!r} any more, so it can have no analysis of it"
            ) from None
        return list(known)


def _read(cursor: Any, table: AppTable, analysis_run_id: str) -> dict[str, Any] | None:  # noqa: ANN401 - a psycopg2 cursor
    from psycopg2 import sql

    cursor.execute(sql.SQL("SELECT * FROM {} WHERE id = {}").format(table.identifier, sql.Literal(analysis_run_id)))
    row = cursor.fetchone()
    return dict(zip([column[0] for column in cursor.description], row, strict=True)) if row else None


def _mismatch(table: AppTable, analysis_run_id: str, row: Mapping[str, Any] | None) -> str:
    if row is None:
        return f"{table.label} has no row {analysis_run_id!r}: there is nothing to link to"
    if row["status"] == "PENDING":
        return f"{table.label}: row {analysis_run_id!r} is PENDING again: it asks for another run"
    return f"{table.label}: row {analysis_run_id!r} is {row['status']}, by Dagster run {owner(row) or 'unknown'}"


_WANTED = ("id", "protocolId", "analysisType", "inputParams")
# What an earlier analysis left in a row that is asked for again.
_OF_A_RESULT = ("mlflowRunId", "mlflowExperimentId", "mlflowRunUrl", "completedAt", "durationSeconds", "errorMessage")


def pending(target: PostgresTarget, limit: int) -> list[Request]:
    """Requests that nobody has claimed, oldest first.

    Raises:
        AppRowError: the table cannot be read; TransientAppRowError: Postgres cannot be reached at the moment.
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


def claim(target: PostgresTarget, analysis_run_id: str, dagster_run_id: str, answer: RowMatcher) -> Request | None:
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
        AppRowError: it asks for something else; and as TransientAppRowError, as `pending`.
    """
    from psycopg2 import sql

    with connected(target) as (cursor, table):
        table.check_label("status", "PENDING")
        values = {"status": "RUNNING", **dict.fromkeys(_OF_A_RESULT), SUMMARY: {"dagster_run_id": dagster_run_id}}
        started = [table.assignments(table.known(values))]
        if "startedAt" in table.columns:
            started.append(sql.SQL('"startedAt" = now()'))
        cursor.execute(
            sql.SQL(statements.load("app_database", "claim")).format(
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


_MOST_ERROR_TEXT = 4000


def reject_request(target: PostgresTarget, analysis_run_id: str, reason: str) -> bool:
    """Fail a pending request that cannot be carried out.

    Returns:
        Whether it was still pending.

    Raises:
        AppRowError: it cannot be written; TransientAppRowError: Postgres cannot be reached at the moment.
    """
    from psycopg2 import sql

    with connected(target) as (cursor, table):
        table.check_label("status", "PENDING")
        return _fail(cursor, table, analysis_run_id, reason, sql.SQL("status = 'PENDING'"))


def fail_orphaned_row(target: PostgresTarget, analysis_run_id: str, dagster_run_id: str, reason: str) -> bool:
    """Fail a row that a Dagster run took or made, and left RUNNING when it ended.

    Returns:
        Whether it was: a row that is another run's by now is left alone.

    Raises:
        RowOwnershipError: the table has no place where the row could say whose it is.
        AppRowError, TransientAppRowError: as `reject_request`.
    """
    from psycopg2 import sql

    with connected(target) as (cursor, table):
        if not table.has_owner_column:
            raise RowOwnershipError(
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
