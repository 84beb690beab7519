"""Connections to the app's database: settings of the session, missing tables, outages."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest
from sqlalchemy import text

from americano_pipelines.app_database import connection
from americano_pipelines.app_database.connection import connected
from americano_pipelines.app_database.statements import claim, pending
from americano_pipelines.errors import AppRowError, ConfigError, TransientAppRowError
from americano_pipelines.settings import PostgresTarget, Settings
from americano_pipelines_tests.conftest import Database, free_port
from americano_pipelines_tests.prisma_database import ABAB, link_url, row


def test_the_role_sees_rows_of_all_users_and_nothing_else(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute(
        "ALTER TABLE analysis_runs ENABLE ROW LEVEL SECURITY; ALTER TABLE analysis_runs FORCE ROW LEVEL SECURITY; "
        "CREATE POLICY own ON analysis_runs USING (false)"
    )
    assert len(pending(target, 10)) == 2

    prisma.execute("ALTER ROLE americano_link NOBYPASSRLS")
    with pytest.raises(AppRowError, match="row-level security"):
        pending(target, 10)
    with (
        psycopg2.connect(
            host="127.0.0.1", port=target.port, user=target.user, password=target.password, dbname=target.database
        ) as session,
        session.cursor() as cursor,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        cursor.execute("SELECT * FROM behavioral_events")


def test_a_session_has_utc_time_outs_and_the_options_of_the_address(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    url = f"{link_url(prisma)}?sslmode=disable&application_name=study&options=-c%20work_mem%3D2MB"
    target = settings_for(analysis_runs_database_url=url).app
    assert target is not None
    settings = ("row_security", "TimeZone", "statement_timeout", "lock_timeout", "application_name", "work_mem")

    with connected(target) as (session, _):
        values = [session.scalar(text(f"SHOW {name}")) for name in settings]
    assert values == ["off", "UTC", "15s", "5s", "study", "2MB"]

    with connected(replace(target, options=())) as (session, _):
        assert session.scalar(text("SHOW application_name")) == connection.APPLICATION_NAME
    with pytest.raises(AppRowError, match="SSL") as error:
        pending(replace(target, options=(("sslmode", "require"),)), 1)
    assert not isinstance(error.value, TransientAppRowError)


def test_an_address_without_a_password_takes_none_from_the_environment(
    target: PostgresTarget, prisma: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    prisma.execute("ALTER ROLE americano_link PASSWORD 'other'")
    monkeypatch.setenv("PGPASSWORD", "other")

    with pytest.raises(AppRowError, match="cannot be reached") as error:
        pending(replace(target, password=""), 1)
    assert not isinstance(error.value, TransientAppRowError)


def test_only_what_may_pass_by_itself_is_transient(target: PostgresTarget, prisma: Database) -> None:
    wrong = (
        (replace(target, password="other"), "password authentication failed"),  # noqa: S106 - wrong on purpose
        (replace(target, user="nobody"), "password authentication failed"),
        (replace(target, database="nowhere"), "does not exist"),
        (replace(target, options=(("sslmode", "require"),)), "SSL"),
        (replace(target, host="no-such-host.invalid"), None),
    )
    for address, words in wrong:
        with pytest.raises(AppRowError, match=words or "could not translate host name") as error:
            pending(address, 1)
        # A name server may be away for a while.
        assert isinstance(error.value, TransientAppRowError) == (words is None), str(error.value)

    with closing(prisma.server.connect(prisma.name)) as session, session.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE analysis_runs IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TransientAppRowError, match="the app's analysis runs: canceling statement due to lock"):
            pending(target, 1)


def test_no_table_and_no_server_are_told_apart(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute('ALTER TABLE analysis_runs RENAME COLUMN "runName" TO title')
    with pytest.raises(AppRowError, match=r"public\.analysis_runs is no table of analysis runs: it has no runName"):
        pending(target, 1)
    prisma.execute("DROP TABLE analysis_runs; CREATE VIEW analysis_runs AS SELECT 1 AS id")
    with pytest.raises(
        AppRowError, match=r"there is no table analysis_runs or AnalysisRun .*deploy/link_role\.sql"
    ) as error:
        pending(target, 1)
    assert not isinstance(error.value, TransientAppRowError)

    unreachable = PostgresTarget("127.0.0.1", free_port(), "u", "secret", "d")
    with pytest.raises(TransientAppRowError, match="cannot be reached") as outage:
        pending(unreachable, 1)
    assert "secret" not in str(outage.value)


def test_an_address_is_optional_and_a_wrong_one_names_its_variable(settings_for: Callable[..., Settings]) -> None:
    assert settings_for().app is None
    with pytest.raises(ConfigError, match="ANALYSIS_RUNS_DATABASE_URL"):
        settings_for(analysis_runs_database_url="mysql://x/y")


def test_a_short_outage_is_waited_for(
    target: PostgresTarget, prisma: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WAITS_SECONDS", (0.2,) * 100)
    prisma.execute("ALTER ROLE americano_link CONNECTION LIMIT 0")
    done = threading.Event()

    def claim_row() -> None:
        claim(target, "run_0", "mine", ABAB)
        done.set()

    worker = threading.Thread(target=claim_row, daemon=True)
    worker.start()
    time.sleep(0.5)
    assert not done.is_set()
    prisma.execute("ALTER ROLE americano_link CONNECTION LIMIT -1")

    worker.join(timeout=60)
    assert done.is_set()
    assert row(prisma) == ("RUNNING", None)


def test_a_long_outage_is_an_error(target: PostgresTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WAITS_SECONDS", (0.0, 0.0))

    with pytest.raises(TransientAppRowError, match="cannot be reached"):
        claim(replace(target, port=free_port()), "run_0", "mine", ABAB)
