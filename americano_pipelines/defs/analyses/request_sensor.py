"""Sensor `analysis_requests`: start a run for each PENDING row of the app, and limit its attempts.

The run claims the row as its first act. So no claim is lost before its launch, and of two runs for one row only one
carries it out.

https://docs.dagster.io/guides/automate/sensors
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import takewhile
from typing import Any

import dagster as dg

from americano_pipelines.app_database.matching import Request, resolve_request
from americano_pipelines.app_database.statements import fail, pending
from americano_pipelines.defs.job_names import ANALYSES, PREFIX, ROW_FIELD
from americano_pipelines.defs.protocol_partitions import partitions
from americano_pipelines.defs.retry_pause import next_attempt_at
from americano_pipelines.defs.run_ends import describe_end
from americano_pipelines.defs.run_tags import FAILURE_REASON_TAG, OUTSIDE_STEPS, REQUEST_TAG, ROW_RECONCILED, ROW_TAG
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import PostgresTarget, Settings
from americano_pipelines.text_output import one_line

ATTEMPTS = 3
# A run that failed because a resource (usually MLflow) was unavailable does not count towards ATTEMPTS. It is repeated
# after 1 min, then after twice as long each time, up to 1 h: 30 of these last about a day.
ATTEMPTS_WITHOUT_MLFLOW = 30
_PAUSE, _MAX_PAUSE = timedelta(minutes=1), timedelta(hours=1)
_MAX_REQUESTS_READ, _MAX_RUNS_STARTED = 1000, 20


def retry_delay(instance: dg.DagsterInstance, row_id: str, earlier: Sequence[dg.RunRecord]) -> str | None:
    """Decide whether a request must wait before its next run.

    Only runs since the last one that had the row count: after that one, somebody set the row to PENDING again.

    Args:
        instance: the Dagster instance with the runs.
        row_id: the request.
        earlier: its runs, newest first.

    Returns:
        Until when it waits, and why; None when it need not wait.

    Raises:
        AnalysisError: ATTEMPTS or ATTEMPTS_WITHOUT_MLFLOW is reached.
    """
    ended = [record for record in earlier if record.dagster_run.is_finished]
    failed = list(takewhile(lambda record: record.dagster_run.tags.get(f"{ROW_TAG}{row_id}") != ROW_RECONCILED, ended))
    resource_failures = [_lacked_a_resource(record) for record in failed]
    without_resource = sum(resource_failures)
    last = describe_end(instance, failed[0].dagster_run) if failed else ""
    if len(failed) - without_resource >= ATTEMPTS or without_resource >= ATTEMPTS_WITHOUT_MLFLOW:
        raise AnalysisError(f"started {len(failed)} times without claiming this row; the last time: {last}")
    if not failed or not resource_failures[0]:
        return None
    until = next_attempt_at(failed[0], without_resource, _PAUSE, _MAX_PAUSE)
    return f"until {until:%H:%M:%S} UTC; the last time: {last}" if until is not None else None


def _lacked_a_resource(run: dg.RunRecord) -> bool:
    """Whether a run failed outside its steps: `mlflow` or `warehouse` could not be opened."""
    return run.dagster_run.tags.get(FAILURE_REASON_TAG) == OUTSIDE_STEPS


@dataclass(frozen=True)
class RejectedRequest:
    """A request that cannot be carried out, whose row was set to FAILED; `reason` is the error in the row."""

    request: Request
    reason: str


@dataclass
class RequestBatch:
    """What to do with the app's PENDING rows now.

    Attributes:
        run_requests: runs to start.
        refused: requests whose rows were failed.
        waiting: rows that must wait, with the reason.
    """

    run_requests: list[dg.RunRequest] = field(default_factory=list)
    refused: list[RejectedRequest] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)


def plan_requests(app: PostgresTarget | None, instance: dg.DagsterInstance) -> RequestBatch:
    """Plan a run for each PENDING row of the app, and fail the rows that cannot be carried out; none without an app.

    Raises:
        AppRowError: the app's table cannot be read or written; TransientAppRowError: it cannot be reached.
    """
    batch = RequestBatch()
    requests = pending(app, _MAX_REQUESTS_READ) if app is not None else []
    if app is None or not requests:
        return batch
    published, runs = set(partitions(instance)), _runs(instance, requests)
    for request in requests:
        row_id = request.analysis_run_id
        earlier = runs.get(row_id, [])
        try:
            kind, parameters = resolve_request(request)
            wait = retry_delay(instance, row_id, earlier)
        except AnalysisError as error:
            if fail(app, row_id, str(error)):
                batch.refused.append(RejectedRequest(request, str(error)))
            continue
        if unfinished := [record.dagster_run for record in earlier if _may_claim(record.dagster_run)]:
            batch.waiting.append(f"{row_id} has Dagster run {unfinished[0].run_id}")
        elif wait is not None:
            batch.waiting.append(f"{row_id} waits {wait}")
        elif request.protocol_id not in published:
            batch.waiting.append(f"{row_id} waits until protocol {request.protocol_id} is published: by the next sync")
        elif len(batch.run_requests) == _MAX_RUNS_STARTED:
            batch.waiting.append(f"{row_id} waits its turn")
        else:
            batch.run_requests.append(_run_request(request, kind, parameters, earlier))
    return batch


def build_analysis_requests(settings: Settings) -> dg.SensorDefinition:
    """Build the sensor from the settings."""

    @dg.sensor(
        name="analysis_requests",
        job_name=ANALYSES,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts an analysis for each PENDING row of the app, and refuses those that cannot be carried out. "
        "Nothing else starts one: a protocol that has ended is not analysed until somebody asks.",
    )
    def analysis_requests(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        batch = plan_requests(settings.app, context.instance)
        refused = [f"refused: {rejected.request.analysis_run_id}: {rejected.reason}" for rejected in batch.refused]
        for text in refused:
            context.log.warning("%s", one_line(text))
        if batch.run_requests:
            return dg.SensorResult(batch.run_requests)
        return dg.SensorResult(skip_reason="; ".join([*refused, *batch.waiting]) or "the app has no PENDING row")

    return analysis_requests


def _runs(instance: dg.DagsterInstance, requests: Sequence[Request]) -> dict[str, list[dg.RunRecord]]:
    """The Dagster runs of each request, newest first."""
    runs: dict[str, list[dg.RunRecord]] = {}
    names = [request.analysis_run_id for request in requests]
    for record in instance.get_run_records(dg.RunsFilter(tags={REQUEST_TAG: names})):
        runs.setdefault(record.dagster_run.tags[REQUEST_TAG], []).append(record)
    return runs


def _may_claim(run: dg.DagsterRun) -> bool:
    """Whether a run may still claim its row.

    Dagster starts a NOT_STARTED run only when it is requested again with its run key.
    """
    return not run.is_finished and run.status != dg.DagsterRunStatus.NOT_STARTED


def _run_request(
    request: Request, kind: str, parameters: dict[str, Any], earlier: Sequence[dg.RunRecord]
) -> dg.RunRequest:
    """The run request of one attempt.

    Its run key names the run before it, so each attempt has one key in every tick. If Dagster has created the run of
    a key without starting it, Dagster starts that run and creates no second one (dagster/_daemon/sensor.py).
    """
    before = next((record.dagster_run.run_id for record in earlier if record.dagster_run.is_finished), "first")
    key = dg.AssetKey([PREFIX, kind])
    config = {**parameters, ROW_FIELD: request.analysis_run_id}
    return dg.RunRequest(
        run_key=f"{request.analysis_run_id} {before}",
        asset_selection=[key],
        partition_key=request.protocol_id,
        run_config={"ops": {"__".join(key.path): {"config": config}}},
        tags={REQUEST_TAG: request.analysis_run_id},
    )
