"""Read the app's requests and claim them: each goes to one run, and only to a run of the requested analysis."""

import threading
from collections.abc import Callable
from functools import partial

import pytest

from americano_pipelines.app_database.matching import RowMatcher, resolve_request, row_matcher
from americano_pipelines.app_database.statements import claim, fail, pending, read_row
from americano_pipelines.errors import AnalysisError, AppRowError
from americano_pipelines.settings import PostgresTarget
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.prisma_database import ABAB, MIGRATION, row


def test_pending_lists_what_rows_request(target: PostgresTarget) -> None:
    first, second = pending(target, 10)

    assert (first.analysis_run_id, first.protocol_id, first.analysis_type, first.parameters) == (
        "run_0", "protocol_0", "ABAB_RANDOMIZATION", {}
    )  # fmt: skip
    assert second.analysis_run_id == "run_1"
    assert len(pending(target, 1)) == 1


def test_pending_starts_with_the_oldest(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute("UPDATE analysis_runs SET \"startedAt\" = '2025-03-01' WHERE id = 'run_1'")

    assert [request.analysis_run_id for request in pending(target, 10)] == ["run_1", "run_0"]


def test_one_of_many_workers_claims_a_request(target: PostgresTarget, prisma: Database) -> None:
    start, claims, refusals = threading.Barrier(8), [], []

    def work(worker: int) -> None:
        start.wait(timeout=30)
        try:
            claims.append((worker, claim(target, "run_0", f"dagster {worker}", ABAB)))
        except AppRowError as error:
            refusals.append(str(error))

    workers = [threading.Thread(target=work, args=[worker]) for worker in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)

    ((winner, request),) = claims
    assert request.analysis_run_id == "run_0"
    assert len(refusals) == 7
    assert all("'run_0' is RUNNING, not PENDING" in refusal for refusal in refusals)
    columns = 'status::text, "resultsSummary", "startedAt" > now() - interval \'1 minute\''
    assert row(prisma, columns=columns) == ("RUNNING", {"dagster_run_id": f"dagster {winner}"}, True)
    assert [request.analysis_run_id for request in pending(target, 10)] == ["run_1"]


def test_a_refused_claim_says_why(target: PostgresTarget) -> None:
    claim(target, "run_0", "mine", ABAB)

    with pytest.raises(AppRowError, match="'run_0' is RUNNING, not PENDING"):
        claim(target, "run_0", "other", ABAB)
    with pytest.raises(AppRowError, match="has no analysis run 'nothing'"):
        claim(target, "nothing", "mine", ABAB)


def test_a_run_may_claim_its_own_row_again(target: PostgresTarget, prisma: Database) -> None:
    assert claim(target, "run_0", "mine", ABAB)
    assert claim(target, "run_0", "mine", ABAB), "a retried step, or a reply that was lost"
    with pytest.raises(AppRowError, match="is RUNNING, not PENDING"):
        claim(target, "run_0", "other", ABAB)
    assert fail(target, "run_0", "the source went away", claimed_by="mine")
    with pytest.raises(AppRowError, match="is FAILED, not PENDING"):
        claim(target, "run_0", "other", ABAB)
    assert claim(target, "run_0", "mine", ABAB)

    prisma.execute("UPDATE analysis_runs SET status = 'COMPLETED' WHERE id = 'run_0'")
    with pytest.raises(AppRowError, match="is COMPLETED, not PENDING"):
        claim(target, "run_0", "mine", ABAB)


def test_without_a_json_summary_no_row_can_be_claimed_again(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute('ALTER TABLE analysis_runs DROP COLUMN "resultsSummary"')
    assert claim(target, "run_0", "mine", ABAB)

    with pytest.raises(AppRowError, match="is RUNNING, not PENDING"):
        claim(target, "run_0", "mine", ABAB)


def test_a_claim_empties_the_columns_of_an_earlier_result(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute(MIGRATION)
    prisma.execute(
        'UPDATE analysis_runs SET "mlflowRunId" = \'m1\', "mlflowRunUrl" = \'http://x\', "completedAt" = now(), '
        "\"durationSeconds\" = 3, \"errorMessage\" = 'no' WHERE id = 'run_0'"
    )

    assert claim(target, "run_0", "mine", ABAB)

    columns = '"mlflowRunId", "mlflowRunUrl", "completedAt", "durationSeconds", "errorMessage"'
    assert row(prisma, columns=columns) == (None,) * 5


def test_a_column_that_may_not_be_null_gets_its_default_or_keeps_its_value(
    target: PostgresTarget, prisma: Database
) -> None:
    prisma.execute(
        "UPDATE analysis_runs SET \"errorMessage\" = 'e', \"mlflowRunId\" = 'm'; ALTER TABLE analysis_runs "
        'ALTER "errorMessage" SET NOT NULL, ALTER "errorMessage" SET DEFAULT \'\', ALTER "mlflowRunId" SET NOT NULL'
    )

    assert claim(target, "run_0", "mine", ABAB)

    assert row(prisma, columns='"errorMessage", "mlflowRunId"') == ("", "m")


BAYESIAN, SQUARES = {"method": "bayesian"}, {"method": "least_squares"}


@pytest.mark.parametrize(
    ("requested", "matcher", "message"),
    [
        ("ABAB_RANDOMIZATION", row_matcher("protocol_1", "abab_randomization", {}),
         "ABAB_RANDOMIZATION of protocol protocol_0, not ABAB_RANDOMIZATION, of protocol protocol_1"),
        ("CHANGE_POINT_DETECTION", row_matcher("protocol_0", "abab_randomization", {}),
         "CHANGE_POINT_DETECTION of protocol protocol_0, not ABAB_RANDOMIZATION, of protocol protocol_0"),
        ("GRANGER_CAUSALITY", row_matcher("protocol_0", "change_points", {}), "not CHANGE_POINT_DETECTION"),
        ("BAYESIAN_ITS", row_matcher("protocol_0", "interrupted_time_series", {}),
         "not interrupted_time_series (no value in AnalysisType), of protocol protocol_0"),
        ("BAYESIAN_ITS", row_matcher("protocol_0", "interrupted_time_series", SQUARES), "not interrupted_time_series"),
        ("MIXED_EFFECTS", row_matcher("protocol_0", "interrupted_time_series", BAYESIAN), "not BAYESIAN_ITS"),
        ("MIXED_EFFECTS", row_matcher("protocol_1", "interrupted_time_series", {}), "not interrupted_time_series"),
        ("ABAB_RANDOMIZATION", row_matcher(None, "training_demo", {"epochs": 3}), "not training_demo (no value"),
    ],
)  # fmt: skip
def test_a_row_that_requests_another_analysis_is_left_unchanged(
    target: PostgresTarget, prisma: Database, requested: str, matcher: RowMatcher, message: str
) -> None:
    prisma.execute(f"UPDATE analysis_runs SET \"analysisType\" = '{requested}' WHERE id = 'run_0'")
    before = row(prisma, columns="to_jsonb(analysis_runs)")

    with pytest.raises(
        AppRowError, match=f"row 'run_0' is {requested} of protocol protocol_0, not .*as it is$"
    ) as error:
        claim(target, "run_0", "mine", matcher)

    assert message in str(error.value)
    assert row(prisma, columns="to_jsonb(analysis_runs)") == before


@pytest.mark.parametrize(
    ("requested", "matcher"),
    [
        ("BAYESIAN_ITS", row_matcher("protocol_0", "interrupted_time_series", BAYESIAN)),
        ("MIXED_EFFECTS", row_matcher("protocol_0", "interrupted_time_series", {})),
        ("MIXED_EFFECTS", row_matcher(None, "training_demo", {"epochs": 3})),
        ("CHANGE_POINT_DETECTION", row_matcher("protocol_0", "change_points", {"no such parameter": 1})),
    ],
)
def test_a_row_that_requests_this_analysis_or_an_unknown_one_is_claimed(
    target: PostgresTarget, prisma: Database, requested: str, matcher: RowMatcher
) -> None:
    prisma.execute(f"UPDATE analysis_runs SET \"analysisType\" = '{requested}' WHERE id = 'run_0'")

    claim(target, "run_0", "mine", matcher)

    assert row(prisma) == ("RUNNING", None)


def test_ids_and_parameters_may_hold_any_text(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute("UPDATE analysis_runs SET id = 'it''s %s :x', \"inputParams\" = '[1]' WHERE id = 'run_0'")

    assert pending(target, 1)[0].parameters == [1]
    assert claim(target, "it's %s :x", "mi'ne %s", ABAB)
    assert row(prisma, "it's %s :x", '"resultsSummary"') == ({"dagster_run_id": "mi'ne %s"},)
    assert claim(target, "it's %s :x", "mi'ne %s", ABAB)


@pytest.mark.parametrize("kind", ["jsonb", "json", "text"])
def test_json_that_is_nested_too_deep_stops_no_other_row(target: PostgresTarget, prisma: Database, kind: str) -> None:
    deep = '{"alpha": ' + "[" * 3000 + "]" * 3000 + "}"
    prisma.execute(
        f'ALTER TABLE analysis_runs ALTER "inputParams" TYPE {kind} USING "inputParams"::text::{kind}; '
        f"UPDATE analysis_runs SET \"inputParams\" = '{deep}', \"resultsSummary\" = '{deep}' WHERE id = 'run_0'"
    )

    first, second = pending(target, 10)

    assert (first.parameters, second.parameters) == (deep, {})
    with pytest.raises(AnalysisError, match="inputParams is no JSON object, or too deep to be read: '"):
        resolve_request(first)
    deep_row = read_row(target, "run_0")
    assert deep_row is not None
    assert (deep_row["status"], deep_row["resultsSummary"]) == ("PENDING", deep)
    assert claim(target, "run_1", "mine", ABAB)


def test_an_older_table_with_few_columns_of_plain_text(target: PostgresTarget, prisma: Database) -> None:
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
    with pytest.raises(AppRowError, match="is RUNNING, not PENDING"):
        claim(target, "run_0", "other", ABAB)
    assert fail(target, "run_1", "no")
    prisma.execute('ALTER TABLE "AnalysisRun" DROP COLUMN "inputParams"; UPDATE "AnalysisRun" SET status = \'PENDING\'')
    assert pending(target, 1)[0].parameters == {}


def test_ids_of_type_uuid_are_text(target: PostgresTarget, prisma: Database) -> None:
    protocol, name = "7b0a6a4e-0000-4000-8000-000000000001", "7b0a6a4e-0000-4000-8000-000000000002"
    prisma.execute(
        "DROP POLICY own_analysis_runs ON analysis_runs; ALTER TABLE analysis_runs DROP CONSTRAINT "
        '"analysis_runs_protocolId_fkey"; DELETE FROM analysis_runs '
        f"WHERE id = 'run_1'; UPDATE analysis_runs SET id = '{name}', \"protocolId\" = '{protocol}'; "
        'ALTER TABLE analysis_runs ALTER id TYPE uuid USING id::uuid, ALTER "protocolId" TYPE uuid USING '
        '"protocolId"::uuid'
    )

    (request,) = pending(target, 10)
    assert (request.analysis_run_id, request.protocol_id) == (name, protocol)
    assert claim(target, name, "mine", row_matcher(protocol, "abab_randomization", {}))
    with pytest.raises(AppRowError, match="uuid"):
        read_row(target, "run_0")


def test_a_role_that_may_read_few_columns(target: PostgresTarget, prisma: Database) -> None:
    prisma.execute(
        'REVOKE SELECT ON analysis_runs FROM americano_link; GRANT SELECT (id, "protocolId", "analysisType", status, '
        '"inputParams", "resultsSummary", "startedAt") ON analysis_runs TO americano_link'
    )

    assert len(pending(target, 10)) == 2
    assert claim(target, "run_0", "mine", ABAB)
    assert fail(target, "run_0", "no data", claimed_by="mine")
    assert read_row(target, "run_0") == {
        "id": "run_0",
        "protocolId": "protocol_0",
        "analysisType": "ABAB_RANDOMIZATION",
        "status": "FAILED",
        "resultsSummary": {"dagster_run_id": "mine"},
    }
    assert row(prisma) == ("FAILED", "no data")


@pytest.mark.parametrize(
    ("verb", "missing"),
    [
        (partial(claim, dagster_run_id="mine", matcher=ABAB), "PENDING"),
        (partial(claim, dagster_run_id="mine", matcher=ABAB), "RUNNING"),
        (partial(fail, reason="no"), "PENDING"),
        (partial(fail, reason="no"), "FAILED"),
    ],
    ids=["claim-PENDING", "claim-RUNNING", "fail-PENDING", "fail-FAILED"],
)
def test_a_missing_status_is_named_and_nothing_is_written(
    target: PostgresTarget, prisma: Database, verb: Callable[[PostgresTarget, str], object], missing: str
) -> None:
    prisma.execute(f"ALTER TYPE \"AnalysisStatus\" RENAME VALUE '{missing}' TO 'OTHER'")
    before = row(prisma)

    with pytest.raises(AppRowError, match=rf"the app's status has no '{missing}' \(it has .*OTHER"):
        verb(target, "run_0")

    assert row(prisma) == before
