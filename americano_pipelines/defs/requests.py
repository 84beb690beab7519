"""Sensor `analysis_requests`: the app's PENDING rows become runs of the analysis that each asks for.

Here belongs deciding which run a request gets, if any. The run claims the row itself, as the first thing it does: so
nothing lies between a claim and a launch that could be lost, and of two runs for one row one carries it out.
https://docs.dagster.io/guides/automate/sensors
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import dagster as dg

from americano_pipelines.defs.analyses import ANALYSES, PREFIX
from americano_pipelines.defs.ending import how_it_ended
from americano_pipelines.defs.launchpad import ROW_FIELD
from americano_pipelines.defs.outcome import ROW_SETTLED, ROW_TAG
from americano_pipelines.defs.partitions import partitions
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.asked import asked_for
from americano_pipelines.tracking.failing import refuse
from americano_pipelines.tracking.requests import Request, pending

# On the Dagster run: the row that it was started for.
REQUEST_TAG = "americano/request"
ATTEMPTS = 3
_LOOKED_AT, _AT_ONCE = 1000, 20


@dataclass
class Due:
    """What the app's pending rows come to at the moment.

    Attributes:
        run_requests: runs to start.
        refused: rows that were failed, with the reason.
        waiting: rows that are left for later, with the reason.
    """

    run_requests: list[dg.RunRequest] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
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
            _check_attempts(instance, row_id, earlier)
        except AnalysisError as error:
            if refuse(target, row_id, str(error)):
                found.refused.append(f"{row_id}: {error}")
            continue
        if under_way := [run.run_id for run in earlier if _is_under_way(run)]:
            found.waiting.append(f"{row_id} has Dagster run {under_way[0]}")
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
        for told in found.refused:
            context.log.warning("refused: %s", told)
        if found.run_requests:
            return dg.SensorResult(found.run_requests)
        reasons = [*(f"refused: {told}" for told in found.refused), *found.waiting]
        return dg.SensorResult(skip_reason="; ".join(reasons) or "the app asks for nothing")

    return analysis_requests


def _runs(instance: dg.DagsterInstance, requests: Sequence[Request]) -> dict[str, list[dg.DagsterRun]]:
    """The Dagster runs of each request, newest first."""
    found: dict[str, list[dg.DagsterRun]] = {}
    names = [request.analysis_run_id for request in requests]
    for run in instance.get_runs(dg.RunsFilter(tags={REQUEST_TAG: names})):
        found.setdefault(run.tags[REQUEST_TAG], []).append(run)
    return found


def _is_under_way(run: dg.DagsterRun) -> bool:
    """Whether a run may still take the row. One that was made and never started may not: Dagster starts it below."""
    return not run.is_finished and run.status != dg.DagsterRunStatus.NOT_STARTED


def _check_attempts(instance: dg.DagsterInstance, row_id: str, earlier: Sequence[dg.DagsterRun]) -> None:
    """Make sure that a request is not started for ever.

    A run that had the row begins the count anew: that it is pending again is somebody's wish.

    Raises:
        AnalysisError: it was started often enough.
    """
    ended = [run for run in earlier if run.is_finished]
    in_vain = list(takewhile(lambda run: run.tags.get(f"{ROW_TAG}{row_id}") != ROW_SETTLED, ended))
    if len(in_vain) >= ATTEMPTS:
        raise AnalysisError(
            f"started {len(in_vain)} times and never got as far as taking this row; the last time: "
            f"{how_it_ended(instance, in_vain[0])}"
        )


def _run_request(request: Request, kind: str, given: dict[str, Any], earlier: Sequence[dg.DagsterRun]) -> dg.RunRequest:
    """The run of a request.

    Its key names the run before it, so that each attempt has one key however often it is asked for: a run that Dagster
    made for a key and did not come to start is started, and no second one made (dagster/_daemon/sensor.py).
    """
    before = next((run.run_id for run in earlier if run.is_finished), "first")
    key = dg.AssetKey([PREFIX, kind])
    config = {**given, ROW_FIELD: request.analysis_run_id}
    return dg.RunRequest(
        run_key=f"{request.analysis_run_id} {before}",
        asset_selection=[key],
        partition_key=request.protocol_id,
        run_config={"ops": {"__".join(key.path): {"config": config}}},
        tags={REQUEST_TAG: request.analysis_run_id},
    )
