"""The seeded database: roles, row-level security, idempotence."""

import os
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import errors

from americano_pipelines.app_database.statements import pending
from americano_pipelines.demo.seed import TABLES, SeedError, seed
from americano_pipelines.demo.server import DemoServer
from americano_pipelines.settings.postgres_url import parse_url
from americano_pipelines_tests.demo.conftest import connected

PROTECTED = ("experiment_protocols", "phase_assignments", "analysis_runs")


def counts(server: DemoServer, user: str) -> dict[str, int]:
    with connected(server, user) as link, link.cursor() as run:
        rows = {}
        for table in TABLES:
            run.execute(f"SELECT count(*) FROM {table}")
            (rows[table],) = run.fetchone() or (0,)
        return rows


def versions(server: DemoServer) -> list[tuple[object, ...]]:
    """Row versions of every table: they change whenever anything is written."""
    with connected(server) as link, link.cursor() as run:
        row_versions = []
        for table in TABLES:
            run.execute(f"SELECT count(*), min(xmin::text::bigint), max(xmin::text::bigint) FROM {table}")
            row_versions += run.fetchall()
        return row_versions


def test_seeding_again_changes_nothing(demo_server: DemoServer) -> None:
    before = versions(demo_server)
    again = demo_server.up()
    assert not again.created
    assert again.rows["experiment_protocols"] == 15
    assert again.rows["phase_assignments"] == 98
    assert again.rows["analysis_runs"] == 5
    assert 190_000 < again.rows["behavioral_events"] < 210_000
    assert versions(demo_server) == before


def test_data_survive_down_and_up(demo_server: DemoServer) -> None:
    before = versions(demo_server)
    demo_server.down()
    assert not demo_server.is_running()
    assert not demo_server.up().created
    assert versions(demo_server) == before


def test_environment_leads_to_the_data(demo_server: DemoServer) -> None:
    environment = demo_server.environment()
    link_url = environment.pop("ANALYSIS_RUNS_DATABASE_URL")
    assert set(environment) == {"PG_HOST", "PG_PORT", "PG_USER", "PG_PASSWORD", "PG_DATABASE"}
    assert [request.analysis_type for request in pending(parse_url(link_url), 10)].count("ABAB_RANDOMIZATION") == 3
    link = psycopg2.connect(
        host=environment["PG_HOST"],
        port=environment["PG_PORT"],
        user=environment["PG_USER"],
        password=environment["PG_PASSWORD"],
        dbname=environment["PG_DATABASE"],
    )
    with link.cursor() as run:
        run.execute("SET row_security = off")
        run.execute("SELECT count(*) FROM experiment_protocols")
        assert run.fetchone() == (15,)
    link.close()


def test_sync_role_reads_everything(demo_server: DemoServer) -> None:
    assert counts(demo_server, "americano_sync") == demo_server.up().rows


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO {} SELECT * FROM {} LIMIT 1",
        "UPDATE {} SET id = id",
        "DELETE FROM {}",
        "TRUNCATE {} CASCADE",
        "CREATE TABLE mine AS SELECT * FROM {}",
        "CREATE TEMPORARY TABLE mine AS SELECT * FROM {}",
    ],
)
def test_sync_role_writes_nothing(demo_server: DemoServer, table: str, statement: str) -> None:
    with connected(demo_server, "americano_sync") as link, link.cursor() as run:
        with pytest.raises(errors.ReadOnlySqlTransaction):
            run.execute(statement.format(table, table))
        link.rollback()
        run.execute("SET default_transaction_read_only = off")  # anybody may: the privileges must hold without it
        link.commit()
        with pytest.raises(errors.InsufficientPrivilege):
            run.execute(statement.format(table, table))


def test_a_role_under_row_level_security_sees_only_its_own(demo_server: DemoServer) -> None:
    with connected(demo_server) as link, link.cursor() as run:
        run.execute("CREATE ROLE ordinary NOLOGIN")
        run.execute(f"GRANT SELECT ON {', '.join(TABLES)} TO ordinary")
        run.execute('SELECT "userId" FROM experiment_protocols LIMIT 1')
        (learner,) = run.fetchone() or ("",)
        run.execute("SET ROLE ordinary")
        for table in PROTECTED:
            run.execute(f"SELECT count(*) FROM {table}")
            assert run.fetchone() == (0,)
        run.execute("SELECT set_config('app.current_user_id', %s, true)", (learner,))
        run.execute("SELECT count(*) FROM experiment_protocols")
        assert run.fetchone() == (1,)
        run.execute("SELECT count(*) FROM phase_assignments")
        assert run.fetchone() == (4,)
        run.execute("SET row_security = off")
        with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
            run.execute("SELECT count(*) FROM experiment_protocols")


def test_strange_tables_are_left_alone(demo_server: DemoServer) -> None:
    with connected(demo_server) as link:
        link.autocommit = True
        with link.cursor() as run:
            run.execute("CREATE DATABASE strange")
    postgres = demo_server.postgres
    strange = psycopg2.connect(host=postgres.host, port=postgres.port, user="postgres", dbname="strange")
    with strange, strange.cursor() as run:
        run.execute("CREATE TABLE behavioral_events (n integer)")
    with pytest.raises(SeedError, match="behavioral_events"):
        seed(strange)
    with strange, strange.cursor() as run:
        run.execute("SELECT to_regclass('experiment_protocols')")
        assert run.fetchone() == (None,)
    strange.close()


def test_columns_are_the_documented_ones(demo_server: DemoServer) -> None:
    with connected(demo_server) as link, link.cursor() as run:
        run.execute(
            """SELECT column_name, udt_name, is_nullable FROM information_schema.columns
            WHERE table_name = 'behavioral_events' ORDER BY ordinal_position"""
        )
        assert run.fetchall() == [
            ("id", "text", "NO"),
            ("userId", "text", "NO"),
            ("eventType", "EventType", "NO"),
            ("eventData", "jsonb", "NO"),
            ("timestamp", "timestamp", "NO"),
            ("completionQuality", "CompletionQuality", "YES"),
            ("contentType", "text", "YES"),
            ("dayOfWeek", "int4", "YES"),
            ("difficultyLevel", "text", "YES"),
            ("engagementLevel", "EngagementLevel", "YES"),
            ("sessionPerformanceScore", "int4", "YES"),
            ("timeOfDay", "int4", "YES"),
            ("experimentPhase", "text", "YES"),
            ("randomizationSeed", "int4", "YES"),
            ("contextMetadataId", "text", "YES"),
        ]


def test_clock_columns_agree_with_the_time(demo_server: DemoServer) -> None:
    with connected(demo_server, "americano_sync") as link, link.cursor() as run:
        run.execute(
            """SELECT count(*) FILTER (WHERE extract(dow FROM "timestamp") <> "dayOfWeek"
                OR extract(hour FROM "timestamp") <> "timeOfDay"), count("timeOfDay") > 100000
            FROM behavioral_events"""
        )
        assert run.fetchone() == (0, True)


def test_a_data_folder_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert DemoServer(Path("data")).environment()["PG_HOST"] == os.fspath(tmp_path / "data" / "postgres")
