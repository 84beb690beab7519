"""One read-only instant of the source Postgres, shared by every scan and query made on it.

Here belongs the session: how it is opened, what it promises, how its failures read. What is asked of it
lives in `catalog.py` and `figures.py`.

All reads go through one DuckDB transaction over the attached database. DuckDB's parallel scans and its
`postgres_query` calls then use one exported REPEATABLE READ snapshot, so tables read minutes apart still
belong to the same instant.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb

from americano_pipelines import sql
from americano_pipelines.engine import load_postgres_extension
from americano_pipelines.errors import SourceError
from americano_pipelines.settings import PostgresTarget
from americano_pipelines.sources.failures import translated

ATTACHED = "source"
# Of one sync, however many threads it has: the app needs the server's others.
MOST_CONNECTIONS = 4
APPLICATION_NAME = "americano_pipelines"
# Locks are waited for briefly: a migration that holds one would otherwise leave us queueing, and the app behind us.
LOCK_TIMEOUT_MS = 10_000
IDLE_TIMEOUT_MS = 3_600_000

_SESSION_VARIABLES = ("PGTZ", "PGDATESTYLE", "PGCLIENTENCODING")


@dataclass(frozen=True)
class Snapshot:
    """An open instant of the source.

    Attributes:
        connection: the DuckDB session whose transaction holds it; the database is attached as `source`.
        target: where it is.
        taken_at: Postgres's clock at the start of the transaction, ISO 8601, UTC.
        identity: what tells this database's history apart from another's: system identifier, timeline,
            database, when the server was started and where it answers, the snapshot's xmin and xmax, server version,
            whether it is a replica.
    """

    connection: duckdb.DuckDBPyConnection
    target: PostgresTarget
    taken_at: str
    identity: dict[str, Any]

    def query(self, statement: str, table: str | None = None) -> list[tuple[Any, ...]]:
        """Run one SQL statement inside Postgres, in the snapshot.

        Args:
            statement: what to run.
            table: the table it reads, for the message.

        Raises:
            SourceError: Postgres refuses it; TransientSourceError: Postgres went away.
        """
        with translated(self.target, table):
            return self.connection.execute(
                f"SELECT * FROM postgres_query('{ATTACHED}', $1)",  # noqa: S608 - a constant
                [statement],
            ).fetchall()

    def renew(self, *, keep: bool) -> None:
        """End the transaction and begin another, which sees what is there now.

        Args:
            keep: what was written in DuckDB meanwhile stays.
        """
        with translated(self.target):
            self.connection.execute("COMMIT" if keep else "ROLLBACK")
            self.connection.execute("BEGIN TRANSACTION")

    def relation(self, schema: str, table: str) -> str:
        """The table's quoted name for scans by DuckDB."""
        return sql.quote(ATTACHED, schema, table)


@contextmanager
def open_snapshot(connection: duckdb.DuckDBPyConnection, target: PostgresTarget) -> Iterator[Snapshot]:
    """Attach the source and hold one snapshot of it for the block.

    Row-level security would otherwise filter rows without a word: with `row_security = off` Postgres raises
    instead. The password travels as a bound value into a DuckDB secret, so it is in no statement, no
    command line and no error text.

    Args:
        connection: a session from `engine.connect`; detached again on the way out.
        target: the database to read.

    Raises:
        SourceError: it cannot be read; TransientSourceError: it cannot be reached at the moment.
    """
    with _without_session_variables():
        yield from _open_snapshot(connection, target)


def _open_snapshot(connection: duckdb.DuckDBPyConnection, target: PostgresTarget) -> Iterator[Snapshot]:
    load_postgres_extension(connection)
    connection.execute(f"SET pg_pool_max_connections = {MOST_CONNECTIONS}")
    connection.execute("SET pg_pool_acquire_mode = 'wait'")
    parameters = ["TYPE postgres", "HOST $1", "PORT $2", "USER $3", "PASSWORD $4", "DATABASE $5"]
    values = [target.host, str(target.port), target.user, target.password, target.database]
    with translated(target):
        connection.execute(f"CREATE OR REPLACE TEMPORARY SECRET {ATTACHED} ({', '.join(parameters)})", values)
        connection.execute(
            f"ATTACH '{_connection_options(target)}' AS {ATTACHED} (TYPE postgres, READ_ONLY, SECRET {ATTACHED})"
        )
    try:
        connection.execute("BEGIN TRANSACTION")
        with translated(target):
            row = connection.execute(
                f"SELECT * FROM postgres_query('{ATTACHED}', $1)",  # noqa: S608 - a constant
                [sql.load("sources", "snapshot")],
            ).fetchone()
        identity: dict[str, Any] = json.loads(row[0]) if row else {}
        taken_at = str(identity.pop("taken_at"))
        if identity["row_security"] != "off":
            raise SourceError(
                f"{target.label}: the session was opened with row_security = {identity['row_security']} although off "
                "was asked for (a connection pooler that drops options does this), so rows could be left out without "
                "a word. Nothing was copied. Connect to the server itself"
            )
        yield Snapshot(connection, target, taken_at, identity)
        connection.execute("COMMIT")
    finally:
        _detach(connection)


@contextmanager
def _without_session_variables() -> Iterator[None]:
    """Keep libpq from taking time zone, date style and encoding from the environment: those would win over ours."""
    kept = {name: os.environ.pop(name) for name in _SESSION_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _detach(connection: duckdb.DuckDBPyConnection) -> None:
    for statement in ("ROLLBACK", f"DETACH {ATTACHED}", f"DROP SECRET IF EXISTS {ATTACHED}"):
        try:
            connection.execute(statement)
        except duckdb.Error:
            # No transaction left, or the server is gone: there is nothing to end, and the error that
            # matters is already on its way.
            continue


def _connection_options(target: PostgresTarget) -> str:
    server = {
        "row_security": "off",
        "TimeZone": "UTC",
        "DateStyle": "ISO",
        "extra_float_digits": "1",
        "statement_timeout": f"{target.statement_timeout}s",
        "lock_timeout": str(LOCK_TIMEOUT_MS),
        "idle_in_transaction_session_timeout": str(IDLE_TIMEOUT_MS),
        "default_transaction_read_only": "on",
    }
    options = {
        "application_name": APPLICATION_NAME,
        "connect_timeout": "10",
        "client_encoding": "UTF8",
        **dict(target.options),
        "options": " ".join(f"-c {name}={value}" for name, value in server.items()),
    }
    escaped = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in options.items()}
    return sql.escape(" ".join(f"{name}='{value}'" for name, value in escaped.items()))


def literal(values: Sequence[str]) -> str:
    """Write strings as a Postgres array literal, for the statements that `postgres_query` cannot bind to."""
    return "ARRAY[" + ", ".join(f"'{sql.escape(value)}'" for value in values) + "]::text[]"
