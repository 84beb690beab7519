"""Open one read-only snapshot of the source Postgres, shared by every scan and query made on it."""

# All reads go through one DuckDB transaction over the attached database: over one connection, or over several that
# share one exported REPEATABLE READ snapshot. So tables read minutes apart still belong to the same instant.

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.common.duckdb_session import load_postgres_extension
from americano_pipelines.settings import PostgresTarget
from americano_pipelines.sources.postgres_errors import postgres_errors
from americano_pipelines.sources.snapshot_connections import ATTACHED, Connections, startup_options

APPLICATION_NAME = "americano_pipelines"

# One connection until more are known to be allowed; kept as long as the snapshot, so that all can be checked.
_POOL = (
    "pg_pool_max_connections = 1",
    "pg_pool_acquire_mode = 'wait'",
    "pg_pool_enable_reaper_thread = false",
    "pg_pool_idle_timeout_millis = 0",
    "pg_use_ctid_scan = false",
)
_SESSION_VARIABLES = ("PGTZ", "PGDATESTYLE", "PGCLIENTENCODING")


@dataclass(frozen=True)
class Snapshot:
    """An open instant of the source.

    Attributes:
        connection: the DuckDB session whose transaction holds it; the database is attached as `source`.
        target: the database.
        taken_at: Postgres's clock at the start of the transaction, ISO 8601, UTC.
        identity: what distinguishes this database's history from another's: system identifier, timeline,
            database, when the server was started and where it answers, the snapshot's xmin and xmax, server version,
            whether it is a replica.
        connections: the connections that read it.
    """

    connection: duckdb.DuckDBPyConnection
    target: PostgresTarget
    taken_at: str
    identity: dict[str, Any]
    connections: Connections

    def query(self, statement: str, table: str | None = None) -> list[tuple[Any, ...]]:
        """Run one SQL statement inside Postgres, in the snapshot.

        Args:
            statement: what to run.
            table: the table it reads, for the message.

        Raises:
            SourceError: Postgres refuses it; TransientSourceError: Postgres went away.
        """
        with postgres_errors(self.target, table):
            return self.connection.execute(
                f"SELECT * FROM postgres_query('{ATTACHED}', $1)",  # noqa: S608 - a constant
                [statement],
            ).fetchall()

    def renew(self, *, keep: bool) -> None:
        """End the transaction and begin another, which sees the present state.

        Args:
            keep: the rows that were read count, and writes to DuckDB stay; else both are discarded.

        Raises:
            SourceError: the rows were not read at one instant.
        """
        with postgres_errors(self.target):
            if keep:
                self.connections.check_shared_snapshot()
                self.connection.execute("COMMIT")
            else:
                self.connection.execute("ROLLBACK")
                # A file that was attached in the transaction is gone with it, and may have been the one in use.
                self.connection.execute("USE memory")
            self.connections.begin()

    def relation(self, schema: str, table: str) -> str:
        """The table's quoted name for scans by DuckDB."""
        return sql.quote(ATTACHED, schema, table)


@contextmanager
def open_snapshot(connection: duckdb.DuckDBPyConnection, target: PostgresTarget) -> Iterator[Snapshot]:
    """Attach the source and hold one snapshot of it for the block.

    Row-level security would otherwise filter rows silently: with `row_security = off` Postgres raises an error
    instead. The password goes as a bound value into a DuckDB secret, so it is in no statement, no command line and
    no error text.

    Args:
        connection: a session from `common.duckdb_session.connect`; detached after the block.
        target: the database to read.

    Raises:
        SourceError: it cannot be read; TransientSourceError: it cannot be reached at the moment.
    """
    with _without_session_variables():
        yield from _open_snapshot(connection, target)


def _open_snapshot(connection: duckdb.DuckDBPyConnection, target: PostgresTarget) -> Iterator[Snapshot]:
    load_postgres_extension(connection)
    for setting in _POOL:
        connection.execute(f"SET {setting}")
    connections = Connections(connection, target)
    try:
        with postgres_errors(target):
            _attach(connection, target, connections.settings)
            if connections.examine():
                connection.execute(f"DETACH {ATTACHED}")
                _attach(connection, target, connections.settings)
            connections.open()
            connections.begin()
            row = connection.execute(
                f"SELECT * FROM postgres_query('{ATTACHED}', $1)",  # noqa: S608 - a constant
                [sql.load("sources", "snapshot")],
            ).fetchone()
        identity: dict[str, Any] = json.loads(row[0]) if row else {}
        taken_at = str(identity.pop("taken_at"))
        yield Snapshot(connection, target, taken_at, identity, connections)
        with postgres_errors(target):
            connections.check_shared_snapshot()
            connection.execute("COMMIT")
    finally:
        _detach(connection)


def _attach(connection: duckdb.DuckDBPyConnection, target: PostgresTarget, settings: Mapping[str, str]) -> None:
    parameters = ["TYPE postgres", "HOST $1", "PORT $2", "USER $3", "PASSWORD $4", "DATABASE $5"]
    values = [target.host, str(target.port), target.user, target.password, target.database]
    connection.execute(f"CREATE OR REPLACE TEMPORARY SECRET {ATTACHED} ({', '.join(parameters)})", values)
    connection.execute(
        f"ATTACH '{_connection_options(target, settings)}' AS {ATTACHED} (TYPE postgres, READ_ONLY, SECRET {ATTACHED})"
    )


@contextmanager
def _without_session_variables() -> Iterator[None]:
    """Keep libpq from taking time zone, date style and encoding from the environment: those would win over ours."""
    kept = {name: os.environ.pop(name) for name in _SESSION_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _detach(connection: duckdb.DuckDBPyConnection) -> None:
    for statement in (
        "ROLLBACK",
        f"DETACH {ATTACHED}",
        f"DROP SECRET IF EXISTS {ATTACHED}",
        "CALL disable_logging()",
        "CALL truncate_duckdb_logs()",
    ):
        try:
            connection.execute(statement)
        except duckdb.Error:
            # No transaction is left, or the server is gone: the error that matters is already raised.
            continue


def _connection_options(target: PostgresTarget, settings: Mapping[str, str]) -> str:
    from_address = dict(target.options)
    options = {
        "application_name": APPLICATION_NAME,
        "connect_timeout": "10",
        **from_address,
        "client_encoding": "UTF8",
        "options": startup_options(settings, from_address.get("options", "")),
    }
    escaped = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in options.items()}
    return sql.escape(" ".join(f"{name}='{value}'" for name, value in escaped.items()))


def literal(values: Sequence[str]) -> str:
    """Write strings as a Postgres array literal, for the statements that `postgres_query` cannot bind to."""
    return "ARRAY[" + ", ".join(f"'{sql.escape(value)}'" for value in values) + "]::text[]"
