"""A connection to the app's table of analysis runs: one transaction, errors in words, patience.

Here belongs reaching it, by a role that may touch nothing else. What is asked and written there is `requests.py` and
`link.py`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from americano_pipelines import sql as statements
from americano_pipelines.errors import LinkError, TransientLinkError
from americano_pipelines.settings import PostgresTarget
from americano_pipelines.tracking.app_table import AppColumn, AppTable, decoded

R = TypeVar("R")

APPLICATION_NAME = "americano_pipelines link"
# Row-level security off: Postgres then says that the role may not see all rows, instead of showing it none.
_OPTIONS = "-c row_security=off -c TimeZone=UTC -c statement_timeout=15000 -c lock_timeout=5000"
_CONNECT_SECONDS = 10
# An app that restarts is back within seconds; whatever lasts longer is repaired later.
WAITS_SECONDS = (1.0, 4.0)
_NAMES = ("analysis_runs", "AnalysisRun")
# What a row cannot be without, whatever the app's version.
_REQUIRED = ("id", "protocolId", "runName", "analysisType", "status")


@contextmanager
def connected(target: PostgresTarget) -> Iterator[tuple[Any, AppTable]]:
    """One transaction over a connection of its own: committed at the block's end, rolled back by an error.

    Yields:
        A psycopg2 cursor, and the table as it is now.

    Raises:
        LinkError: the table is not there, or refuses what is asked or written.
        TransientLinkError: Postgres cannot be reached at the moment.
    """
    import psycopg2
    from psycopg2.extras import register_default_json, register_default_jsonb

    options: dict[str, Any] = {"application_name": APPLICATION_NAME, "connect_timeout": _CONNECT_SECONDS}
    options |= dict(target.options)
    options["options"] = f"{options.get('options', '')} {_OPTIONS}".strip()
    try:
        connection = psycopg2.connect(
            host=target.host,
            port=target.port,
            user=target.user,
            password=target.password,
            dbname=target.database,
            **options,
        )
        # The driver's own reading fails all rows for one that cannot be read.
        register_default_json(connection, loads=decoded)
        register_default_jsonb(connection, loads=decoded)
        with closing(connection), connection, connection.cursor() as cursor:
            yield cursor, _find_table(cursor, target.schema)
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise TransientLinkError(f"{target.label} cannot be reached: {_first_line(error)}") from None
    except psycopg2.Error as error:
        raise LinkError(f"{target.label}, the app's analysis runs: {_first_line(error)}") from None


def patiently(function: Callable[[], R]) -> R:
    """Call again, twice, while the app's database cannot be reached.

    Raises:
        TransientLinkError: it still cannot.
    """
    for seconds in WAITS_SECONDS:
        try:
            return function()
        except TransientLinkError:
            time.sleep(seconds)
    return function()


def _find_table(cursor: Any, schema: str) -> AppTable:  # noqa: ANN401 - a psycopg2 cursor
    """Find the table under either of its names."""
    for name in _NAMES:
        cursor.execute(statements.load("tracking", "app_columns"), (schema, name))
        columns = {
            column: AppColumn(kind, required=required, labels=tuple(labels or ()), longest=longest)
            for column, kind, required, labels, longest in cursor.fetchall()
        }
        if columns:
            if missing := [column for column in _REQUIRED if column not in columns]:
                raise LinkError(f"{schema}.{name} is no table of analysis runs: it has no {', '.join(missing)}")
            return AppTable(schema, name, columns)
    raise LinkError(
        f"there is no table {' or '.join(_NAMES)} in schema {schema!r} of the database that ANALYSIS_RUNS_DATABASE_URL "
        "names, or the role may not see it (deploy/link_role.sql grants what it needs)"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
