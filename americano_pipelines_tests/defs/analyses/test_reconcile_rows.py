"""Reconcile the app's rows with their runs: each end of a run, and outages of MLflow and the app at that time."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from americano_pipelines.app_database import connection
from americano_pipelines.app_database.statements import claim, create
from americano_pipelines.defs.analyses.reconcile_rows import reconcile_app_rows
from americano_pipelines.defs.analyses.reconcile_sensor import build_run_outcome, reconcile_all
from americano_pipelines.defs.run_tags import (
    EXPERIMENT_TAG,
    OPEN,
    PLACE_TAG,
    ROW_MISSED,
    ROW_OPEN,
    ROW_RECONCILED,
    ROW_TAG,
    ROWS_TAG,
    STATUS_TAG,
)
from americano_pipelines.defs.step_errors import failure
from americano_pipelines.errors import AmericanoError, DataError, TransientAppRowError
from americano_pipelines.mlflow_store.client import Store, open_store
from americano_pipelines.mlflow_store.data_folder import store_label
from americano_pipelines.mlflow_store.runs import HASH_TAG, get_or_create_parent_run
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database, free_port
from americano_pipelines_tests.prisma_database import ABAB, link_url, row
from americano_pipelines_tests.provenance.records import kept_record
from americano_pipelines_tests.silent_server import silent_server

STATUS = dg.DagsterRunStatus
ENDED = [STATUS.SUCCESS, STATUS.FAILURE, STATUS.CANCELED]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def settings(prisma: Database, settings_for: Callable[..., Settings], empty_store: Path) -> Settings:
    settings = settings_for(analysis_runs_database_url=link_url(prisma))
    (settings.paths.root / "mlflow").mkdir(parents=True)
    (settings.paths.root / "mlflow" / "mlflow.db").write_bytes(empty_store.read_bytes())
    return settings


def add_run(instance: dg.DagsterInstance, status: STATUS, *row_ids: str, **tags: str) -> str:
    """Add a Dagster run with open rows."""
    rows_of = {f"{ROW_TAG}{row_id}": ROW_OPEN for row_id in row_ids} | {ROWS_TAG: ROW_OPEN}
    run = dg.DagsterRun(job_name="analyses", run_id=str(uuid.uuid4()), status=status, tags=rows_of | tags)
    instance.add_run(run)
    return run.run_id


def add_run_with_row(settings: Settings, instance: dg.DagsterInstance, status: STATUS) -> str:
    """Add a run that has claimed `run_0`."""
    assert settings.app is not None
    run_id = add_run(instance, status, "run_0")
    assert claim(settings.app, "run_0", run_id, ABAB)
    return run_id


def state(instance: dg.DagsterInstance, run_id: str, row_id: str = "run_0") -> tuple[str, str]:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.tags[ROWS_TAG], run.tags[f"{ROW_TAG}{row_id}"]


def create_mlflow_run(settings: Settings, **tags: str) -> str:
    """Create an MLflow run with tags."""
    store = open_store(settings)
    return str(store.client.create_run(store.experiment_id, tags=tags).info.run_id)


@pytest.mark.parametrize("status", ENDED)
def test_a_row_that_is_still_running_fails_with_its_run(
    settings: Settings, instance: dg.DagsterInstance, prisma: Database, status: STATUS
) -> None:
    run_id = add_run_with_row(settings, instance, status)

    assert reconcile_app_rows(settings, instance).rows == ["run_0"]

    ends = {STATUS.SUCCESS: "ended without recording it", STATUS.FAILURE: "failed", STATUS.CANCELED: "was cancelled"}
    assert row(prisma) == ("FAILED", f"Dagster run {run_id} {ends[status]}")
    assert state(instance, run_id) == (ROW_RECONCILED, ROW_RECONCILED)
    assert reconcile_app_rows(settings, instance).rows == []


def test_a_row_says_why_its_run_failed(settings: Settings, instance: dg.DagsterInstance, prisma: Database) -> None:
    @dg.op
    def breaks(context: dg.OpExecutionContext) -> None:
        assert settings.app is not None
        context.instance.add_run_tags(context.run_id, {f"{ROW_TAG}run_0": ROW_OPEN, ROWS_TAG: ROW_OPEN})
        assert claim(settings.app, "run_0", context.run_id, ABAB)
        raise failure(DataError("the disk is full"))

    @dg.job
    def breaking() -> None:
        breaks()

    result = breaking.execute_in_process(instance=instance, raise_on_error=False)
    reconcile_app_rows(settings, instance)

    assert row(prisma) == ("FAILED", f"Dagster run {result.run_id} failed: breaks: the disk is full")


def test_a_row_says_that_its_process_ended(settings: Settings, instance: dg.DagsterInstance, prisma: Database) -> None:
    run_id = add_run_with_row(settings, instance, STATUS.STARTED)
    assert reconcile_app_rows(settings, instance).rows == []
    assert row(prisma) == ("RUNNING", None)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_run_failed(run, message="process 1 on here ended without finishing this run")

    reconcile_app_rows(settings, instance)

    status, message = row(prisma)
    assert status == "FAILED"
    assert "process 1 on here ended without finishing this run" in message


def test_a_recorded_analysis_completes_its_row(
    settings: Settings, instance: dg.DagsterInstance, prisma: Database
) -> None:
    run_id = add_run_with_row(settings, instance, STATUS.SUCCESS)
    sha256, _ = kept_record(settings, dagster_run=run_id)
    kept_record(settings, dagster_run="another", mlflow_run="m9")
    for second in range(4):  # a step that was retried
        kept_record(settings, dagster_run=run_id, ended_at=f"2025-05-01T10:00:0{second}+00:00")

    assert reconcile_app_rows(settings, instance).rows == ["run_0"]

    status, summary = row(prisma, columns='status::text, "resultsSummary"')
    assert (status, summary["provenance_sha256"]) == ("COMPLETED", sha256)
    assert state(instance, run_id) == (ROW_RECONCILED, ROW_RECONCILED)


@pytest.mark.parametrize("confirmed", [True, False])
def test_the_record_of_a_failed_run_counts_if_mlflow_has_its_hash(
    settings: Settings, instance: dg.DagsterInstance, prisma: Database, *, confirmed: bool
) -> None:
    run_id = add_run_with_row(settings, instance, STATUS.FAILURE)
    mlflow_run = create_mlflow_run(settings)
    sha256, _ = kept_record(settings, dagster_run=run_id, mlflow_run=mlflow_run)
    if confirmed:
        open_store(settings).client.set_tag(mlflow_run, HASH_TAG, sha256)

    reconcile_app_rows(settings, instance)

    assert row(prisma)[0] == ("COMPLETED" if confirmed else "FAILED")


def test_a_run_that_never_had_its_row_is_marked_missed(
    settings: Settings, instance: dg.DagsterInstance, prisma: Database
) -> None:
    assert settings.app is not None
    run_without_row = add_run(instance, STATUS.FAILURE, "run_0", "no such row")
    run_with_row = add_run(instance, STATUS.FAILURE, "run_1")
    assert claim(settings.app, "run_1", run_with_row, ABAB)
    prisma.execute("UPDATE analysis_runs SET status = 'PENDING' WHERE id = 'run_1'")

    reconcile_app_rows(settings, instance)

    assert row(prisma) == row(prisma, "run_1") == ("PENDING", None)
    assert state(instance, run_without_row) == (ROW_RECONCILED, ROW_MISSED)
    assert state(instance, run_without_row, "no such row") == (ROW_RECONCILED, ROW_MISSED)
    assert state(instance, run_with_row, "run_1") == (ROW_RECONCILED, ROW_RECONCILED)


def test_a_deleted_row_or_one_without_an_owner_is_reported_once(
    settings: Settings, instance: dg.DagsterInstance, prisma: Database
) -> None:
    run_id = add_run_with_row(settings, instance, STATUS.SUCCESS)
    kept_record(settings, dagster_run=run_id)
    prisma.execute("DELETE FROM analysis_runs WHERE id = 'run_0'")
    (text,) = reconcile_app_rows(settings, instance).rows
    assert text.startswith("run_0, left alone: public.analysis_runs has no row 'run_0'")

    prisma.execute('ALTER TABLE analysis_runs DROP COLUMN "resultsSummary"')
    add_run(instance, STATUS.FAILURE, "run_1")
    (text,) = reconcile_app_rows(settings, instance).rows
    assert "no column resultsSummary of JSON" in text
    assert reconcile_app_rows(settings, instance).rows == []


def test_a_row_that_cannot_be_written_stops_no_other_and_is_tried_again(
    settings: Settings, instance: dg.DagsterInstance, prisma: Database
) -> None:
    assert settings.app is not None
    runs = [add_run(instance, STATUS.SUCCESS, name) for name in ("run_0", "run_1")]
    for name, run_id in zip(("run_0", "run_1"), runs, strict=True):
        assert claim(settings.app, name, run_id, ABAB)
    kept_record(settings, dagster_run=runs[0], mlflow_run="m1")
    prisma.execute("ALTER TYPE \"AnalysisStatus\" RENAME VALUE 'COMPLETED' TO 'DONE'")

    outcome = reconcile_app_rows(settings, instance)

    assert outcome.rows == ["run_1"]
    (problem,) = outcome.problems
    assert problem.startswith(f"row run_0 of Dagster run {runs[0]}: the app's status has no 'COMPLETED'")
    assert state(instance, runs[0]) == (ROW_OPEN, ROW_OPEN)
    prisma.execute("ALTER TYPE \"AnalysisStatus\" RENAME VALUE 'DONE' TO 'COMPLETED'")
    assert reconcile_app_rows(settings, instance).rows == ["run_0"]
    assert row(prisma)[0] == "COMPLETED"


def status_in_mlflow(settings: Settings, run_id: str) -> str:
    """The status of the MLflow run."""
    return str(open_store(settings).client.get_run(run_id).info.status)


def add_run_with_row_and_mlflow_run(settings: Settings, store: Store, instance: dg.DagsterInstance) -> tuple[str, str]:
    """Add a failed Dagster run with an open MLflow run and an open row; the ids of both runs."""
    assert settings.app is not None
    tags: Any = {EXPERIMENT_TAG: store.experiment_id, STATUS_TAG: OPEN}
    run_id = add_run(instance, STATUS.FAILURE, "run_0", **tags)
    assert claim(settings.app, "run_0", run_id, ABAB)
    return run_id, get_or_create_parent_run(store, settings, run_id, "job", {})


def test_an_outage_of_mlflow_delays_only_its_runs(
    settings: Settings, settings_for: Callable[..., Settings], instance: dg.DagsterInstance, prisma: Database
) -> None:
    assert settings.analysis_runs_database_url is not None
    _, mlflow_run = add_run_with_row_and_mlflow_run(settings, open_store(settings), instance)
    down = settings_for(
        analysis_runs_database_url=settings.analysis_runs_database_url.get_secret_value(),
        mlflow_tracking_uri=f"http://127.0.0.1:{free_port()}",
    )

    done, problems = reconcile_all(down, instance)

    assert done == ["row run_0"]
    assert "MLflow does not show yet" in problems[0]
    assert row(prisma)[0] == "FAILED"
    assert status_in_mlflow(settings, mlflow_run) == "RUNNING"
    assert reconcile_all(settings, instance)[1] == []
    assert status_in_mlflow(settings, mlflow_run) == "FAILED"


def test_an_outage_of_the_app_delays_only_its_rows_and_is_not_waited_for(
    settings: Settings, instance: dg.DagsterInstance, prisma: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WAITS_SECONDS", (3600.0,))
    _, mlflow_run = add_run_with_row_and_mlflow_run(settings, open_store(settings), instance)
    prisma.execute("ALTER ROLE americano_link CONNECTION LIMIT 0")
    try:
        # The tick fails, so that the outage shows; what is possible is done all the same.
        with pytest.raises(AmericanoError, match="the app does not show yet how some runs ended"):
            build_run_outcome(settings).evaluate_tick(dg.build_sensor_context(instance=instance))
        with pytest.raises(TransientAppRowError):
            reconcile_app_rows(settings, instance)
    finally:
        prisma.execute("ALTER ROLE americano_link CONNECTION LIMIT -1")

    assert status_in_mlflow(settings, mlflow_run) == "FAILED"
    assert row(prisma)[0] == "RUNNING"
    evaluated = build_run_outcome(settings).evaluate_tick(dg.build_sensor_context(instance=instance))
    assert evaluated.skip_message == "row run_0"
    assert row(prisma)[0] == "FAILED"


def test_a_row_waits_for_the_mlflow_of_its_run(
    settings: Settings, instance: dg.DagsterInstance, prisma: Database
) -> None:
    run_id = add_run_with_row(settings, instance, STATUS.FAILURE)
    mlflow_run = create_mlflow_run(settings)
    sha256, _ = kept_record(settings, dagster_run=run_id, mlflow_run=mlflow_run)
    open_store(settings).client.set_tag(mlflow_run, HASH_TAG, sha256)
    instance.add_run_tags(run_id, {PLACE_TAG: "http://elsewhere:5000"})

    (problem,) = reconcile_app_rows(settings, instance).problems

    assert "recorded in MLflow at http://elsewhere:5000" in problem
    assert row(prisma)[0] == "RUNNING"
    instance.add_run_tags(run_id, {PLACE_TAG: store_label(settings)})
    assert reconcile_app_rows(settings, instance).problems == []
    assert row(prisma)[0] == "COMPLETED"


def test_a_record_that_mlflow_must_confirm_waits_for_mlflow(
    settings: Settings, settings_for: Callable[..., Settings], instance: dg.DagsterInstance, prisma: Database
) -> None:
    assert settings.analysis_runs_database_url is not None
    kept_record(settings, dagster_run=add_run_with_row(settings, instance, STATUS.CANCELED))
    down = settings_for(
        analysis_runs_database_url=settings.analysis_runs_database_url.get_secret_value(),
        mlflow_tracking_uri=f"http://127.0.0.1:{free_port()}",
    )

    (problem,) = reconcile_app_rows(down, instance).problems

    assert "MLFLOW_TRACKING_URI" in problem
    assert row(prisma)[0] == "RUNNING"


def test_a_pass_waits_once_for_an_mlflow_that_does_not_answer(
    settings: Settings, settings_for: Callable[..., Settings], instance: dg.DagsterInstance, prisma: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert settings.app is not None
    assert settings.analysis_runs_database_url is not None
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    add_run_with_row_and_mlflow_run(settings, open_store(settings), instance)
    dead = add_run(instance, STATUS.CANCELED, "run_1")
    assert claim(settings.app, "run_1", dead, ABAB)
    kept_record(settings, row="run_1", dagster_run=dead)
    with silent_server() as silent:
        down = settings_for(
            analysis_runs_database_url=settings.analysis_runs_database_url.get_secret_value(),
            mlflow_tracking_uri=silent.url,
        )

        done, problems = reconcile_all(down, instance)

        assert len(silent.connections) <= 4, "one request and its retry for the MLflow runs, and the same for the rows"
    assert done == ["row run_0"]
    assert len(problems) == 2
    assert all("MLFLOW_TRACKING_URI" in problem for problem in problems)
    assert row(prisma, "run_1")[0] == "RUNNING", "a later pass reconciles it"


def test_without_an_app_rows_stay_open(
    settings: Settings, settings_for: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    run_id = add_run_with_row(settings, instance, STATUS.FAILURE)

    assert reconcile_app_rows(settings_for(), instance).rows == []

    assert state(instance, run_id) == (ROW_OPEN, ROW_OPEN)


def test_a_row_that_the_run_created_is_reconciled(
    settings: Settings, instance: dg.DagsterInstance, prisma: Database
) -> None:
    assert settings.app is not None
    run_id = str(uuid.uuid4())
    name = create(settings.app, run_id, "analysis/x", "protocol_1", "ABAB_RANDOMIZATION", "one", {})
    tags = {f"{ROW_TAG}{name}": ROW_OPEN, ROWS_TAG: ROW_OPEN}
    instance.add_run(dg.DagsterRun(job_name="analyses", run_id=run_id, status=STATUS.CANCELED, tags=tags))

    assert reconcile_app_rows(settings, instance).rows == [name]

    assert row(prisma, name) == ("FAILED", f"Dagster run {run_id} was cancelled")
