"""Complete the app's row of a recorded analysis, if the row still belongs to its run."""

from collections.abc import Callable
from datetime import datetime

import pytest

from americano_pipelines.analysis.plan_compliance import PlanCompliance
from americano_pipelines.app_database.statements import claim, complete, fail, owner, read_row
from americano_pipelines.errors import AppRowError, RowOwnershipError
from americano_pipelines.provenance import app_link
from americano_pipelines.settings import PostgresTarget, Settings
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.prisma_database import ABAB, MIGRATION, row
from americano_pipelines_tests.provenance.records import HEX, kept_record


def test_values_without_a_column_are_left_out(target: PostgresTarget, prisma: Database) -> None:
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
    with pytest.raises(RowOwnershipError, match="has no row 'nothing'"):
        complete(target, "nothing", "mine", values)


def test_a_row_of_another_run_is_left_unchanged(target: PostgresTarget, prisma: Database) -> None:
    done = {"status": "COMPLETED", "resultsSummary": {"dagster_run_id": "mine"}}
    with pytest.raises(RowOwnershipError, match="'run_0' is PENDING again: it requests another run"):
        complete(target, "run_0", "mine", done)

    assert claim(target, "run_0", "other", ABAB)
    with pytest.raises(RowOwnershipError, match="'run_0' is RUNNING, by Dagster run other"):
        complete(target, "run_0", "mine", done)
    complete(target, "run_0", "other", done | {"resultsSummary": {"dagster_run_id": "other"}})
    with pytest.raises(RowOwnershipError, match="'run_0' is COMPLETED, by Dagster run other"):
        complete(target, "run_0", "mine", done)

    prisma.execute("UPDATE analysis_runs SET status = 'FAILED' WHERE id = 'run_0'")
    complete(target, "run_0", "mine", done)
    complete(target, "run_0", "mine", done)
    completed = read_row(target, "run_0")
    assert completed is not None
    assert (completed["status"], owner(completed)) == ("COMPLETED", "mine")


def test_without_a_json_summary_any_row_that_is_not_pending_is_completed(
    target: PostgresTarget, prisma: Database
) -> None:
    prisma.execute('ALTER TABLE analysis_runs ALTER "resultsSummary" TYPE text')
    assert claim(target, "run_0", "mine", ABAB)

    complete(target, "run_0", "mine", {"status": "COMPLETED", "resultsSummary": {"p": 0.5}})

    assert row(prisma, columns='status::text, "resultsSummary"') == ("COMPLETED", '{"p": 0.5}')
    with pytest.raises(AppRowError, match="PENDING again"):
        complete(target, "run_1", "mine", {"status": "COMPLETED"})


def test_columns_of_the_migration_are_written(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute(MIGRATION)
    prisma.execute(MIGRATION)
    for name in ("run_0", "run_1"):
        assert claim(target, name, "mine", ABAB)

    values = {"mlflowRunUrl": "http://x", "mlflowRunId": "m1"}
    assert complete(target, "run_0", "mine", values) == ["mlflowRunUrl", "mlflowRunId"]
    with pytest.raises(AppRowError, match=r"another row than 'run_1' is linked to this analysis .*mlflowRunId.*m1"):
        complete(target, "run_1", "mine", {"mlflowRunId": "m1"})
    assert complete(target, "run_0", "mine", {"mlflowRunId": "m2"}), "a second analysis of a row replaces the first"


def test_a_missing_status_is_named_and_nothing_is_written(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute("ALTER TYPE \"AnalysisStatus\" RENAME VALUE 'COMPLETED' TO 'DONE'")
    assert claim(target, "run_0", "mine", ABAB)

    with pytest.raises(AppRowError, match=r"the app's status has no 'COMPLETED' \(it has .*DONE"):
        complete(target, "run_0", "mine", {"status": "COMPLETED", "mlflowRunId": "m1"})

    assert row(prisma, columns='status::text, "mlflowRunId"') == ("RUNNING", None)


def test_a_row_is_completed_from_its_record(
    target: PostgresTarget, prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    prisma.execute(MIGRATION)
    sha256, record = kept_record(settings_for(), dagster_run="mine", mlflow_run="m1")
    claim(target, "run_0", "mine", ABAB)

    written = app_link.complete(target, "run_0", record)

    assert {"status", "mlflowRunId", "mlflowExperimentId", "provenanceGitCommit", "resultsSummary"} <= set(written)
    columns = (
        'status::text, "mlflowRunId", "mlflowExperimentId", "codeCommitHash", "dataVersionHash", "startedAt", '
        '"completedAt", "durationSeconds", "inputParams", "errorMessage", "dvcLockSha256", "artifactPaths"'
    )
    assert row(prisma, columns=columns) == (
        "COMPLETED", "m1", "1", "c0ffee", HEX, datetime(2025, 5, 1, 10), datetime(2025, 5, 1, 10, 0, 4), 4,  # noqa: DTZ001 - as the app stores it
        {"alpha": 0.05, "direction": "increase"}, None, None, [],
    )  # fmt: skip
    (summary,) = row(prisma, columns='"resultsSummary"')
    assert summary["provenance_sha256"] == sha256
    assert (summary["sentence"], summary["verdict"], summary["numbers"]) == ("It helped.", "benefit", {"p": 0.01})
    assert app_link.complete(target, "run_0", record) == written, "once more changes nothing"


@pytest.mark.parametrize(
    ("reasons", "sentence"),
    [
        ([], "It helped."),
        (["alpha is 0.1, 0.05 was planned"],
         "It helped. Exploratory (alpha is 0.1, 0.05 was planned); 2 analyses of this protocol came before it."),
    ],
)  # fmt: skip
def test_an_exploratory_result_says_so_in_the_apps_sentence(
    settings_for: Callable[..., Settings], reasons: list[str], sentence: str
) -> None:
    _, record = kept_record(settings_for())
    compliance = PlanCompliance(
        planned=not reasons, reasons=tuple(reasons), earlier_runs=2, unrecorded_runs=0, plan_over=True
    )

    values = app_link.row_values(record.model_copy(update={"standing": compliance}))

    assert values["resultsSummary"]["sentence"] == sentence


def test_a_row_that_was_deleted_or_claimed_by_another_run_is_not_written(
    target: PostgresTarget, prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    _, record = kept_record(settings_for(), dagster_run="mine")
    claim(target, "run_0", "mine", ABAB)
    prisma.execute("UPDATE analysis_runs SET status = 'PENDING' WHERE id = 'run_0'")
    with pytest.raises(RowOwnershipError, match="PENDING again"):
        app_link.complete(target, "run_0", record)
    claim(target, "run_0", "other", ABAB)
    with pytest.raises(RowOwnershipError, match="RUNNING, by Dagster run other"):
        app_link.complete(target, "run_0", record)
    assert not fail(target, "run_0", "no", claimed_by="mine")

    prisma.execute("DELETE FROM analysis_runs WHERE id = 'run_0'")
    assert not fail(target, "run_0", "no", claimed_by="mine")
    with pytest.raises(RowOwnershipError, match="has no row 'run_0'"):
        app_link.complete(target, "run_0", record)
