"""Sensor `analysis_requests`: the run that each PENDING row of the app gets, tick by tick."""

import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import JobFailureData, RunFailureReason

from americano_pipelines.defs.analyses.request_sensor import (
    ATTEMPTS,
    ATTEMPTS_WITHOUT_MLFLOW,
    plan_requests,
)
from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.defs.job_names import ANALYSES
from americano_pipelines.defs.protocol_partitions import PROTOCOLS
from americano_pipelines.defs.run_tags import REQUEST_TAG, ROW_MISSED, ROW_OPEN, ROW_RECONCILED, ROW_TAG
from americano_pipelines.errors import TransientAppRowError
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database, free_port
from americano_pipelines_tests.prisma_database import link_url, row

STATUS = dg.DagsterRunStatus


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(PROTOCOLS.name), ["protocol_0", "protocol_1"])
        yield instance


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A persistent instance: a whole tick opens it again by its reference to look up partitions."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.add_dynamic_partitions(str(PROTOCOLS.name), ["protocol_0", "protocol_1"])
        yield instance


@pytest.fixture
def settings(prisma: Database, settings_for: Callable[..., Settings]) -> Settings:
    return settings_for(analysis_runs_database_url=link_url(prisma))


def tick(settings: Settings, instance: dg.DagsterInstance) -> Any:
    definitions = build_defs(settings)
    (sensor,) = [sensor for sensor in definitions.sensors or () if sensor.name == "analysis_requests"]
    reference = instance.get_ref() if instance.is_persistent else None
    context = dg.build_sensor_context(instance=instance, instance_ref=reference, definitions=definitions)
    assert isinstance(sensor, dg.SensorDefinition)
    return sensor.evaluate_tick(context)


def add_run(instance: dg.DagsterInstance, status: STATUS, row_state: str | None = None, row_id: str = "run_0") -> str:
    """Add a Dagster run that was started for a row."""
    tags = {REQUEST_TAG: row_id} | ({f"{ROW_TAG}{row_id}": row_state} if row_state else {})
    run = dg.DagsterRun(job_name=ANALYSES, run_id=str(uuid.uuid4()), status=status, tags=tags)
    instance.add_run(run)
    return run.run_id


def add_run_without_mlflow(instance: dg.DagsterInstance, ended: datetime) -> str:
    """Add a run for `run_0` that failed because MLflow did not answer."""
    run_id = add_run(instance, STATUS.STARTED)
    data = JobFailureData(error=None, failure_reason=RunFailureReason.RUN_EXCEPTION)
    failed = dg.DagsterEventType.RUN_FAILURE.value
    event = dg.DagsterEvent(failed, ANALYSES, message="no MLflow", event_specific_data=data)
    instance.report_dagster_event(event, run_id, timestamp=ended.timestamp())
    return run_id


def key_of(settings: Settings, instance: dg.DagsterInstance) -> str | None:
    """The run key that `run_0` gets now."""
    requests = plan_requests(settings.app, instance).run_requests
    keys = {request.tags[REQUEST_TAG]: request.run_key for request in requests}
    return keys.get("run_0")


def test_a_request_becomes_a_run_with_its_parameters(
    settings: Settings, on_disk: dg.DagsterInstance, prisma: Database
) -> None:
    prisma.execute(
        "UPDATE analysis_runs SET \"inputParams\" = '{\"alpha\": 0.01}' WHERE id = 'run_0'; UPDATE analysis_runs "
        "SET \"analysisType\" = 'BAYESIAN_ITS', \"inputParams\" = '{\"seed\": 4}' WHERE id = 'run_1'"
    )

    first, second = tick(settings, on_disk).run_requests

    assert (first.asset_selection, first.partition_key) == (
        [dg.AssetKey(["analysis", "abab_randomization"])],
        "protocol_0",
    )
    assert first.run_config == {
        "ops": {"analysis__abab_randomization": {"config": {"alpha": 0.01, "analysis_run_id": "run_0"}}}
    }
    assert (second.asset_selection, second.partition_key) == (
        [dg.AssetKey(["analysis", "interrupted_time_series"])], "protocol_1"
    )  # fmt: skip
    assert second.run_config == {
        "ops": {
            "analysis__interrupted_time_series": {
                "config": {"seed": 4, "method": "bayesian", "analysis_run_id": "run_1"}
            }
        }
    }
    assert first.tags[REQUEST_TAG] == "run_0"
    assert row(prisma) == ("PENDING", None), "the run claims it, not the sensor"


def test_the_asset_accepts_the_run_config(settings: Settings, instance: dg.DagsterInstance, prisma: Database) -> None:
    prisma.execute(
        'UPDATE analysis_runs SET "inputParams" = \'{"direction": "increase", "seed": "3", "alpha": 0.1, '
        '"ratio_scale": true, "improvement": "decrease", "outcome": "timeOfDay", "min_days": 3}\''
    )

    for request in plan_requests(settings.app, instance).run_requests:
        job = (
            build_defs(settings)
            .resolve_job_def(ANALYSES)
            .get_subset(asset_selection=set(request.asset_selection or ()))
        )
        assert dg.validate_run_config(job, request.run_config)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            "\"analysisType\" = 'GRANGER_CAUSALITY'",
            "this project has no analysis GRANGER_CAUSALITY; an app can request",
        ),
        ('"inputParams" = \'{"alpha": 7}\'', "parameters of abab_randomization: alpha"),
        ("\"inputParams\" = '[]'", "inputParams is no JSON object"),
    ],
)
def test_an_invalid_request_fails_with_the_reason_and_stops_no_other(
    settings: Settings, on_disk: dg.DagsterInstance, prisma: Database, change: str, reason: str
) -> None:
    prisma.execute(f"UPDATE analysis_runs SET {change} WHERE id = 'run_0'")

    (request,) = tick(settings, on_disk).run_requests

    assert request.tags[REQUEST_TAG] == "run_1"
    status, message = row(prisma)
    assert status == "FAILED"
    assert reason in message
    prisma.execute("DELETE FROM analysis_runs WHERE id = 'run_1'")
    assert tick(settings, on_disk).skip_message == "the app has no PENDING row"


def test_a_request_waits_until_its_protocol_is_published(
    settings: Settings, on_disk: dg.DagsterInstance, prisma: Database
) -> None:
    for name in ("protocol_0", "protocol_1"):
        on_disk.delete_dynamic_partition(str(PROTOCOLS.name), name)

    result = tick(settings, on_disk)

    assert not result.run_requests
    assert "run_0 waits until protocol protocol_0 is published: by the next sync" in result.skip_message
    on_disk.add_dynamic_partitions(str(PROTOCOLS.name), ["protocol_1"])
    assert [request.partition_key for request in tick(settings, on_disk).run_requests] == ["protocol_1"]
    assert row(prisma) == ("PENDING", None)


def test_no_second_run_starts_while_one_may_claim_the_row(settings: Settings, instance: dg.DagsterInstance) -> None:
    first = key_of(settings, instance)
    assert first is not None
    assert key_of(settings, instance) == first, "both ticks request the same run"

    for status in (STATUS.STARTING, STATUS.STARTED, STATUS.CANCELING):
        run_id = add_run(instance, status)
        batch = plan_requests(settings.app, instance)
        assert f"run_0 has Dagster run {run_id}" in batch.waiting
        assert [request.tags[REQUEST_TAG] for request in batch.run_requests] == ["run_1"]
        instance.delete_run(run_id)
    add_run(instance, STATUS.NOT_STARTED)
    assert key_of(settings, instance) == first, "Dagster starts the run it has of this key"


def test_a_request_is_refused_after_three_attempts(
    settings: Settings, instance: dg.DagsterInstance, prisma: Database
) -> None:
    keys = []
    for state in (None, ROW_OPEN, ROW_MISSED):
        keys.append(key_of(settings, instance))
        last = add_run(instance, STATUS.FAILURE, state)
    assert len(keys) == ATTEMPTS == len(set(keys))
    assert None not in keys

    assert key_of(settings, instance) is None

    assert row(prisma) == (
        "FAILED",
        f"started 3 times without claiming this row; the last time: Dagster run {last} failed",
    )
    assert row(prisma, "run_1") == ("PENDING", None)


def test_pauses_double_while_mlflow_is_unavailable(
    settings: Settings, instance: dg.DagsterInstance, prisma: Database
) -> None:
    for minutes in (1, 2, 4, 8, 16, 32, 60, 60):
        present = datetime.now(UTC)
        run_id = add_run_without_mlflow(instance, present - timedelta(minutes=0.6 * minutes))
        (reason,) = plan_requests(settings.app, instance).waiting
        assert re.match(r"run_0 waits until [\d:]{8} UTC; the last time: ", reason)
        assert f"Dagster run {run_id} failed: no MLflow" in reason
        instance.delete_run(run_id)
        add_run_without_mlflow(instance, present - timedelta(minutes=minutes, seconds=1))
        assert key_of(settings, instance) is not None

    for _ in range(ATTEMPTS - 1):
        add_run(instance, STATUS.FAILURE)
        assert key_of(settings, instance) is not None, "runs without MLflow do not count"
    for _ in range(ATTEMPTS_WITHOUT_MLFLOW - 8):
        assert row(prisma)[0] == "PENDING"
        add_run_without_mlflow(instance, present - timedelta(minutes=30))
        key_of(settings, instance)

    status, message = row(prisma)
    assert status == "FAILED"
    assert message.startswith(f"started {ATTEMPTS - 1 + ATTEMPTS_WITHOUT_MLFLOW} times without claiming this row")
    assert message.endswith("failed: no MLflow")


def test_a_row_that_is_pending_again_has_new_attempts(settings: Settings, instance: dg.DagsterInstance) -> None:
    keys = set()
    for state in (ROW_MISSED, ROW_MISSED, ROW_RECONCILED, ROW_MISSED, ROW_MISSED):
        add_run(instance, STATUS.FAILURE, state)
        keys.add(key_of(settings, instance))
    assert None not in keys
    assert len(keys) == 5

    add_run(instance, STATUS.CANCELED, ROW_MISSED)
    assert key_of(settings, instance) is None


def test_a_run_key_is_new_after_an_earlier_run_was_deleted(settings: Settings, instance: dg.DagsterInstance) -> None:
    first = add_run(instance, STATUS.FAILURE)
    used = {key_of(settings, instance)}
    add_run(instance, STATUS.FAILURE)
    instance.delete_run(first)

    assert key_of(settings, instance) not in used


def test_one_tick_starts_twenty_runs_at_most(
    settings: Settings, instance: dg.DagsterInstance, prisma: Database
) -> None:
    prisma.execute(
        "INSERT INTO analysis_runs SELECT (jsonb_populate_record(request, jsonb_build_object('id', 'more_' || i))).* "
        "FROM analysis_runs AS request, generate_series(1, 40) AS i WHERE id = 'run_0'"
    )

    batch = plan_requests(settings.app, instance)

    assert len(batch.run_requests) == 20
    assert sum(reason.endswith("waits its turn") for reason in batch.waiting) == 22


def test_without_an_app_no_sensor_is_built(settings_for: Callable[..., Settings], instance: dg.DagsterInstance) -> None:
    settings = settings_for()

    assert [sensor.name for sensor in build_defs(settings).sensors or ()] == ["run_outcome", "parquet_arrival"]
    assert plan_requests(settings.app, instance).run_requests == []


def test_an_unreachable_app_fails_the_tick(settings_for: Callable[..., Settings], instance: dg.DagsterInstance) -> None:
    url = f"postgresql://u:p@127.0.0.1:{free_port()}/d"

    with pytest.raises(TransientAppRowError, match="cannot be reached"):
        tick(settings_for(analysis_runs_database_url=url), instance)
