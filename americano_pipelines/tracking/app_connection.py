"""A connection to the app's table of analysis runs: one transaction, errors in words.

Here belongs reaching it, by a role that may touch nothing else. What is asked and written there is `requests.py` and
`link.py`.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from americano_pipelines.errors import LinkError, TransientLinkError
from americano_pipelines.settings import PostgresTarget
from americano_pipelines.tracking.app_table import AppTable, find_app_table

APPLICATION_NAME = "americano_pipelines link"
# Row-level security off: Postgres then says that the role may not see all rows, instead of showing it none.
_OPTIONS = "-c row_security=off -c TimeZone=UTC -c statement_timeout=15000 -c lock_timeout=5000"
_CONNECT_SECONDS = 10


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


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
