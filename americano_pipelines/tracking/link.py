"""The link between an analysis and the app's row for it: claimed, completed, failed, or made.

Here belongs writing that one table, over a connection of its own by a role that may write nothing else. What is
written is decided by the caller; columns and labels that the app does not have are left out.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from americano_pipelines.errors import LinkError, TransientLinkError
from americano_pipelines.settings import PostgresTarget
from americano_pipelines.tracking.app_table import AppTable, find_app_table

APPLICATION_NAME = "americano_pipelines link"
_OPTIONS = "-c row_security=off -c TimeZone=UTC -c statement_timeout=15000 -c lock_timeout=5000"
_CONNECT_SECONDS = 10
_MOST_ERROR_TEXT = 4000
SUMMARY = "resultsSummary"


@dataclass(frozen=True)
class Request:
    """A row that asks for an analysis, or did: its id, protocol, type and parameters."""

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

    with _connected(target) as (cursor, table):
        first = "startedAt" if "startedAt" in table.columns else "id"
        cursor.execute(
            sql.SQL("SELECT {columns} FROM {table} WHERE status = 'PENDING' ORDER BY {first}, id LIMIT %s").format(
                columns=_columns(table), table=table.identifier, first=sql.Identifier(first)
            ),
            [limit],
        )
        return [Request(*row) for row in cursor.fetchall()]


def claim(target: PostgresTarget, analysis_run_id: str, note: Mapping[str, Any]) -> Request | None:
    """Take a pending request, so that nobody else does.

    The row is taken by the one statement that finds it PENDING: of two workers one finds it so.

    Args:
        target: the app's database.
        analysis_run_id: the row.
        note: put into `resultsSummary`, so that the row says who has it: see `abandon`.

    Returns:
        The request; None when it is not pending any more, or not there.

    Raises:
        LinkError, TransientLinkError: as `pending`.
    """
    from psycopg2 import sql

    with _connected(target) as (cursor, table):
        started = _assignments(table, {"status": "RUNNING", "errorMessage": None, SUMMARY: dict(note)})
        if "startedAt" in table.columns:
            started.append(sql.SQL("{} = now()").format(sql.Identifier("startedAt")))
        cursor.execute(
            sql.SQL("UPDATE {table} SET {started} WHERE id = %s AND status = 'PENDING' RETURNING {columns}").format(
                table=table.identifier, started=sql.SQL(", ").join(started), columns=_columns(table)
            ),
            [analysis_run_id],
        )
        row = cursor.fetchone()
        return Request(*row) if row else None


def refuse(target: PostgresTarget, analysis_run_id: str, reason: str) -> bool:
    """Fail a pending request that cannot be carried out.

    Returns:
        Whether it was still pending.

    Raises:
        LinkError, TransientLinkError: as `pending`.
    """
    return _fail(target, analysis_run_id, reason, sql_condition="status = 'PENDING'")


def abandon(target: PostgresTarget, analysis_run_id: str, dagster_run_id: str, reason: str) -> bool:
    """Fail a row that a Dagster run took or made, and left RUNNING when it ended.

    Returns:
        Whether it was: a row that is another run's by now is left alone.

    Raises:
        LinkError, TransientLinkError: as `pending`.
    """
    condition = f"status = 'RUNNING' AND \"{SUMMARY}\" ->> 'dagster_run_id' = %s"
    return _fail(target, analysis_run_id, reason, dagster_run_id, sql_condition=condition)


def _fail(target: PostgresTarget, analysis_run_id: str, reason: str, *bound: str, sql_condition: str) -> bool:
    from psycopg2 import sql

    with _connected(target) as (cursor, table):
        ended = _assignments(table, {"status": "FAILED", "errorMessage": error_text(reason)})
        if "completedAt" in table.columns:
            ended.append(sql.SQL("{} = now()").format(sql.Identifier("completedAt")))
        cursor.execute(
            sql.SQL("UPDATE {table} SET {ended} WHERE id = %s AND {condition}").format(
                table=table.identifier, ended=sql.SQL(", ").join(ended), condition=sql.SQL(sql_condition)
            ),
            [analysis_run_id, *bound],
        )
        return bool(cursor.rowcount)


def read_row(target: PostgresTarget, analysis_run_id: str) -> dict[str, Any] | None:
    """A row as it is now, column to value; None when there is none.

    Raises:
        LinkError, TransientLinkError: as `pending`.
    """
    from psycopg2 import sql

    with _connected(target) as (cursor, table):
        cursor.execute(sql.SQL("SELECT * FROM {} WHERE id = %s").format(table.identifier), [analysis_run_id])
        found = cursor.fetchone()
        return dict(zip([column[0] for column in cursor.description], found, strict=True)) if found else None


def write(target: PostgresTarget, analysis_run_id: str, values: Mapping[str, Any]) -> list[str]:
    """Write what is known of an analysis into its row.

    Args:
        target: the app's database.
        analysis_run_id: the row.
        values: column to value, by the app's names; those that the table lacks are left out.

    Returns:
        The columns that were written.

    Raises:
        LinkError: there is no such row, or it cannot be written; TransientLinkError as `pending`.
    """
    from psycopg2 import sql

    with _connected(target) as (cursor, table):
        known = _known(table, values)
        cursor.execute(
            sql.SQL("UPDATE {table} SET {values} WHERE id = %s").format(
                table=table.identifier, values=sql.SQL(", ").join(_assignments(table, known))
            ),
            [analysis_run_id],
        )
        if cursor.rowcount != 1:
            raise LinkError(f"{table.schema}.{table.name} has no row {analysis_run_id!r}: there is nothing to link to")
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
        LinkError: a required column has no value or a label does not exist; TransientLinkError as `pending`.
    """
    from psycopg2 import sql

    with _connected(target) as (cursor, table):
        known = {"id": analysis_run_id, **_known(table, values)}
        if missing := [name for name, column in table.columns.items() if column.required and known.get(name) is None]:
            raise LinkError(
                f"{table.schema}.{table.name} requires {', '.join(missing)}, which this analysis has no value for; "
                "register it in the app and give its id"
            )
        names = sql.SQL(", ").join(map(sql.Identifier, known))
        cursor.execute(
            sql.SQL("INSERT INTO {table} ({names}) VALUES ({values}) ON CONFLICT (id) DO UPDATE SET {again}").format(
                table=table.identifier,
                names=names,
                values=sql.SQL(", ").join(sql.Literal(table.value(name, value)) for name, value in known.items()),
                again=sql.SQL(", ").join(_assignments(table, known)),
            )
        )
        return list(known)


def error_text(error: str) -> str:
    """An error's text as it goes into the app's row: a page of it is enough for people."""
    return error if len(error) <= _MOST_ERROR_TEXT else f"{error[: _MOST_ERROR_TEXT - 1]}…"


@contextmanager
def _connected(target: PostgresTarget) -> Iterator[tuple[Any, AppTable]]:
    """One transaction over a connection of its own, with errors in words."""
    import psycopg2

    options: dict[str, Any] = {"application_name": APPLICATION_NAME, "connect_timeout": _CONNECT_SECONDS}
    options |= {**dict(target.options), "options": _OPTIONS}
    try:
        connection = psycopg2.connect(
            host=target.host,
            port=target.port,
            user=target.user,
            password=target.password,
            dbname=target.database,
            **options,
        )
        with closing(connection), connection, connection.cursor() as cursor:
            yield cursor, find_app_table(cursor, target.schema)
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise TransientLinkError(f"{target.label} cannot be reached: {_first_line(error)}") from None
    except psycopg2.Error as error:
        raise LinkError(f"{target.label}, the app's analysis runs: {_first_line(error)}") from None


def _columns(table: AppTable) -> Any:  # noqa: ANN401 - psycopg2's composed SQL
    from psycopg2 import sql

    wanted = ("id", "protocolId", "analysisType", "inputParams")
    return sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(name))
        if name == "analysisType"
        else sql.Identifier(name)
        if name in table.columns
        else sql.SQL("NULL")
        for name in wanted
    )


def _known(table: AppTable, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the table has a column for."""
    for name, value in values.items():
        if name == "analysisType" and not table.admits(name, value):
            raise LinkError(
                f"the app's {name} has no {value!r} (it has {', '.join(table.columns[name].labels)}): such an analysis "
                "can only be linked to a row that is there"
            )
    return {
        name: value
        for name, value in values.items()
        if name in table.columns and (not isinstance(value, str) or table.admits(name, value))
    }


def _assignments(table: AppTable, values: Mapping[str, Any]) -> list[Any]:
    from psycopg2 import sql

    return [
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(table.value(name, value)))
        for name, value in values.items()
        if name in table.columns
    ]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
