"""The app's row of an analysis: claimed once, written where columns are, by a role that may do nothing else."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from americano_pipelines.errors import ConfigError, LinkError, TransientLinkError
from americano_pipelines.settings import PROJECT_ROOT, PostgresTarget, Settings
from americano_pipelines.tracking.link import claim, make, pending, write
from americano_pipelines_tests.conftest import Database, free_port

ROLE = (PROJECT_ROOT / "deploy" / "link_role.sql").read_text()
MIGRATION = (PROJECT_ROOT / "migrations" / "001_analysis_run_links.sql").read_text()
NEW = {
    "protocolId": "protocol_1",
    "runName": "one more",
    "analysisType": "ABAB_RANDOMIZATION",
    "codeCommitHash": "unknown",
    "dataVersionHash": "x",
    "inputParams": {"alpha": 0.05, "note": "it's 'quoted' %s"},
    "resultsSummary": {"p": 0.01},
    "status": "COMPLETED",
}


@pytest.fixture
def target(prisma: Database, settings_for: Callable[..., Settings]) -> PostgresTarget:
    """The app's database as the role that the script makes."""
    prisma.execute(ROLE)
    prisma.execute(ROLE)
    prisma.execute("ALTER ROLE americano_link PASSWORD 'l''ink'")
    url = f"postgresql://americano_link:l%27ink@127.0.0.1:{prisma.server.postgres.port}/{prisma.name}"
    found = settings_for(analysis_runs_database_url=url).app
    assert found is not None
    return found


def row(prisma: Database, name: str = "run_0", columns: str = '"resultsSummary"') -> tuple[Any, ...]:
    return prisma.execute(f"SELECT {columns} FROM analysis_runs WHERE id = %s", (name,))[0]


def test_pending_requests_are_listed_with_what_they_ask_for(target: PostgresTarget) -> None:
    first, second = pending(target, 10)

    assert (first.analysis_run_id, first.protocol_id, first.analysis_type, first.parameters) == (
        "run_0", "protocol_0", "ABAB_RANDOMIZATION", {}
    )  # fmt: skip
    assert second.analysis_run_id == "run_1"
    assert len(pending(target, 1)) == 1


def test_of_many_workers_one_gets_a_request(target: PostgresTarget, prisma: Database) -> None:
    start, got = threading.Barrier(8), []

    def work() -> None:
        start.wait(timeout=30)
        got.append(claim(target, "run_0", {}))

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)

    assert [request.analysis_run_id for request in got if request] == ["run_0"]
    assert len(got) == 8
    assert row(prisma, columns="status::text, \"startedAt\" > now() - interval '1 minute'") == ("RUNNING", True)
    assert [request.analysis_run_id for request in pending(target, 10)] == ["run_1"]
    assert claim(target, "no such run", {}) is None


def test_what_is_known_is_written_and_what_has_no_column_is_left_out(target: PostgresTarget, prisma: Database) -> None:
    values = {
        "status": "COMPLETED",
        "resultsSummary": {"verdict": "benefit", "p": 0.01},
        "artifactPaths": ["a/b.png", "c"],
        "mlflowRunId": "m1",
        "noSuchColumn": 1,
    }

    assert write(target, "run_0", values) == ["status", "resultsSummary", "artifactPaths", "mlflowRunId"]
    columns = 'status::text, "resultsSummary", "artifactPaths", "mlflowRunId"'
    assert row(prisma, columns=columns) == (
        "COMPLETED", {"verdict": "benefit", "p": 0.01}, ["a/b.png", "c"], "m1"
    )  # fmt: skip
    with pytest.raises(LinkError, match="has no row 'nothing'"):
        write(target, "nothing", values)


def test_after_the_migration_the_new_columns_are_written_too(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute(MIGRATION)
    prisma.execute(MIGRATION)

    assert write(target, "run_0", {"mlflowRunUrl": "http://x", "mlflowRunId": "m1"}) == ["mlflowRunUrl", "mlflowRunId"]
    with pytest.raises(LinkError, match="mlflowRunId"):
        write(target, "run_1", {"mlflowRunId": "m1"})


def test_a_row_is_made_with_all_that_is_required_and_brought_up_to_date_again(
    target: PostgresTarget, prisma: Database
) -> None:
    make(target, "new", NEW)
    make(target, "new", NEW | {"resultsSummary": {"p": 0.02}})

    assert row(prisma, "new", '"runName", "inputParams", "resultsSummary"') == (
        "one more", {"alpha": 0.05, "note": "it's 'quoted' %s"}, {"p": 0.02}
    )  # fmt: skip
    with pytest.raises(LinkError, match="requires codeCommitHash"):
        make(target, "other", {name: value for name, value in NEW.items() if name != "codeCommitHash"})
    with pytest.raises(LinkError, match=r"has no 'TRAINING_DEMO' \(it has .*ABAB_RANDOMIZATION"):
        make(target, "other", NEW | {"analysisType": "TRAINING_DEMO"})


def test_the_older_table_is_found_too(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute('ALTER TABLE analysis_runs RENAME TO "AnalysisRun"')

    assert len(pending(target, 10)) == 2


def test_the_role_sees_rows_of_all_users_and_nothing_else(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute(
        "ALTER TABLE analysis_runs ENABLE ROW LEVEL SECURITY; ALTER TABLE analysis_runs FORCE ROW LEVEL SECURITY; "
        "CREATE POLICY own ON analysis_runs USING (false)"
    )
    assert len(pending(target, 10)) == 2

    prisma.execute("ALTER ROLE americano_link NOBYPASSRLS")
    with pytest.raises(LinkError, match="row-level security"):
        pending(target, 10)
    with (
        psycopg2.connect(
            host="127.0.0.1", port=target.port, user=target.user, password=target.password, dbname=target.database
        ) as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        cursor.execute("SELECT * FROM behavioral_events")


def test_no_table_and_no_server_are_told_apart(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute("DROP TABLE analysis_runs")
    with pytest.raises(
        LinkError, match=r"there is no table analysis_runs or AnalysisRun .*deploy/link_role\.sql"
    ) as gone:
        pending(target, 1)
    assert not isinstance(gone.value, TransientLinkError)

    nowhere = PostgresTarget("127.0.0.1", free_port(), "u", "secret", "d")
    with pytest.raises(TransientLinkError, match="cannot be reached") as failed:
        pending(nowhere, 1)
    assert "secret" not in str(failed.value)


def test_without_an_address_there_is_no_link_and_a_wrong_one_names_its_variable(
    settings_for: Callable[..., Settings],
) -> None:
    assert settings_for().app is None
    with pytest.raises(ConfigError, match="ANALYSIS_RUNS_DATABASE_URL"):
        settings_for(analysis_runs_database_url="mysql://x/y")
