"""The app's row of a recorded analysis: written where columns are, by a role that may do nothing else."""

from collections.abc import Callable

import psycopg2
import pytest

from americano_pipelines.app_database.statements import claim, complete, create, owner, pending, read_row
from americano_pipelines.errors import AppRowError, ConfigError
from americano_pipelines.settings import PostgresTarget, Settings
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.prisma_database import ABAB, MIGRATION, row

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


def test_what_is_known_is_written_and_what_has_no_column_is_left_out(target: PostgresTarget, prisma: Database) -> None:
    values = {
        "status": "COMPLETED",
        "resultsSummary": {"verdict": "benefit %s", "p": 0.01},
        "artifactPaths": ["a/b.png", "c"],
        "mlflowRunId": "m1",
        "noSuchColumn": 1,
        "errorMessage": None,
    }
    assert claim(target, "run_0", "mine", ABAB)

    assert complete(target, "run_0", "mine", values) == [
        "status", "resultsSummary", "artifactPaths", "mlflowRunId", "errorMessage"
    ]  # fmt: skip
    columns = 'status::text, "resultsSummary", "artifactPaths", "mlflowRunId"'
    assert row(prisma, columns=columns) == (
        "COMPLETED", {"verdict": "benefit %s", "p": 0.01}, ["a/b.png", "c"], "m1"
    )  # fmt: skip
    with pytest.raises(AppRowError, match="has no row 'nothing'"):
        complete(target, "nothing", "mine", values)


def test_a_row_that_is_another_s_by_now_is_not_written_over(target: PostgresTarget, prisma: Database) -> None:
    done = {"status": "COMPLETED", "resultsSummary": {"dagster_run_id": "mine"}}
    with pytest.raises(AppRowError, match="'run_0' is PENDING again: it asks for another run"):
        complete(target, "run_0", "mine", done)

    assert claim(target, "run_0", "other", ABAB)
    with pytest.raises(AppRowError, match="'run_0' is RUNNING, by Dagster run other"):
        complete(target, "run_0", "mine", done)
    complete(target, "run_0", "other", done | {"resultsSummary": {"dagster_run_id": "other"}})
    with pytest.raises(AppRowError, match="'run_0' is COMPLETED, by Dagster run other"):
        complete(target, "run_0", "mine", done)

    prisma.execute("UPDATE analysis_runs SET status = 'FAILED' WHERE id = 'run_0'")
    complete(target, "run_0", "mine", done)
    complete(target, "run_0", "mine", done)
    app_row = read_row(target, "run_0")
    assert app_row is not None
    assert (app_row["status"], owner(app_row)) == ("COMPLETED", "mine")


def test_a_row_that_cannot_say_whose_it_is_is_written_unless_it_is_asked_for(
    target: PostgresTarget, prisma: Database
) -> None:
    prisma.execute('ALTER TABLE analysis_runs ALTER "resultsSummary" TYPE text')
    assert claim(target, "run_0", "mine", ABAB)

    complete(target, "run_0", "mine", {"status": "COMPLETED", "resultsSummary": {"p": 0.5}})

    assert row(prisma, columns='status::text, "resultsSummary"') == ("COMPLETED", '{"p": 0.5}')
    with pytest.raises(AppRowError, match="PENDING again"):
        complete(target, "run_1", "mine", {"status": "COMPLETED"})


def test_after_the_migration_the_new_columns_are_written_too(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute(MIGRATION)
    prisma.execute(MIGRATION)
    for name in ("run_0", "run_1"):
        assert claim(target, name, "mine", ABAB)

    values = {"mlflowRunUrl": "http://x", "mlflowRunId": "m1"}
    assert complete(target, "run_0", "mine", values) == ["mlflowRunUrl", "mlflowRunId"]
    with pytest.raises(AppRowError, match=r"another row than 'run_1' is linked to this analysis .*mlflowRunId.*m1"):
        complete(target, "run_1", "mine", {"mlflowRunId": "m1"})
    assert complete(target, "run_0", "mine", {"mlflowRunId": "m2"}), (
        "a second analysis for a row takes the first's place"
    )


def test_what_may_not_be_empty_is_left_as_it_is_where_nothing_is_known(
    target: PostgresTarget, prisma: Database
) -> None:
    prisma.execute(
        "UPDATE analysis_runs SET \"errorMessage\" = 'e', \"mlflowRunId\" = 'm'; ALTER TABLE analysis_runs "
        'ALTER "errorMessage" SET NOT NULL, ALTER "errorMessage" SET DEFAULT \'\', ALTER "mlflowRunId" SET NOT NULL'
    )

    assert claim(target, "run_0", "mine", ABAB)

    assert row(prisma, columns='"errorMessage", "mlflowRunId"') == ("", "m")


def test_a_row_is_made_with_all_that_is_required_and_brought_up_to_date_again(
    target: PostgresTarget, prisma: Database
) -> None:
    create(target, "new", NEW)
    create(target, "new", NEW | {"resultsSummary": {"p": 0.02, "note": "a\0b"}, "errorMessage": None})

    assert row(prisma, "new", '"runName", "inputParams", "resultsSummary"') == (
        "one more",
        {"alpha": 0.05, "note": "it's 'quoted' %s"},
        {"p": 0.02, "note": "a\N{REPLACEMENT CHARACTER}b"},
    )
    with pytest.raises(AppRowError, match="requires codeCommitHash"):
        create(target, "other", {name: value for name, value in NEW.items() if name != "codeCommitHash"})
    with pytest.raises(AppRowError, match=r"has no 'TRAINING_DEMO' \(it has .*ABAB_RANDOMIZATION"):
        create(target, "other", NEW | {"analysisType": "TRAINING_DEMO"})
    with pytest.raises(AppRowError, match="the app has no protocol 'gone' any more"):
        create(target, "other", NEW | {"protocolId": "gone"})


def test_a_status_that_the_app_does_not_have_is_told_and_nothing_is_written(
    target: PostgresTarget, prisma: Database
) -> None:
    prisma.execute("ALTER TYPE \"AnalysisStatus\" RENAME VALUE 'COMPLETED' TO 'DONE'")
    assert claim(target, "run_0", "mine", ABAB)

    with pytest.raises(AppRowError, match=r"the app's status has no 'COMPLETED' \(it has .*DONE"):
        complete(target, "run_0", "mine", {"status": "COMPLETED", "mlflowRunId": "m1"})

    assert row(prisma, columns='status::text, "mlflowRunId"') == ("RUNNING", None)


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
        ) as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        cursor.execute("SELECT * FROM behavioral_events")


def test_without_an_address_there_is_no_link_and_a_wrong_one_names_its_variable(
    settings_for: Callable[..., Settings],
) -> None:
    assert settings_for().app is None
    with pytest.raises(ConfigError, match="ANALYSIS_RUNS_DATABASE_URL"):
        settings_for(analysis_runs_database_url="mysql://x/y")
