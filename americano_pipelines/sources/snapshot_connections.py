"""Check and count the connections of one snapshot: their settings, and the proof that they share it."""

# DuckDB's extension opens the connections of a parallel scan by itself and does not report them. On a standby, on RDS
# and where a snapshot cannot be exported, each silently reads an instant of its own. So there is one connection unless
# the server can share a snapshot, and the extension's log is checked before any row counts as read.

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from types import MappingProxyType
from typing import Any

import duckdb

from americano_pipelines.common import sql
from americano_pipelines.errors import SourceError
from americano_pipelines.settings import PostgresTarget

ATTACHED = "source"
# Most connections of one sync, for any number of threads: the app needs the server's others.
MAX_CONNECTIONS = 4
# The extension scans in tasks of 1,000 pages: a smaller table is read over one connection anyway.
_PARALLEL_FROM_PAGES = 2_000
# Short waits for locks: else a migration that holds one would make this session queue, and the app behind it.
LOCK_TIMEOUT_MS = 10_000
IDLE_TIMEOUT_MS = 3_600_000
# Known from Postgres 17 and 14 on. Older servers refuse a connection that sets them.
_SETTINGS_OF_NEWER_SERVERS = MappingProxyType({"transaction_timeout": "0", "idle_session_timeout": "0"})
_TRANSACTION = MappingProxyType({"transaction_read_only": "on", "transaction_isolation": "repeatable read"})
NO_MORE_CONNECTIONS = (
    "too many connections",
    "too many clients",
    "remaining connection slots",
    "connection limit exceeded",
    "no more connections allowed",
)


def session_settings(target: PostgresTarget) -> dict[str, str]:
    """The settings of every connection: how values are written, no hidden rows, and time limits."""
    return {
        "row_security": "off",
        "default_transaction_read_only": "on",
        "TimeZone": "UTC",
        "DateStyle": "ISO, MDY",
        "IntervalStyle": "postgres",
        "bytea_output": "hex",
        "extra_float_digits": "1",
        "lc_monetary": "C",
        "xmlbinary": "base64",
        "xmloption": "content",
        "standard_conforming_strings": "on",
        "transform_null_equals": "off",
        "statement_timeout": str(target.statement_timeout * 1000),
        "lock_timeout": str(LOCK_TIMEOUT_MS),
        "idle_in_transaction_session_timeout": str(IDLE_TIMEOUT_MS),
    }


def startup_options(settings: Mapping[str, str], more: str = "") -> str:
    """The settings as libpq's `options`, after those of the address: the later one wins."""
    escaped = {name: value.replace("\\", "\\\\").replace(" ", "\\ ") for name, value in settings.items()}
    return " ".join([*([more] if more else []), *(f"-c {name}={value}" for name, value in escaped.items())])


class Connections:
    """The connections of an attached database: one, or several that share the snapshot of the first."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, target: PostgresTarget) -> None:
        """Describe the connections; the database is attached, its pool has one.

        Args:
            connection: the DuckDB session.
            target: the database, for messages and for the number of connections.
        """
        self._connection, self._target = connection, target
        self.settings = session_settings(target)
        self._first: dict[str, Any] = {}
        self._search_path = ""
        self._connection_id = 0
        self.number = 1

    def examine(self) -> bool:
        """Ask the server how many connections there may be.

        Returns:
            Whether the database has to be attached anew: its other connections need settings of a newer server.
        """
        threads = self._connection.execute("SELECT current_setting('threads')").fetchone()
        limit = min(MAX_CONNECTIONS, int(threads[0]) if threads else 1)
        self.number = min(limit, self._target.connections or limit)
        server = self._query(self._connection, "server")
        in_force: dict[str, list[str]] = server["settings"]
        self._search_path = in_force["search_path"][0]
        # Set by the connection's start, not by a role or a pooler: then the others start alike.
        passed_on = all(in_force[name] == [value, "client"] for name, value in self.settings.items())
        if not passed_on or not server["shares_snapshots"] or server["largest_pages"] < _PARALLEL_FROM_PAGES:
            self.number = 1
        newer = {
            name: value for name, value in _SETTINGS_OF_NEWER_SERVERS.items() if in_force.get(name, [value])[0] != value
        }
        if self.number == 1 or not newer:
            return False
        self.settings |= newer
        return True

    def open(self) -> None:
        """Open the connections, check the settings of each, and leave them to the scans; as many as the server admits.

        Raises:
            SourceError: a connection does not have the requested settings.
        """
        if self.number > 1:
            self._limit(self.number)
            with self._held(self.number) as sessions:
                for session in sessions:
                    self._check(self._query(session, "session"))
                self.number = len(sessions)
            self._limit(self.number)
        # Without scans by parts of the heap, the extension uses the transaction's own connection and no other.
        self._connection.execute(f"SET pg_use_ctid_scan = {self.number > 1}")

    def begin(self) -> None:
        """Begin the transaction that holds the snapshot, with the settings in force in it.

        Raises:
            SourceError: the settings cannot be put in force.
        """
        self._connection.execute("CALL truncate_duckdb_logs()")
        self._connection.execute("CALL enable_logging('PostgresQueryLog')")
        self._connection.execute("BEGIN TRANSACTION")
        if self.number == 1:
            # For this transaction only: a pooler that drops start parameters passes these on.
            statement = sql.render(
                sql.load("sources", "session_local"), settings=sql.escape(json.dumps(self._requested_settings))
            )
            _query(self._connection, statement)
        self._first = self._query(self._connection, "session")
        self._check(self._first)
        row = self._connection.execute(
            "SELECT max(connection_id) FROM duckdb_logs WHERE type = 'PostgresQueryLog'"
        ).fetchone()
        self._connection_id = row[0] if row else 0

    def check_shared_snapshot(self) -> None:
        """Make sure that everything since `begin` was read at one instant, over connections with the same settings.

        Raises:
            SourceError: it was not, or it cannot be proved.
        """
        last = self._query(self._connection, "session")
        same = all(last[name] == self._first[name] for name in ("pid", "snapshot", "began_at"))
        scans = self._connection.execute(sql.load("sources", "scans"), [self._connection_id]).fetchall()
        begun, statement = sum(row[1] for row in scans), sum(row[2] for row in scans)
        # The first BEGIN is the snapshot's own. Two parallel scans in one statement: the first of them reads on a
        # connection without any transaction.
        if not same or begun != statement + 1 or any(sharing > 1 for *_, sharing in scans):
            raise SourceError(
                f"{self._target.label}: it cannot be shown that everything was read at one instant "
                f"({begun} transactions, of which {statement} were given the first one's snapshot; the first is "
                f"{'the same' if same else 'another'} one at the end). Nothing was published. "
                "Set AMERICANO_THREADS=1, which reads over one connection"
            )
        self._check(last)
        with self._held(self.number - 1) as sessions:
            for session in sessions:
                self._check(self._query(session, "session"))

    @property
    def _requested_settings(self) -> dict[str, str]:
        # What a view calls may need the role's own path; it is only the same for all connections.
        return {
            **_SETTINGS_OF_NEWER_SERVERS,
            **self.settings,
            "client_encoding": "UTF8",
            "search_path": self._search_path,
        }

    def _check(self, session: Mapping[str, Any]) -> None:
        in_force: dict[str, str] = session["settings"]
        expected = {**self._requested_settings, **_TRANSACTION}
        unknown = _SETTINGS_OF_NEWER_SERVERS.keys() - in_force.keys()
        wrong = [name for name, value in expected.items() if name not in unknown and in_force.get(name) != value]
        if wrong:
            described = ", ".join(f"{name} is {in_force.get(name)!r}, not {expected[name]!r}" for name in wrong)
            raise SourceError(
                f"{self._target.label}: a connection does not have the requested settings ({described}); a "
                "connection pooler that drops or shares settings does this. Values could be written in another way, or "
                "rows be left out silently. Nothing was copied. Connect to the server itself"
            )

    def _query(self, connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, Any]:
        names = ", ".join(f"'{setting}'" for setting in {**self._requested_settings, **_TRANSACTION})
        rows = _query(connection, sql.render(sql.load("sources", name), names=names))
        document: dict[str, Any] = json.loads(str(rows[0][0]))
        return document

    def _limit(self, number: int) -> None:
        self._connection.execute(
            f"FROM postgres_configure_pool(catalog_name = '{ATTACHED}', max_connections = {number})"
        )

    @contextmanager
    def _held(self, number: int) -> Iterator[list[duckdb.DuckDBPyConnection]]:
        """Open a number of sessions, each with a connection of the pool; fewer where the server admits no more."""
        sessions: list[duckdb.DuckDBPyConnection] = []
        with ExitStack() as stack:
            for _ in range(number):
                session = stack.enter_context(closing(self._connection.cursor()))
                session.execute("BEGIN TRANSACTION")
                try:
                    _query(session, "SELECT 1 AS one")
                except duckdb.Error as error:
                    if not sessions or not any(sign in str(error) for sign in NO_MORE_CONNECTIONS):
                        raise
                    break
                sessions.append(session)
            yield sessions


def _query(connection: duckdb.DuckDBPyConnection, statement: str) -> list[tuple[Any, ...]]:
    return connection.execute(
        f"SELECT * FROM postgres_query('{ATTACHED}', $1)",  # noqa: S608 - a constant
        [statement],
    ).fetchall()
