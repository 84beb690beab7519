"""Sensor `analysis_requests`: the app's PENDING rows become runs of the analysis that each asks for.

Here belongs deciding which run a request gets, if any. The run claims the row itself, as the first thing it does: so
nothing lies between a claim and a launch that could be lost, and of two runs for one row one carries it out.
https://docs.dagster.io/guides/automate/sensors
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from americano_pipelines.defs.analyses import ANALYSES, PREFIX
from americano_pipelines.defs.attempts import why_to_wait
from americano_pipelines.defs.launchpad import ROW_FIELD
from americano_pipelines.defs.partitions import partitions
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.asked import asked_for
from americano_pipelines.tracking.failing import refuse
from americano_pipelines.tracking.requests import Request, pending

# On the Dagster run: the row that it was started for.
REQUEST_TAG = "americano/request"
_LOOKED_AT, _AT_ONCE = 1000, 20


@dataclass(frozen=True)
class Refused:
    """A request whose row was failed, and why."""

    request: Request
    reason: str


@dataclass
class Due:
    """What the app's pending rows come to at the moment.

    Attributes:
        run_requests: runs to start.
        refused: requests whose rows were failed.
        waiting: rows that are left for later, with the reason.
    """

    run_requests: list[dg.RunRequest] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)


def due(settings: Settings, instance: dg.DagsterInstance) -> Due:
    """Look at the app's pending rows: those that cannot be carried out are refused; without an app there are none.

    Raises:
        LinkError: the app's table cannot be read or written; TransientLinkError: it cannot be reached.
    """
    found, target = Due(), settings.app
    requests = pending(target, _LOOKED_AT) if target is not None else []
    if target is None or not requests:
        return found
    published, runs = set(partitions(instance)), _runs(instance, requests)
    for request in requests:
        row_id = request.analysis_run_id
        earlier = runs.get(row_id, [])
        try:
            kind, given = asked_for(request)
            wait = why_to_wait(instance, row_id, earlier)
        except AnalysisError as error:
            if refuse(target, row_id, str(error)):
                found.refused.append(Refused(request, str(error)))
            continue
        if under_way := [one.dagster_run for one in earlier if _is_under_way(one.dagster_run)]:
            found.waiting.append(f"{row_id} has Dagster run {under_way[0].run_id}")
        elif wait is not None:
            found.waiting.append(f"{row_id} waits {wait}")
        elif request.protocol_id not in published:
            found.waiting.append(f"{row_id} waits until protocol {request.protocol_id} is published: by the next sync")
        elif len(found.run_requests) == _AT_ONCE:
            found.waiting.append(f"{row_id} waits its turn")
        else:
            found.run_requests.append(_run_request(request, kind, given, earlier))
    return found


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
        found = due(settings, context.instance)
        refused = [f"refused: {one.request.analysis_run_id}: {one.reason}" for one in found.refused]
        for told in refused:
            context.log.warning(told)
        if found.run_requests:
            return dg.SensorResult(found.run_requests)
        return dg.SensorResult(skip_reason="; ".join([*refused, *found.waiting]) or "the app asks for nothing")

    return analysis_requests


def _runs(instance: dg.DagsterInstance, requests: Sequence[Request]) -> dict[str, list[dg.RunRecord]]:
    """The Dagster runs of each request, newest first."""
    found: dict[str, list[dg.RunRecord]] = {}
    names = [request.analysis_run_id for request in requests]
    for one in instance.get_run_records(dg.RunsFilter(tags={REQUEST_TAG: names})):
        found.setdefault(one.dagster_run.tags[REQUEST_TAG], []).append(one)
    return found


def _is_under_way(run: dg.DagsterRun) -> bool:
    """Whether a run may still take the row. One that was made and never started may not: Dagster starts it below."""
    return not run.is_finished and run.status != dg.DagsterRunStatus.NOT_STARTED


def _run_request(request: Request, kind: str, given: dict[str, Any], earlier: Sequence[dg.RunRecord]) -> dg.RunRequest:
    """The run of a request.

    Its key names the run before it, so that each attempt has one key however often it is asked for: a run that Dagster
    made for a key and did not come to start is started, and no second one made (dagster/_daemon/sensor.py).
    """
    before = next((one.dagster_run.run_id for one in earlier if one.dagster_run.is_finished), "first")
    key = dg.AssetKey([PREFIX, kind])
    config = {**given, ROW_FIELD: request.analysis_run_id}
    return dg.RunRequest(
        run_key=f"{request.analysis_run_id} {before}",
        asset_selection=[key],
        partition_key=request.protocol_id,
        run_config={"ops": {"__".join(key.path): {"config": config}}},
        tags={REQUEST_TAG: request.analysis_run_id},
    )
