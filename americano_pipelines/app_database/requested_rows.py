"""Insert requests into the app's table as PENDING rows, and read how far they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from americano_pipelines.app_database.column_values import (
    SUMMARY,
    column_assignments,
    decoded,
    known_protocol,
    new_row_values,
    required_columns,
)
from americano_pipelines.app_database.connection import connected
from americano_pipelines.errors import RequestRefusedError
from americano_pipelines.settings import PostgresTarget

_PROGRESS = (
    *("id", "protocolId", "analysisType", "runName", "inputParams", "status", "startedAt", "completedAt"),
    *("errorMessage", SUMMARY),
)


def insert_request(
    target: PostgresTarget,
    analysis_run_id: str,
    protocol_id: str,
    app_type: str,
    run_name: str,
    parameters: Mapping[str, Any],
) -> bool:
    """Insert a PENDING row, unless there is a row of this id.

    Args:
        target: the app's database.
        analysis_run_id: the row.
        protocol_id: the protocol.
        app_type: the analysis, as a value of the app's enum AnalysisType.
        run_name: its name, for people.
        parameters: the parameters that are stated, by name.

    Returns:
        Whether it was inserted.

    Raises:
        RequestRefusedError: the app has no such protocol or no column for the parameters, or it requires a column that
            has no value here.
        AppRowError: the app's enum lacks the type, or Postgres refuses; TransientAppRowError: it cannot be reached.
    """
    from sqlalchemy.dialects.postgresql import insert

    values = new_row_values(analysis_run_id, protocol_id, app_type, run_name, parameters, summary={}, status="PENDING")
    with connected(target) as (connection, table):
        assigned = column_assignments(table, values)
        if missing := [name for name in required_columns(table) if name not in assigned]:
            raise RequestRefusedError(
                f"{table.fullname} requires {', '.join(missing)}, which a request has no value for"
            )
        if parameters and "inputParams" not in assigned:
            raise RequestRefusedError(f"{table.fullname} has no inputParams, so a request can state no parameters")
        statement = insert(table).values(assigned).on_conflict_do_nothing(index_elements=["id"])
        with known_protocol(RequestRefusedError(f"the app has no protocol {protocol_id!r} any more")):
            return connection.execute(statement).rowcount == 1


@dataclass(frozen=True)
class RequestProgress:
    """How far a row is.

    Attributes:
        protocol_id: its protocol.
        analysis_type: its value of AnalysisType.
        run_name: its name.
        parameters: the content of `inputParams`, of any JSON type; None where the table has no such column.
        status: PENDING, RUNNING, COMPLETED or FAILED.
        started_at: when it was inserted, or claimed since; UTC.
        completed_at: when it ended; UTC.
        error: why it FAILED.
        dagster_run_id: the Dagster run that has it, or had it.
        record_sha256: the record that it shows.
    """

    protocol_id: str
    analysis_type: str
    run_name: str
    parameters: Any
    status: str
    started_at: datetime | None
    completed_at: datetime | None
    error: str | None
    dagster_run_id: str | None
    record_sha256: str | None


def read_progress(target: PostgresTarget, analysis_run_id: str) -> RequestProgress | None:
    """Read how far a row is; None when it does not exist.

    Raises:
        AppRowError: the table cannot be read; TransientAppRowError: Postgres cannot be reached at the moment.
    """
    from sqlalchemy import Text, cast, select

    with connected(target) as (connection, table):
        columns = [table.c[name] for name in _PROGRESS if name in table.c]
        # As text, because an id that is no UUID is an error of a column of UUIDs, and means no row.
        query = select(*columns).where(cast(table.c.id, Text) == analysis_run_id)
        row = connection.execute(query).mappings().first()
    if row is None:
        return None
    summary, parameters = row.get(SUMMARY), row.get("inputParams")
    results = summary if isinstance(summary, dict) else {}
    return RequestProgress(
        protocol_id=row["protocolId"],
        analysis_type=row["analysisType"],
        run_name=row["runName"],
        parameters=decoded(parameters) if isinstance(parameters, str) else parameters,
        status=row["status"],
        started_at=_utc(row.get("startedAt")),
        completed_at=_utc(row.get("completedAt")),
        error=row.get("errorMessage"),
        dagster_run_id=_text(results.get("dagster_run_id")),
        record_sha256=_text(results.get("provenance_sha256")),
    )


def unfinished_rows(target: PostgresTarget, analysis_run_ids: Sequence[str]) -> set[str]:
    """The ids among some whose row is PENDING or RUNNING.

    Raises:
        AppRowError: the table cannot be read; TransientAppRowError: Postgres cannot be reached at the moment.
    """
    from sqlalchemy import Text, cast, select

    with connected(target) as (connection, table):
        row_id = cast(table.c.id, Text)
        unfinished = cast(table.c.status, Text).in_(("PENDING", "RUNNING"))
        query = select(row_id).where(row_id.in_(analysis_run_ids), unfinished)
        return set(connection.execute(query).scalars())


def _utc(time: datetime | None) -> datetime | None:
    """A time of the app, whose columns are UTC without a time zone, or have one."""
    return time if time is None or time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)


def _text(value: Any) -> str | None:  # noqa: ANN401 - JSON
    return value if isinstance(value, str) and value else None
