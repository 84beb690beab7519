"""The Postgres session: its settings, its refusals, and the messages of its failures."""

import logging
import secrets
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest
from psycopg2 import sql as pg

from americano_pipelines.common import duckdb_session
from americano_pipelines.common.duckdb_session import connect
from americano_pipelines.demo.postgres.cluster import SUPERUSER
from americano_pipelines.errors import SourceError, TransientSourceError
from americano_pipelines.settings import Settings
from americano_pipelines.sources import postgres_snapshot, snapshot_connections
from americano_pipelines.sources.change_detection import source_state
from americano_pipelines.sources.postgres_catalog import find_tables
from americano_pipelines.sources.postgres_errors import postgres_errors
from americano_pipelines.sources.postgres_snapshot import Snapshot, open_snapshot
from americano_pipelines_tests.conftest import Database, environment, free_port
from americano_pipelines_tests.sources.helpers import opened, target_of


def ask(settings: Settings, statement: str) -> None:
    """Run one statement in a snapshot of its own."""
    with opened(settings) as snapshot:
        snapshot.query(statement)


SESSION = """
SELECT name, setting FROM pg_settings WHERE name IN (
    'row_security', 'default_transaction_read_only', 'transaction_read_only', 'transaction_isolation',
    'TimeZone', 'application_name',
    'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'
)
"""


def test_the_promised_session_settings_are_in_force(prisma: Database, settings_for: Callable[..., Settings]) -> None:
    prisma.execute(f"ALTER DATABASE {prisma.name} SET timezone = 'Asia/Tokyo'")
    # As superuser: the sync role's own defaults would hide that we set none.
    with opened(settings_for(**prisma.variables(pg_user=SUPERUSER))) as snapshot:
        session = dict(snapshot.query(SESSION))

    assert session == {
        "row_security": "off",
        "default_transaction_read_only": "on",
        "transaction_read_only": "on",
        "transaction_isolation": "repeatable read",
        "TimeZone": "UTC",
        "application_name": "americano_pipelines",
        "statement_timeout": "3600000",
        "lock_timeout": "10000",
        "idle_in_transaction_session_timeout": "3600000",
    }


def test_scans_run_in_sessions_of_the_same_kind(prisma: Database, settings_for: Callable[..., Settings]) -> None:
    prisma.execute(
        "CREATE VIEW in_force AS SELECT current_setting('row_security') AS rls, current_setting('TimeZone') AS zone, "
        "current_setting('transaction_read_only') AS read_only"
    )
    prisma.execute("GRANT SELECT ON in_force TO americano_sync")
    with opened(settings_for(**prisma.variables())) as snapshot:
        scanned = snapshot.connection.execute(f"FROM {snapshot.relation('public', 'in_force')}").fetchall()

    assert scanned == [("off", "UTC", "on")]


@pytest.mark.parametrize(
    "write",
    [
        "SELECT wipe() AS wiped",
        "SELECT nextval('numbers')",
        "SELECT set_config('transaction_read_only', 'off', false)",
    ],
)
def test_even_a_superuser_cannot_write_through_it(
    prisma: Database, settings_for: Callable[..., Settings], write: str
) -> None:
    prisma.execute("CREATE SEQUENCE numbers")
    prisma.execute("CREATE FUNCTION wipe() RETURNS int LANGUAGE sql AS 'DELETE FROM experiment_protocols; SELECT 1'")
    settings = settings_for(**prisma.variables(pg_user=SUPERUSER))
    with opened(settings) as snapshot:
        assert snapshot.query("SELECT count(*) AS n FROM experiment_protocols") == [(2,)]

    with pytest.raises(SourceError, match=r"read-only|read-write mode"):
        ask(settings, write)

    assert prisma.execute("SELECT count(*), (SELECT is_called FROM numbers) FROM experiment_protocols") == [(2, False)]


def test_duckdb_refuses_to_write_to_the_attached_source(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    settings = settings_for(**prisma.variables(pg_user=SUPERUSER))
    with pytest.raises(duckdb.Error, match="read-only"), opened(settings) as snapshot:
        snapshot.connection.execute(f"DELETE FROM {snapshot.relation('public', 'analysis_runs')}")


def test_the_instant_and_the_identity_are_those_of_the_server(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    with opened(settings_for(**prisma.variables())) as snapshot:
        (server,) = prisma.execute(
            "SELECT system_identifier::text, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI') "
            "FROM pg_control_system()"
        )
        assert snapshot.identity["system_identifier"] == server[0]
        assert snapshot.taken_at[:13] == server[1][:13]
        assert snapshot.identity["in_recovery"] is False
        assert snapshot.identity["bypasses_rls"] is True


def test_the_source_is_let_go_afterwards(prisma: Database, settings_for: Callable[..., Settings]) -> None:
    settings = settings_for(**prisma.variables())
    with duckdb_session.connect(settings) as connection:
        for _ in range(2):
            with open_snapshot(connection, target_of(settings)):
                pass
        assert connection.execute("SELECT count(*) FROM duckdb_databases() WHERE type = 'postgres'").fetchall() == [
            (0,)
        ]
        assert connection.execute("SELECT count(*) FROM duckdb_secrets()").fetchall() == [(0,)]


def failure(settings: Settings, **changed: Any) -> SourceError:
    target = replace(target_of(settings), **changed)
    with (
        duckdb_session.connect(settings) as connection,
        pytest.raises(SourceError) as failed,
        open_snapshot(connection, target),
    ):
        pytest.fail("it opened")
    return failed.value


@pytest.mark.parametrize("wrong", ["wr'ong\\", "a\": b': ERROR: c", "a", "Größe %s {x}"])
def test_a_wrong_password_fails_and_is_shown_nowhere(
    prisma: Database, settings_for: Callable[..., Settings], caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    caplog.set_level(logging.DEBUG)
    error = failure(settings_for(**prisma.variables()), password=wrong)

    assert not isinstance(error, TransientSourceError)
    shown = "".join(traceback.format_exception(error)) + caplog.text
    assert len(wrong) == 1 or wrong not in shown
    assert prisma.server.password not in shown
    assert prisma.name in str(error)
    assert "statement_timeout" not in str(error)  # nor the options DuckDB quotes before the reason


def test_a_failed_query_says_why_and_does_not_repeat_the_statement(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    with pytest.raises(SourceError) as failed:
        ask(settings_for(**prisma.variables()), "SELECT nonsense FROM behavioral_events WHERE id = 'confidential'")

    assert str(failed.value).endswith(': column "nonsense" does not exist')


def test_a_server_that_is_down_is_worth_another_try(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    settings = settings_for(pg_host="127.0.0.1", pg_port=free_port(), pg_password="hush")  # noqa: S106

    for error in (failure(settings), failure(settings, host=str(tmp_path))):
        assert isinstance(error, TransientSourceError)
        assert "hush" not in str(error)


def test_what_no_further_try_can_mend_is_not_transient(prisma: Database, settings_for: Callable[..., Settings]) -> None:
    settings = settings_for(**prisma.variables())

    for changed in ({"database": "no'such\\"}, {"user": "nobody"}, {"options": (("sslmode", "require"),)}):
        assert type(failure(settings, **changed)) is SourceError


def test_a_connection_that_breaks_midway_is_worth_another_try(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    ending = (
        "SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity "
        "WHERE application_name = 'americano_pipelines' AND datname = current_database()"
    )
    settings = settings_for(**prisma.variables(pg_user=SUPERUSER))
    with pytest.raises(TransientSourceError) as failed:
        ask(settings, ending)

    assert prisma.server.password not in "".join(traceback.format_exception(failed.value))


def test_a_setting_that_is_not_in_force_is_refused_by_its_name(
    prisma: Database, settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    promised = snapshot_connections.session_settings
    # Postgres shows another value than the one that is asked for.
    monkeypatch.setattr(
        snapshot_connections, "session_settings", lambda target: promised(target) | {"DateStyle": "ISO"}
    )

    error = failure(settings_for(**prisma.variables()))

    assert "DateStyle is 'ISO, MDY', not 'ISO'" in str(error)
    assert type(error) is SourceError


@pytest.fixture
def poor_role(prisma: Database) -> Iterator[str]:
    """A role that may connect, and is under row-level security."""
    name = f"poor_{secrets.token_hex(4)}"
    role = pg.Identifier(name)
    prisma.execute(pg.SQL("CREATE ROLE {} LOGIN PASSWORD %s").format(role), (prisma.server.password,))
    yield name
    prisma.execute(pg.SQL("DROP OWNED BY {}").format(role))
    prisma.execute(pg.SQL("DROP ROLE {}").format(role))


def test_a_role_under_row_level_security_fails_instead_of_seeing_less(
    prisma: Database, settings_for: Callable[..., Settings], poor_role: str
) -> None:
    prisma.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {poor_role}")
    settings = settings_for(**prisma.variables(pg_user=poor_role))
    assert prisma.server.connect(prisma.name, poor_role).cursor() is not None  # it may well log in

    def state(snapshot: Snapshot) -> None:
        source_state(snapshot, find_tables(snapshot, settings)[0]["experiment_protocols"])

    def scan(snapshot: Snapshot) -> None:
        with postgres_errors(snapshot.target, "public.analysis_runs"):
            snapshot.connection.execute(f"FROM {snapshot.relation('public', 'analysis_runs')}").fetchall()

    for read in (state, scan):
        with (
            pytest.raises(SourceError, match=f'ALTER ROLE "{poor_role}" BYPASSRLS') as failed,
            opened(settings) as open_,
        ):
            read(open_)
        assert not isinstance(failed.value, TransientSourceError)
        assert "row-level security" in str(failed.value)


def test_a_role_without_select_is_told_the_grant(
    prisma: Database, settings_for: Callable[..., Settings], poor_role: str
) -> None:
    settings = settings_for(**prisma.variables(pg_user=poor_role))
    with pytest.raises(SourceError) as failed, opened(settings) as snapshot:
        find_tables(snapshot, settings)

    grant = str(failed.value)[str(failed.value).index("GRANT") :]
    assert grant == f'GRANT SELECT ON "public"."behavioral_events" TO "{poor_role}"'
    for table in ("behavioral_events", "experiment_protocols", "phase_assignments", "analysis_runs"):
        prisma.execute(grant.replace("behavioral_events", table))
    with opened(settings) as snapshot:
        assert len(find_tables(snapshot, settings, hold=False)[0]) == 4  # to copy it needs BYPASSRLS too


def test_the_password_is_on_no_command_line_and_in_no_output(prisma: Database, tmp_path: Path) -> None:
    values = prisma.variables(log_level="DEBUG")
    command = [sys.executable, "-c", "from americano_pipelines.cli import main; main()", "doctor"]
    command_lines = set()
    with subprocess.Popen(
        command,
        env=environment(tmp_path / "data", **values),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as doctor:
        deadline = time.monotonic() + 60
        while doctor.poll() is None and time.monotonic() < deadline:
            for process in psutil.Process().children(recursive=True):
                try:
                    command_lines.add(" ".join(process.cmdline()))
                except psutil.NoSuchProcess:
                    continue
        output, _ = doctor.communicate(timeout=20)

    assert doctor.returncode == 0, output
    assert "public.behavioral_events" in output
    assert any("doctor" in line for line in command_lines)
    assert all(prisma.server.password not in text for text in [*command_lines, output])


@pytest.mark.parametrize(
    "error",
    [
        duckdb.ConversionException('Malformed JSON at byte 0 of input: unexpected character.  Input: "x"'),
        duckdb.InvalidInputException("Invalid Input Error: Malformed JSON"),
    ],
)
def test_a_value_that_cannot_be_converted_is_not_worth_another_try(
    settings_for: Callable[..., Settings], error: duckdb.Error
) -> None:
    target = target_of(settings_for(pg_host="127.0.0.1"))

    with (
        pytest.raises(SourceError, match=r"table public\.events: .*Malformed JSON") as refused,
        postgres_errors(target, "public.events"),
    ):
        raise error
    assert not isinstance(refused.value, TransientSourceError)


@pytest.mark.parametrize(
    "error",
    [
        duckdb.OutOfMemoryException("no more"),
        duckdb.IOException("write: No space left on device"),
        duckdb.IOException('Could not write to file "/x": Input/output error'),
        duckdb.IOException('Cannot open file "/x": Read-only file system'),
    ],
)
def test_want_of_room_is_not_taken_for_a_failure_of_postgres(
    settings_for: Callable[..., Settings], error: duckdb.Error
) -> None:
    with pytest.raises(type(error)), postgres_errors(target_of(settings_for(pg_host="127.0.0.1"))):
        raise error


def test_a_full_disk_of_the_server_is_not_taken_for_one_of_this_machine(settings_for: Callable[..., Settings]) -> None:
    message = 'Failed to execute query "SELECT": ERROR:  could not write to file "base/1": No space left on device'

    with (
        pytest.raises(TransientSourceError, match=r"postgres@127\.0\.0\.1:.*could not write to file"),
        postgres_errors(target_of(settings_for(pg_host="127.0.0.1"))),
    ):
        raise duckdb.IOException(message)


def test_threads_open_no_more_connections_than_allowed(
    prisma: Database, settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_connections, "MAX_CONNECTIONS", 2)
    prisma.execute(
        'INSERT INTO behavioral_events (id, "userId", "eventType", "eventData", "timestamp") '
        "SELECT 'many' || i, 'l', 'CARD_REVIEWED', to_jsonb(repeat('x', 300)), timestamp '2025-01-01' "
        "FROM generate_series(1, 100000) AS i"
    )
    prisma.execute("ANALYZE behavioral_events")
    settings = settings_for(**prisma.variables(), americano_threads=12)
    assert settings.postgres is not None
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"
    connections: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            connections.append(prisma.execute(query, (postgres_snapshot.APPLICATION_NAME,))[0][0])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with connect(settings) as connection, open_snapshot(connection, settings.postgres) as snapshot:
            events = snapshot.relation("public", "behavioral_events")
            rows = connection.execute(f'SELECT count(*), max(length("eventData")) FROM {events}').fetchone()
    finally:
        done.set()
        watcher.join(timeout=30)

    assert rows is not None
    assert rows[0] == 104_000
    assert max(connections) == 2
