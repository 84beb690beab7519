"""Rows that ask for an analysis: one worker gets each, and one that does not come is failed by whom it belongs to."""

import threading

import pytest

from americano_pipelines.app_database.matching import resolve_request
from americano_pipelines.app_database.statements import claim, fail_orphaned_row, pending, read_row, reject_request
from americano_pipelines.errors import AnalysisError, AppRowError, TransientAppRowError
from americano_pipelines.settings import PostgresTarget
from americano_pipelines_tests.conftest import Database, free_port
from americano_pipelines_tests.prisma_database import ABAB, MIGRATION, row

WITHOUT_SUMMARY = 'ALTER TABLE analysis_runs DROP COLUMN "resultsSummary"'


def test_pending_requests_are_listed_with_what_they_ask_for(target: PostgresTarget) -> None:
    first, second = pending(target, 10)

    assert (first.analysis_run_id, first.protocol_id, first.analysis_type, first.parameters) == (
        "run_0", "protocol_0", "ABAB_RANDOMIZATION", {}
    )  # fmt: skip
    assert second.analysis_run_id == "run_1"
    assert len(pending(target, 1)) == 1


def test_of_many_workers_one_gets_a_request(target: PostgresTarget, prisma: Database) -> None:
    start, got = threading.Barrier(8), []

    def work(worker: int) -> None:
        start.wait(timeout=30)
        got.append((worker, claim(target, "run_0", f"dagster {worker}", ABAB)))

    workers = [threading.Thread(target=work, args=[worker]) for worker in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)

    ((winner, request),) = [answer for answer in got if answer[1] is not None]
    assert request is not None
    assert request.analysis_run_id == "run_0"
    assert len(got) == 8
    columns = 'status::text, "resultsSummary", "startedAt" > now() - interval \'1 minute\''
    assert row(prisma, columns=columns) == ("RUNNING", {"dagster_run_id": f"dagster {winner}"}, True)
    assert [request.analysis_run_id for request in pending(target, 10)] == ["run_1"]
    assert claim(target, "no such run", "dagster 1", ABAB) is None


def test_a_run_may_take_its_own_row_again_and_no_other_run_may(target: PostgresTarget, prisma: Database) -> None:
    assert claim(target, "run_0", "mine", ABAB)
    assert claim(target, "run_0", "mine", ABAB), "a step that is tried again, or an answer that was lost"
    assert claim(target, "run_0", "other", ABAB) is None
    assert fail_orphaned_row(target, "run_0", "mine", "the source went away")
    assert claim(target, "run_0", "other", ABAB) is None
    assert claim(target, "run_0", "mine", ABAB)

    prisma.execute("UPDATE analysis_runs SET status = 'COMPLETED' WHERE id = 'run_0'")
    assert claim(target, "run_0", "mine", ABAB) is None


def test_what_an_earlier_analysis_left_is_taken_out_of_a_row_that_is_asked_for_again(
    target: PostgresTarget, prisma: Database
) -> None:
    prisma.execute(MIGRATION)
    prisma.execute(
        'UPDATE analysis_runs SET "mlflowRunId" = \'m1\', "mlflowRunUrl" = \'http://x\', "completedAt" = now(), '
        "\"durationSeconds\" = 3, \"errorMessage\" = 'no' WHERE id = 'run_0'"
    )

    assert claim(target, "run_0", "mine", ABAB)

    columns = '"mlflowRunId", "mlflowRunUrl", "completedAt", "durationSeconds", "errorMessage"'
    assert row(prisma, columns=columns) == (None,) * 5


def test_only_a_pending_request_is_refused(target: PostgresTarget, prisma: Database) -> None:
    assert reject_request(target, "run_0", "no such type")
    assert claim(target, "run_1", "mine", ABAB)

    assert not reject_request(target, "run_0", "again")
    assert not reject_request(target, "run_1", "too late")
    assert row(prisma) == ("FAILED", "no such type")
    assert row(prisma, "run_1") == ("RUNNING", None)
    assert row(prisma, columns="\"completedAt\" > now() - interval '1 minute'") == (True,)


def test_a_row_is_abandoned_only_by_the_run_that_has_it(target: PostgresTarget, prisma: Database) -> None:
    assert claim(target, "run_0", "mine", ABAB)
    prisma.execute("UPDATE analysis_runs SET status = 'RUNNING' WHERE id = 'run_1'")

    assert not fail_orphaned_row(target, "run_0", "other", "it died")
    assert not fail_orphaned_row(target, "run_1", "mine", "nobody has this one")
    assert not fail_orphaned_row(target, "no such run", "mine", "it died")
    assert fail_orphaned_row(target, "run_0", "mine", "it died")

    assert row(prisma) == ("FAILED", "it died")
    assert row(prisma, "run_1") == ("RUNNING", None)


def test_a_row_that_cannot_say_whose_it_is_is_left_alone(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute(WITHOUT_SUMMARY)
    assert claim(target, "run_0", "mine", ABAB)

    assert claim(target, "run_0", "mine", ABAB) is None
    with pytest.raises(AppRowError, match=r"no column resultsSummary of JSON.*'run_0'.*set it to FAILED.*it died"):
        fail_orphaned_row(target, "run_0", "mine", "it died")

    assert row(prisma) == ("RUNNING", None)


def test_texts_that_postgres_cannot_hold_and_long_ones_are_cut_to_what_it_can(
    target: PostgresTarget, prisma: Database
) -> None:
    assert reject_request(target, "run_0", "a\0b \udcff %s 'quoted' " + "x" * 10_000)

    (message,) = row(prisma, columns='"errorMessage"')
    assert message.startswith("a\N{REPLACEMENT CHARACTER}b ? %s 'quoted' xxx")
    assert (len(message), message[-1]) == (4000, "…")

    prisma.execute('ALTER TABLE analysis_runs ALTER COLUMN "errorMessage" TYPE varchar(40) USING NULL')
    assert reject_request(target, "run_1", "x" * 100)
    assert row(prisma, "run_1", 'length("errorMessage")') == (40,)


def test_a_parameter_of_any_text_is_read_and_an_id_of_any_text_is_looked_for(
    target: PostgresTarget, prisma: Database
) -> None:
    prisma.execute("UPDATE analysis_runs SET id = 'it''s %s', \"inputParams\" = '[1]' WHERE id = 'run_0'")

    assert pending(target, 1)[0].parameters == [1]
    assert claim(target, "it's %s", "mi'ne %s", ABAB)
    assert row(prisma, "it's %s", '"resultsSummary"') == ({"dagster_run_id": "mi'ne %s"},)


@pytest.mark.parametrize("kind", ["jsonb", "json", "text"])
def test_a_row_that_is_nested_too_deep_holds_no_other_up(target: PostgresTarget, prisma: Database, kind: str) -> None:
    deep = '{"alpha": ' + "[" * 3000 + "]" * 3000 + "}"
    prisma.execute(
        f'ALTER TABLE analysis_runs ALTER "inputParams" TYPE {kind} USING "inputParams"::text::{kind}; '
        f"UPDATE analysis_runs SET \"inputParams\" = '{deep}' WHERE id = 'run_0'"
    )

    first, second = pending(target, 10)

    assert (first.parameters, second.parameters) == (deep, {})
    with pytest.raises(AnalysisError, match="inputParams is no JSON object, or too deep to be read: '"):
        resolve_request(first)
    app_row = read_row(target, "run_0")
    assert app_row is not None
    assert app_row["status"] == "PENDING"
    assert claim(target, "run_1", "mine", ABAB)


def test_the_older_table_with_few_columns_of_plain_text_does_too(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute(
        "ALTER TABLE analysis_runs ALTER status DROP DEFAULT, ALTER status TYPE text, "
        'ALTER "analysisType" TYPE text, ALTER "inputParams" TYPE text; '
        'ALTER TABLE analysis_runs DROP COLUMN "startedAt", DROP COLUMN "completedAt", DROP COLUMN "errorMessage", '
        'DROP COLUMN "resultsSummary", DROP COLUMN "mlflowRunId"; '
        "UPDATE analysis_runs SET \"inputParams\" = '{\"alpha\": 0.1}' WHERE id = 'run_0';"
        'ALTER TABLE analysis_runs RENAME TO "AnalysisRun"'
    )

    assert [(request.analysis_run_id, request.parameters) for request in pending(target, 10)] == [
        ("run_0", {"alpha": 0.1}), ("run_1", {})
    ]  # fmt: skip
    assert claim(target, "run_0", "mine", ABAB)
    assert claim(target, "run_0", "other", ABAB) is None
    assert reject_request(target, "run_1", "no")
    prisma.execute('ALTER TABLE "AnalysisRun" DROP COLUMN "inputParams"; UPDATE "AnalysisRun" SET status = \'PENDING\'')
    assert pending(target, 1)[0].parameters == {}


@pytest.mark.parametrize("missing", ["PENDING", "RUNNING", "FAILED"])
def test_a_status_that_the_app_does_not_have_is_told_and_nothing_is_written(
    target: PostgresTarget, prisma: Database, missing: str
) -> None:
    prisma.execute(f"ALTER TYPE \"AnalysisStatus\" RENAME VALUE '{missing}' TO 'OTHER'")
    before = row(prisma)

    ask = (
        (lambda: reject_request(target, "run_0", "no"))
        if missing == "FAILED"
        else (lambda: claim(target, "run_0", "mine", ABAB))
    )
    with pytest.raises(AppRowError, match=rf"the app's status has no '{missing}' \(it has .*OTHER"):
        ask()

    assert row(prisma) == before


def test_no_table_and_no_server_are_told_apart(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute("DROP TABLE analysis_runs")
    with pytest.raises(
        AppRowError, match=r"there is no table analysis_runs or AnalysisRun .*deploy/link_role\.sql"
    ) as gone:
        pending(target, 1)
    assert not isinstance(gone.value, TransientAppRowError)

    nowhere = PostgresTarget("127.0.0.1", free_port(), "u", "secret", "d")
    with pytest.raises(TransientAppRowError, match="cannot be reached") as failed:
        pending(nowhere, 1)
    assert "secret" not in str(failed.value)
