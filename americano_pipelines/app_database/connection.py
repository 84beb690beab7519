"""Connect to the app's table of analysis runs: one transaction, the table as it is now, error messages, retries.

The role in use may touch no other table.
"""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from americano_pipelines.app_database.column_values import decoded
from americano_pipelines.errors import AppRowError, TransientAppRowError
from americano_pipelines.settings import PostgresTarget
from americano_pipelines.sources.snapshot_connections import NO_MORE_CONNECTIONS
from americano_pipelines.sources.transient_errors import is_transient

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection, Table
    from sqlalchemy.engine.interfaces import ReflectedColumn

P = ParamSpec("P")
R = TypeVar("R")

APPLICATION_NAME = "americano_pipelines link"
# With row-level security off, Postgres raises an error for a role that may not see all rows; else it shows fewer.
_OPTIONS = "-c row_security=off -c TimeZone=UTC -c statement_timeout=15000 -c lock_timeout=5000"
_CONNECT_SECONDS = 10
# A restart of the app's database takes seconds. After a longer outage the sensor run_outcome writes the row.
WAITS_SECONDS = (1.0, 4.0)
_NAMES = ("analysis_runs", "AnalysisRun")
# Every version of the app has these columns.
_REQUIRED = ("id", "protocolId", "runName", "analysisType", "status")


@contextmanager
def connected(target: PostgresTarget) -> Iterator[tuple["Connection", "Table"]]:
    """Open a connection for one transaction: commit at the end of the block, roll back after an error.

    Yields:
        The connection, and the table as the catalog describes it now.

    Raises:
        AppRowError: the table does not exist, or Postgres refuses the role or a statement.
        TransientAppRowError: Postgres cannot be reached at the moment.
    """
    from sqlalchemy import URL, create_engine
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.pool import NullPool

    engine = create_engine(
        URL.create("postgresql+psycopg2", target.user, host=target.host, port=target.port, database=target.database),
        connect_args=_libpq_parameters(target),
        poolclass=NullPool,
        # With json.loads, one value that is nested too deep makes the query fail for all rows.
        json_deserializer=decoded,
    )
    try:
        with engine.begin() as connection:
            yield connection, _reflect_table(connection, target.schema)
    except DBAPIError as error:
        error_type = TransientAppRowError if _is_transient(error) else AppRowError
        # psycopg2 gives no SQLSTATE to a connection that failed or broke.
        what = ", the app's analysis runs" if getattr(error.orig, "pgcode", None) else " cannot be reached"
        raise error_type(f"{target.label}{what}: {_first_line(error)}") from None


def retried(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function repeat its call, at most twice, while the app's database cannot be reached."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for seconds in WAITS_SECONDS:
            try:
                return function(*args, **kwargs)
            except TransientAppRowError:
                time.sleep(seconds)
        return function(*args, **kwargs)

    return call


def _libpq_parameters(target: PostgresTarget) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        # In the URL, an empty password would be left out, and libpq would take another one from PGPASSWORD.
        "password": target.password,
        "application_name": APPLICATION_NAME,
        "connect_timeout": _CONNECT_SECONDS,
        **dict(target.options),
    }
    parameters["options"] = f"{parameters.get('options', '')} {_OPTIONS}".strip()
    return parameters


def _reflect_table(connection: "Connection", schema: str) -> "Table":
    """Read the table from the catalog, which also describes columns that the role may not read."""
    from sqlalchemy import MetaData, Table, inspect

    catalog = inspect(connection)
    names = catalog.get_table_names(schema)
    name = next((name for name in _NAMES if name in names), None)
    if name is None:
        raise AppRowError(
            f"there is no table {' or '.join(_NAMES)} in schema {schema!r} of the database that "
            "ANALYSIS_RUNS_DATABASE_URL names, or the role may not see it (deploy/link_role.sql grants what it needs)"
        )
    # autoload_with would also read keys, indexes and comments: 13 queries and 140 ms instead of 3 and 45 ms.
    table = Table(name, MetaData(), *map(_column, catalog.get_columns(name, schema)), schema=schema)
    if missing := [column for column in _REQUIRED if column not in table.c]:
        raise AppRowError(f"{table.fullname} is no table of analysis runs: it has no {', '.join(missing)}")
    return table


def _column(reflected: "ReflectedColumn") -> "Column[Any]":
    from sqlalchemy import Column, FetchedValue, Uuid

    # Ids are text in this package, also where the app's column is a UUID.
    kind = Uuid(as_uuid=False) if isinstance(reflected["type"], Uuid) else reflected["type"]
    has_default = reflected["default"] is not None or "identity" in reflected or "computed" in reflected
    default = FetchedValue() if has_default else None
    return Column(reflected["name"], kind, nullable=reflected["nullable"], server_default=default)


def _is_transient(error: Any) -> bool:  # noqa: ANN401 - any DBAPIError, whose `orig` is psycopg2's own error
    """Whether the app's database may answer a little later; a wrong password, name or certificate stays wrong."""
    reason = str(error.orig)
    if any(sign in reason for sign in NO_MORE_CONNECTIONS):
        return True
    return is_transient(reason, of_server="FATAL:" in reason or bool(getattr(error.orig, "pgcode", None)))


def _first_line(error: Any) -> str:  # noqa: ANN401 - any DBAPIError, whose `orig` is psycopg2's own error
    return str(error.orig).strip().partition("\n")[0]
