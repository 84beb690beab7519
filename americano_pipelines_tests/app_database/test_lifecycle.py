"""A row through its life: taken, made, completed, failed; and an app's database that is away for a while."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest

from americano_pipelines.analysis.preregistration import PlanCompliance
from americano_pipelines.app_database import connection, lifecycle
from americano_pipelines.app_database.matching import RowMatcher, row_matcher
from americano_pipelines.errors import AppRowError, RowOwnershipError, TransientAppRowError
from americano_pipelines.provenance import app_link
from americano_pipelines.settings import PostgresTarget, Settings
from americano_pipelines_tests.conftest import Database, free_port
from americano_pipelines_tests.prisma_database import ABAB, MIGRATION, row
from americano_pipelines_tests.provenance.records import HEX, kept_record


def test_a_row_is_taken_and_completed_from_the_record(
    target: PostgresTarget, prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    prisma.execute(MIGRATION)
    sha256, record = kept_record(settings_for(), dagster_run="mine", mlflow_run="m1")
    lifecycle.claim(target, "run_0", "mine", ABAB)

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
    ("reasons", "told"),
    [
        ([], "It helped."),
        (["alpha is 0.1, 0.05 was planned"],
         "It helped. Exploratory (alpha is 0.1, 0.05 was planned); 2 analyses of this protocol came before it."),
    ],
)  # fmt: skip
def test_an_exploratory_result_says_so_in_the_apps_sentence(
    settings_for: Callable[..., Settings], reasons: list[str], told: str
) -> None:
    _, record = kept_record(settings_for())
    compliance = PlanCompliance(
        planned=not reasons, reasons=tuple(reasons), earlier_runs=2, unrecorded_runs=0, plan_over=True
    )

    values = app_link.row_values(record.model_copy(update={"standing": compliance}))

    assert values["resultsSummary"]["sentence"] == told


def test_what_cannot_be_taken_is_told_apart(target: PostgresTarget, prisma: Database) -> None:
    lifecycle.claim(target, "run_0", "mine", ABAB)

    lifecycle.claim(target, "run_0", "mine", ABAB)
    with pytest.raises(AppRowError, match="'run_0' is RUNNING, not PENDING"):
        lifecycle.claim(target, "run_0", "other", ABAB)
    with pytest.raises(AppRowError, match="has no analysis run 'nothing'"):
        lifecycle.claim(target, "nothing", "mine", ABAB)
    prisma.execute("DELETE FROM analysis_runs WHERE id = 'run_0'")
    assert not lifecycle.fail(target, "run_0", "mine", "no")


BAYESIAN, SQUARES = {"method": "bayesian"}, {"method": "least_squares"}


@pytest.mark.parametrize(
    ("asks_for", "answer", "told"),
    [
        ("ABAB_RANDOMIZATION", row_matcher("protocol_1", "abab_randomization", {}),
         "ABAB_RANDOMIZATION of protocol protocol_0, not ABAB_RANDOMIZATION, of protocol protocol_1"),
        ("CHANGE_POINT_DETECTION", row_matcher("protocol_0", "abab_randomization", {}),
         "CHANGE_POINT_DETECTION of protocol protocol_0, not ABAB_RANDOMIZATION, of protocol protocol_0"),
        ("GRANGER_CAUSALITY", row_matcher("protocol_0", "change_points", {}), "not CHANGE_POINT_DETECTION"),
        ("BAYESIAN_ITS", row_matcher("protocol_0", "interrupted_time_series", {}),
         "not interrupted_time_series as asked, for which the app has no word, of protocol protocol_0"),
        ("BAYESIAN_ITS", row_matcher("protocol_0", "interrupted_time_series", SQUARES), "not interrupted_time_series"),
        ("MIXED_EFFECTS", row_matcher("protocol_0", "interrupted_time_series", BAYESIAN), "not BAYESIAN_ITS"),
        ("MIXED_EFFECTS", row_matcher("protocol_1", "interrupted_time_series", {}), "not interrupted_time_series"),
        ("ABAB_RANDOMIZATION", row_matcher(None, "training_demo", {"epochs": 3}), "not training_demo as asked"),
    ],
)  # fmt: skip
def test_a_row_that_asks_for_something_else_is_not_taken(
    target: PostgresTarget, prisma: Database, asks_for: str, answer: RowMatcher, told: str
) -> None:
    prisma.execute(f"UPDATE analysis_runs SET \"analysisType\" = '{asks_for}' WHERE id = 'run_0'")
    before = row(prisma, columns="to_jsonb(analysis_runs)")

    with pytest.raises(
        AppRowError, match=f"row 'run_0' is {asks_for} of protocol protocol_0, not .*as it is$"
    ) as error:
        lifecycle.claim(target, "run_0", "mine", answer)

    assert told in str(error.value)
    assert row(prisma, columns="to_jsonb(analysis_runs)") == before


@pytest.mark.parametrize(
    ("asks_for", "answer"),
    [
        ("BAYESIAN_ITS", row_matcher("protocol_0", "interrupted_time_series", BAYESIAN)),
        ("MIXED_EFFECTS", row_matcher("protocol_0", "interrupted_time_series", {})),
        ("MIXED_EFFECTS", row_matcher(None, "training_demo", {"epochs": 3})),
        ("CHANGE_POINT_DETECTION", row_matcher("protocol_0", "change_points", {"no such parameter": 1})),
    ],
)
def test_a_row_of_this_analysis_or_of_none_that_is_here_is_taken(
    target: PostgresTarget, prisma: Database, asks_for: str, answer: RowMatcher
) -> None:
    prisma.execute(f"UPDATE analysis_runs SET \"analysisType\" = '{asks_for}' WHERE id = 'run_0'")

    lifecycle.claim(target, "run_0", "mine", answer)

    assert row(prisma) == ("RUNNING", None)


def test_a_row_that_is_deleted_or_taken_over_meanwhile_is_not_written(
    target: PostgresTarget, prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    _, record = kept_record(settings_for(), dagster_run="mine")
    lifecycle.claim(target, "run_0", "mine", ABAB)
    prisma.execute("UPDATE analysis_runs SET status = 'PENDING' WHERE id = 'run_0'")
    with pytest.raises(RowOwnershipError, match="PENDING again"):
        app_link.complete(target, "run_0", record)
    lifecycle.claim(target, "run_0", "other", ABAB)
    with pytest.raises(RowOwnershipError, match="RUNNING, by Dagster run other"):
        app_link.complete(target, "run_0", record)
    assert not lifecycle.fail(target, "run_0", "mine", "no")

    prisma.execute("DELETE FROM analysis_runs WHERE id = 'run_0'")
    with pytest.raises(RowOwnershipError, match="has no row 'run_0'"):
        app_link.complete(target, "run_0", record)


def test_a_row_is_made_once_for_a_run_asset_and_protocol(target: PostgresTarget, prisma: Database) -> None:
    def register() -> str:
        return lifecycle.create(target, "mine", "analysis/x", "protocol_1", "ABAB_RANDOMIZATION", "one", {"alpha": 0.1})

    made = register()

    assert register() == made
    assert made[0] == "c"
    assert len(made) == 25
    assert made != lifecycle.row_id("mine", "analysis/x", "protocol_0")
    assert row(prisma, made, 'status::text, "runName", "inputParams", "resultsSummary"') == (
        "RUNNING", "one", {"alpha": 0.1}, {"dagster_run_id": "mine"}
    )  # fmt: skip
    assert lifecycle.fail(target, made, "mine", "no data")
    assert row(prisma, made) == ("FAILED", "no data")


def test_an_app_that_comes_back_in_time_is_waited_for(
    target: PostgresTarget, prisma: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WAITS_SECONDS", (0.2,) * 100)
    prisma.execute("ALTER ROLE americano_link CONNECTION LIMIT 0")
    done = threading.Event()

    def take() -> None:
        lifecycle.claim(target, "run_0", "mine", ABAB)
        done.set()

    worker = threading.Thread(target=take, daemon=True)
    worker.start()
    time.sleep(0.5)
    assert not done.is_set()
    prisma.execute("ALTER ROLE americano_link CONNECTION LIMIT -1")

    worker.join(timeout=60)
    assert done.is_set()


def test_an_app_that_stays_away_is_told(target: PostgresTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WAITS_SECONDS", (0.0, 0.0))

    with pytest.raises(TransientAppRowError, match="cannot be reached"):
        lifecycle.claim(replace(target, port=free_port()), "run_0", "mine", ABAB)
