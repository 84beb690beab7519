"""Sensor `analysis_requests`: start a run for each pending row of the app, and limit its attempts.

The run claims the row itself, as the first thing it does: so nothing lies between a claim and a launch that could
be lost, and of two runs for one row one carries it out.

https://docs.dagster.io/guides/automate/sensors
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import takewhile
from typing import Any

import dagster as dg

from americano_pipelines.app_database.matching import Request, resolve_request
from americano_pipelines.app_database.statements import pending, reject_request
from americano_pipelines.defs.analyses.config import ROW_FIELD
from americano_pipelines.defs.jobs import ANALYSES, PREFIX
from americano_pipelines.defs.protocol_partitions import partitions
from americano_pipelines.defs.retry_pause import next_attempt_at
from americano_pipelines.defs.run_ends import describe_end
from americano_pipelines.defs.run_tags import ROW_RECONCILED, ROW_TAG
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings
from americano_pipelines.text_output import one_line

ATTEMPTS = 3
# What a run is in need of before it can look at its request, MLflow above all, is away for everybody: such a run is
# none of the request's own. After a minute there is another, then after twice as long each time, at most an hour: so
# these last for a day.
ATTEMPTS_WITHOUT_MLFLOW = 30
_PAUSE, _LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)


def retry_delay(instance: dg.DagsterInstance, row_id: str, earlier: Sequence[dg.RunRecord]) -> str | None:
    """Why a request is not started again yet.

    A run that had the row begins the count anew: that it is pending again is somebody's wish.

    Args:
        instance: where the runs are.
        row_id: the request.
        earlier: its runs, newest first.

    Returns:
        Until when it waits and what for; None when it need not.

    Raises:
        AnalysisError: it was started often enough.
    """
    ended = [record for record in earlier if record.dagster_run.is_finished]
    in_vain = list(takewhile(lambda record: record.dagster_run.tags.get(f"{ROW_TAG}{row_id}") != ROW_RECONCILED, ended))
    without = [_lacked_a_resource(instance, record) for record in in_vain]
    last = describe_end(instance, in_vain[0].dagster_run) if in_vain else ""
    if len(without) - sum(without) >= ATTEMPTS or sum(without) >= ATTEMPTS_WITHOUT_MLFLOW:
        raise AnalysisError(
            f"started {len(in_vain)} times and never got as far as taking this row; the last time: {last}"
        )
    if not without or not without[0]:
        return None
    until = next_attempt_at(in_vain[0], sum(without), _PAUSE, _LONGEST_PAUSE)
    return f"until {until:%H:%M:%S} UTC; the last time: {last}" if until is not None else None


def _lacked_a_resource(instance: dg.DagsterInstance, run: dg.RunRecord) -> bool:
    """Whether a run ended because what its step requires could not be opened: `mlflow`, or `warehouse`."""
    kind = dg.DagsterEventType.RESOURCE_INIT_FAILURE
    return bool(instance.get_records_for_run(run.dagster_run.run_id, of_type=kind, limit=1).records)


# On the Dagster run: the row that it was started for.
REQUEST_TAG = "americano/request"
_LOOKED_AT, _AT_ONCE = 1000, 20


@dataclass(frozen=True)
class RejectedRequest:
    """A request whose row was failed, and why."""

    request: Request
    reason: str


@dataclass
class RequestBatch:
    """What the app's pending rows come to at the moment.

    Attributes:
        run_requests: runs to start.
        refused: requests whose rows were failed.
        waiting: rows that are left for later, with the reason.
    """

    run_requests: list[dg.RunRequest] = field(default_factory=list)
    refused: list[RejectedRequest] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)


def plan_requests(settings: Settings, instance: dg.DagsterInstance) -> RequestBatch:
    """Look at the app's pending rows: those that cannot be carried out are refused; without an app there are none.

    Raises:
        AppRowError: the app's table cannot be read or written; TransientAppRowError: it cannot be reached.
    """
    batch, target = RequestBatch(), settings.app
    requests = pending(target, _LOOKED_AT) if target is not None else []
    if target is None or not requests:
        return batch
    published, runs = set(partitions(instance)), _runs(instance, requests)
    for request in requests:
        row_id = request.analysis_run_id
        earlier = runs.get(row_id, [])
        try:
            kind, parameters = resolve_request(request)
            wait = retry_delay(instance, row_id, earlier)
        except AnalysisError as error:
            if reject_request(target, row_id, str(error)):
                batch.refused.append(RejectedRequest(request, str(error)))
            continue
        if under_way := [record.dagster_run for record in earlier if _is_under_way(record.dagster_run)]:
            batch.waiting.append(f"{row_id} has Dagster run {under_way[0].run_id}")
        elif wait is not None:
            batch.waiting.append(f"{row_id} waits {wait}")
        elif request.protocol_id not in published:
            batch.waiting.append(f"{row_id} waits until protocol {request.protocol_id} is published: by the next sync")
        elif len(batch.run_requests) == _AT_ONCE:
            batch.waiting.append(f"{row_id} waits its turn")
        else:
            batch.run_requests.append(_run_request(request, kind, parameters, earlier))
    return batch


def build_analysis_requests(settings: Settings) -> dg.SensorDefinition:
    """The sensor for these settings."""

    @dg.sensor(
        name="analysis_requests",
        job_name=ANALYSES,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts an analysis for each PENDING row of the app, and refuses those that cannot be carried out.",
    )
    def analysis_requests(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        batch = plan_requests(settings, context.instance)
        refused = [f"refused: {rejected.request.analysis_run_id}: {rejected.reason}" for rejected in batch.refused]
        for text in refused:
            context.log.warning("%s", one_line(text))
        if batch.run_requests:
            return dg.SensorResult(batch.run_requests)
        return dg.SensorResult(skip_reason="; ".join([*refused, *batch.waiting]) or "the app asks for nothing")

    return analysis_requests


def _runs(instance: dg.DagsterInstance, requests: Sequence[Request]) -> dict[str, list[dg.RunRecord]]:
    """The Dagster runs of each request, newest first."""
    runs: dict[str, list[dg.RunRecord]] = {}
    names = [request.analysis_run_id for request in requests]
    for record in instance.get_run_records(dg.RunsFilter(tags={REQUEST_TAG: names})):
        runs.setdefault(record.dagster_run.tags[REQUEST_TAG], []).append(record)
    return runs


def _is_under_way(run: dg.DagsterRun) -> bool:
    """Whether a run may still take the row. One that was made and never started may not: Dagster starts it below."""
    return not run.is_finished and run.status != dg.DagsterRunStatus.NOT_STARTED


def _run_request(
    request: Request, kind: str, parameters: dict[str, Any], earlier: Sequence[dg.RunRecord]
) -> dg.RunRequest:
    """The run of a request.

    Its key names the run before it, so that each attempt has one key however often it is asked for: a run that Dagster
    made for a key and did not come to start is started, and no second one made (dagster/_daemon/sensor.py).
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
