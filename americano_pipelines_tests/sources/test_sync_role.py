"""`deploy/sync_role.sql`: a role that is new reads all of the source by it, and can write nothing."""

import secrets
from collections.abc import Callable
from contextlib import closing

import psycopg2
import pytest
from psycopg2 import errors

from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.lake.export import export
from americano_pipelines.settings import PROJECT_FILES, Settings
from americano_pipelines.warehouse.refresh import refresh
from americano_pipelines.warehouse.snapshots import open_published
from americano_pipelines_tests.conftest import SYNC_ROLE, Database

SCRIPT = (PROJECT_FILES / "deploy" / "sync_role.sql").read_text(encoding="utf-8")
TABLES = ("behavioral_events", "experiment_protocols", "phase_assignments", "analysis_runs")


@pytest.fixture
def role(prisma: Database) -> str:
    """Run the script twice, for a role that the server does not have yet."""
    name = f"reader_{secrets.token_hex(4)}"
    for _ in range(2):
        prisma.execute(SCRIPT.replace(SYNC_ROLE, name))
    prisma.execute(f"ALTER ROLE {name} PASSWORD %s", (prisma.server.password,))
    return name


def test_a_sync_with_the_role_copies_every_row(
    prisma: Database, role: str, settings_for: Callable[..., Settings]
) -> None:
    settings = settings_for(**prisma.variables(pg_user=role))

    export(settings, StageTimer())
    assert refresh(settings, StageTimer()).path

    with open_published(settings) as connection:
        for table in TABLES:
            copied = connection.execute(f"SELECT count(*) FROM analytics.{table}").fetchone()
            assert copied == prisma.execute(f"SELECT count(*) FROM {table}")[0], table
            assert copied > (0,)


def test_the_role_reads_and_cannot_write(prisma: Database, role: str) -> None:
    prisma.execute(f"GRANT INSERT ON behavioral_events TO {role}")  # as an older role may have
    prisma.execute(SCRIPT.replace(SYNC_ROLE, role))

    with closing(prisma.server.connect(prisma.name, role)) as link, link.cursor() as cursor:
        # Refused by the default of the role, and by its grants if it takes the default back.
        with pytest.raises(errors.ReadOnlySqlTransaction):
            cursor.execute("DELETE FROM phase_assignments")
        cursor.execute("SET default_transaction_read_only = off")
        for statement in (
            "INSERT INTO behavioral_events SELECT * FROM behavioral_events",
            "UPDATE experiment_protocols SET id = id",
            "DELETE FROM phase_assignments",
            "TRUNCATE analysis_runs",
            "CREATE TABLE public.another (id int)",
            "CREATE ROLE another",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                cursor.execute(statement)


def test_only_what_is_there_is_granted(new_database: Callable[[str], Database]) -> None:
    older = new_database("older")
    name = f"reader_{secrets.token_hex(4)}"

    with closing(older.server.connect(older.name)) as link, link.cursor() as cursor:
        cursor.execute(SCRIPT.replace(SYNC_ROLE, name))
        warnings = "".join(link.notices)
    granted = older.execute("SELECT table_name FROM information_schema.role_table_grants WHERE grantee = %s", (name,))

    assert granted == [("BehavioralEvent",)]
    assert [table in warnings for table in TABLES] == [False, True, True, True]


def test_a_database_of_something_else_is_refused(prisma: Database) -> None:
    prisma.execute("CREATE SCHEMA elsewhere")

    with pytest.raises(psycopg2.errors.RaiseException, match="none of the four tables"):
        prisma.execute(f"SET search_path = elsewhere; {SCRIPT}")
