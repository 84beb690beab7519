"""Read rows of the app's table, and claim, create, complete and fail them."""

# Each change is one statement that checks the row is still as expected. Changes are retried while the app's database
# restarts; reads are not.

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from americano_pipelines.app_database.column_values import (
    SUMMARY,
    check_label,
    column_assignments,
    decoded,
    derived_row_id,
    error_text,
    is_json,
    known_protocol,
    new_row_values,
    owned_by,
    required_columns,
)
from americano_pipelines.app_database.connection import connected, retried
from americano_pipelines.app_database.matching import Request, RowMatcher
from americano_pipelines.errors import AppRowError, RowOwnershipError
from americano_pipelines.settings import PostgresTarget

if TYPE_CHECKING:
    from sqlalchemy import Column, ColumnElement, Connection, RowMapping, Table

# Reads name their columns, because the role may be allowed to read only these.
_REQUEST_COLUMNS = ("id", "protocolId", "analysisType", "inputParams")
_ROW_COLUMNS = ("id", "protocolId", "analysisType", "status", SUMMARY)
# An earlier analysis fills these; a claim empties them.
_RESULT_COLUMNS = (
    "mlflowRunId", "mlflowExperimentId", "mlflowRunUrl", "completedAt", "durationSeconds", "errorMessage",
)  # fmt: skip


def read_row(target: PostgresTarget, analysis_run_id: str) -> dict[str, Any] | None:
    """Read who has a row and what it requests: id, protocolId, analysisType, status and resultsSummary by name.

    Returns:
        Column to value, without a column that the table lacks; None when the row does not exist.

    Raises:
        AppRowError: the table cannot be read; TransientAppRowError: Postgres cannot be reached at the moment.
    """
    with connected(target) as (connection, table):
        return _read(connection, table, analysis_run_id)


def owner(row: Mapping[str, Any]) -> str | None:
    """The Dagster run that a row of `read_row` names as its owner; None when it names none."""
    summary = row.get(SUMMARY)
    return summary.get("dagster_run_id") if isinstance(summary, dict) else None


def pending(target: PostgresTarget, limit: int) -> list[Request]:
    """Read the requests that no run has claimed, oldest first.

    Raises:
        AppRowError: the table cannot be read; TransientAppRowError: Postgres cannot be reached at the moment.
    """
    from sqlalchemy import select

    with connected(target) as (connection, table):
        check_label(table, "status", "PENDING")
        query = (
            select(*_columns(table, _REQUEST_COLUMNS))
            .where(table.c.status == "PENDING")
            .order_by(*_columns(table, ("startedAt", "id")))
            .limit(limit)
        )
        return [_request(table, row) for row in connection.execute(query).mappings()]


@retried
def claim(target: PostgresTarget, analysis_run_id: str, dagster_run_id: str, matcher: RowMatcher) -> Request:
    """Set a PENDING row to RUNNING for a Dagster run.

    One statement finds the row PENDING and claims it, so only one of two runs can. A run whose step is retried may
    claim its own row again.

    Args:
        target: the app's database.
        analysis_run_id: the row.
        dagster_run_id: the Dagster run, noted in `resultsSummary` as the row's owner.
        matcher: the analysis that the run carries out.

    Returns:
        The request in the row.

    Raises:
        AppRowError: the row does not exist, is not PENDING, or requests another analysis; it is left unchanged.
        TransientAppRowError: the app's database cannot be reached.
    """
    from sqlalchemy import and_, func, or_, update

    with connected(target) as (connection, table):
        check_label(table, "status", "PENDING")
        values = {
            "status": "RUNNING",
            **dict.fromkeys(_RESULT_COLUMNS),
            SUMMARY: {"dagster_run_id": dagster_run_id},
            "startedAt": func.now(),
        }
        own = and_(_status(table).in_(("RUNNING", "FAILED")), owned_by(table, dagster_run_id))
        statement = (
            update(table)
            .where(table.c.id == analysis_run_id, or_(table.c.status == "PENDING", own))
            .values(column_assignments(table, values))
            .returning(*_columns(table, _REQUEST_COLUMNS))
        )
        claimed = connection.execute(statement).mappings().first()
        if claimed is None:
            raise AppRowError(_not_pending(_read(connection, table, analysis_run_id), analysis_run_id))
        request = _request(table, claimed)
        # An error rolls the claim back.
        matcher.check(request.analysis_run_id, request.protocol_id, request.analysis_type)
        return request


@retried
def create(
    target: PostgresTarget, dagster_run_id: str, asset_key: str, protocol_id: str, app_type: str, run_name: str,
    parameters: Mapping[str, Any],
) -> str:  # fmt: skip
    """Insert a RUNNING row for an analysis that the app did not request.

    Its id follows from the Dagster run, asset and protocol, so another call updates the same row.

    Returns:
        Its id.

    Raises:
        AppRowError: the app's enum lacks the type, the app lacks the protocol, or a required column has no value.
        TransientAppRowError: the app's database cannot be reached.
    """
    from sqlalchemy.dialects.postgresql import insert

    analysis_run_id = derived_row_id(dagster_run_id, asset_key, protocol_id)
    values = new_row_values(
        analysis_run_id,
        protocol_id,
        app_type,
        run_name,
        parameters,
        summary={"dagster_run_id": dagster_run_id},
        status="RUNNING",
    )
    with connected(target) as (connection, table):
        assigned = column_assignments(table, values)
        if missing := [name for name in required_columns(table) if name not in assigned]:
            raise AppRowError(
                f"{table.fullname} requires {', '.join(missing)}, which this analysis has no value for; register it in "
                "the app and give its id"
            )
        # SET x = EXCLUDED.x would require the right to read x.
        statement = insert(table).values(assigned).on_conflict_do_update(index_elements=["id"], set_=assigned)
        refusal = AppRowError(f"the app has no protocol {protocol_id!r} any more, so it can have no analysis of it")
        with known_protocol(refusal):
            connection.execute(statement)
    return analysis_run_id


@retried
def complete(target: PostgresTarget, analysis_run_id: str, dagster_run_id: str, values: Mapping[str, Any]) -> list[str]:
    """Write the result of a recorded analysis into its row.

    The row must belong to the Dagster run, or have FAILED. A row that is PENDING again, or that another run has
    claimed, is left unchanged.

    Args:
        target: the app's database.
        analysis_run_id: the row.
        dagster_run_id: the Dagster run that carried the analysis out.
        values: column to value, by the app's names; those without a column are left out.

    Returns:
        The columns that were written.

    Raises:
        RowOwnershipError: the row does not exist, or does not belong to this run.
        AppRowError: Postgres refuses the values; TransientAppRowError: the app's database cannot be reached.
    """
    from psycopg2.errors import UniqueViolation
    from sqlalchemy import and_, or_, true, update
    from sqlalchemy.exc import IntegrityError

    with connected(target) as (connection, table):
        assigned = column_assignments(table, values)
        # A table without a JSON summary names no owner: there, any row that is not PENDING may be completed.
        owned = owned_by(table, dagster_run_id) if is_json(table, SUMMARY) else true()
        completable = or_(_status(table) == "FAILED", and_(_status(table) != "PENDING", owned))
        statement = update(table).where(table.c.id == analysis_run_id, completable).values(assigned)
        try:
            result = connection.execute(statement)
        except IntegrityError as error:
            if not isinstance(error.orig, UniqueViolation):
                raise
            raise AppRowError(
                f"{table.fullname}: another row than {analysis_run_id!r} is linked to this analysis already "
                f"({str(error.orig).strip().splitlines()[-1].strip()})"
            ) from None
        if result.rowcount != 1:
            raise RowOwnershipError(_not_owned(table, _read(connection, table, analysis_run_id), analysis_run_id))
        return list(assigned)


@retried
def fail(target: PostgresTarget, analysis_run_id: str, reason: str, claimed_by: str | None = None) -> bool:
    """Set a row to FAILED.

    Args:
        target: the app's database.
        analysis_run_id: the row.
        reason: why, for the app's users.
        claimed_by: the Dagster run that has the row; the row must still be RUNNING and belong to it. None for a
            request that cannot be carried out; the row must still be PENDING.

    Returns:
        Whether the row was as expected; else it is left unchanged.

    Raises:
        RowOwnershipError: the table has no JSON summary, so its rows name no owner.
        AppRowError: Postgres refuses the values; TransientAppRowError: the app's database cannot be reached.
    """
    from sqlalchemy import and_, func, update

    with connected(target) as (connection, table):
        expected: ColumnElement[bool]
        if claimed_by is None:
            check_label(table, "status", "PENDING")
            expected = table.c.status == "PENDING"
        elif is_json(table, SUMMARY):
            expected = and_(_status(table) == "RUNNING", owned_by(table, claimed_by))
        else:
            raise RowOwnershipError(
                f"{table.fullname} has no column {SUMMARY} of JSON, so row {analysis_run_id!r} names no owner; "
                f"if it is still RUNNING, set it to FAILED in the app ({reason})"
            )
        values = {"status": "FAILED", "errorMessage": error_text(table, reason), "completedAt": func.now()}
        statement = (
            update(table).where(table.c.id == analysis_run_id, expected).values(column_assignments(table, values))
        )
        return connection.execute(statement).rowcount == 1


def _read(connection: "Connection", table: "Table", analysis_run_id: str) -> dict[str, Any] | None:
    from sqlalchemy import select

    query = select(*_columns(table, _ROW_COLUMNS)).where(table.c.id == analysis_run_id)
    row = connection.execute(query).mappings().first()
    return dict(row) if row else None


def _columns(table: "Table", names: Sequence[str]) -> list["Column[Any]"]:
    return [table.c[name] for name in names if name in table.c]


def _request(table: "Table", row: "RowMapping") -> Request:
    parameters = row.get("inputParams", {})
    if isinstance(parameters, str) and not is_json(table, "inputParams"):
        parameters = decoded(parameters)
    return Request(row["id"], row["protocolId"], row["analysisType"], parameters)


def _status(table: "Table") -> "ColumnElement[str]":
    """The status as text: comparing an enum column with a label that it lacks is an error in Postgres."""
    from sqlalchemy import Text, cast

    return cast(table.c.status, Text)


def _not_pending(row: Mapping[str, Any] | None, analysis_run_id: str) -> str:
    if row is None:
        return f"the app has no analysis run {analysis_run_id!r}: there is nothing to link to"
    return (
        f"analysis run {analysis_run_id!r} is {row['status']}, not PENDING: another worker has it, or it is done. "
        "To rerun it, set it to PENDING"
    )


def _not_owned(table: "Table", row: Mapping[str, Any] | None, analysis_run_id: str) -> str:
    if row is None:
        return f"{table.fullname} has no row {analysis_run_id!r}: there is nothing to link to"
    if row["status"] == "PENDING":
        return f"{table.fullname}: row {analysis_run_id!r} is PENDING again: it requests another run"
    return f"{table.fullname}: row {analysis_run_id!r} is {row['status']}, by Dagster run {owner(row) or 'unknown'}"
