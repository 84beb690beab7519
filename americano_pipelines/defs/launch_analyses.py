"""Running analyses from a shell, through the same job, partitions and instance as the UI, and what came of them.

Here belongs starting the runs and reading their events. How it is shown is the command line's business.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import dagster as dg

from americano_pipelines.analysis.catalog import KINDS
from americano_pipelines.defs.analyses import ANALYSES, COMMAND_TAG, PREFIX
from americano_pipelines.defs.build import build_defs
from americano_pipelines.defs.ending import how_it_ended, step_failure
from americano_pipelines.defs.instance import open_instance
from americano_pipelines.defs.launch import console_level
from americano_pipelines.defs.partitions import keep_in_step, partitions
from americano_pipelines.defs.requests import due
from americano_pipelines.defs.runs import process_tags
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.history import records
from americano_pipelines.warehouse.read import open_published


@dataclass(frozen=True)
class Launched:
    """One analysis that was launched.

    Attributes:
        protocol_id: the protocol.
        protocol: its name, or its id where it failed before that was known.
        analysis: its kind.
        success: whether it is recorded.
        sentence: what came out, or why it failed.
        dagster_run_id: the Dagster run.
        verdict: the verdict's state, None for an analysis that judges nothing.
        standing: `planned` or `exploratory`.
        analysis_run_id: the app's row, None when there is none.
        mlflow_run_id: its MLflow run, None where it failed.
        sha256: hash of its record, likewise.
    """

    protocol_id: str
    protocol: str
    analysis: str
    success: bool
    sentence: str
    dagster_run_id: str
    verdict: str | None = None
    standing: str | None = None
    analysis_run_id: str | None = None
    mlflow_run_id: str | None = None
    sha256: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def run_analyses(
    settings: Settings, protocol_ids: Sequence[str] | None, kinds: Sequence[str], *, command: str
) -> Iterator[Launched]:
    """Run analyses of protocols, one Dagster run for each protocol, in this process.

    Args:
        settings: the published file and where records go.
        protocol_ids: the protocols; None for all that are published.
        kinds: names of `analysis.catalog.KINDS`; empty for all.
        command: what launches them, as it is recorded.

    Raises:
        AnalysisError: a protocol is not published; nothing is run then.
        WarehouseUnavailableError: nothing is published.
    """
    keys = [dg.AssetKey([PREFIX, kind]) for kind in kinds or KINDS]
    with open_instance(settings) as instance:
        with open_published(settings) as connection:
            keep_in_step(instance, connection)
        there = partitions(instance)
        if unknown := sorted(set(protocol_ids or ()) - set(there)):
            raise AnalysisError(
                f"no protocol {', '.join(unknown)} is published; there are {', '.join(there) or 'none at all'}"
            )
        job = build_defs(settings).resolve_job_def(ANALYSES)
        for protocol_id in protocol_ids or there:
            yield from _run(settings, instance, job, protocol_id, keys, {}, {COMMAND_TAG: command})


def run_missing(settings: Settings, *, command: str) -> Iterator[Launched]:
    """Run what no record has: of every published protocol the analyses that were not made of it yet.

    Args:
        settings: the published file and where records go.
        command: what launches them, as it is recorded.

    Raises:
        WarehouseUnavailableError: nothing is published.
    """
    with open_instance(settings) as instance, open_published(settings) as connection:
        keep_in_step(instance, connection)
        there = partitions(instance)
    made = {(one.identity.protocol_id, one.identity.analysis) for _, one in records(settings)}
    for protocol_id in there:
        if kinds := [kind for kind in KINDS if (protocol_id, kind) not in made]:
            yield from run_analyses(settings, [protocol_id], kinds, command=command)


def run_requests(settings: Settings, *, command: str) -> Iterator[Launched]:
    """Carry out what the app requests, as the sensor `analysis_requests` would, in this process.

    Args:
        settings: the app's database, the published file and where records go.
        command: what launches them, as it is recorded.

    Raises:
        LinkError: the app's table cannot be read.
    """
    with open_instance(settings) as instance:
        job = build_defs(settings).resolve_job_def(ANALYSES)
        for request in due(settings, instance).run_requests:
            protocol_id, keys = str(request.partition_key), list(request.asset_selection or ())
            tags = {**request.tags, COMMAND_TAG: command}
            yield from _run(settings, instance, job, protocol_id, keys, request.run_config, tags)


def _run(
    settings: Settings,
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    protocol_id: str,
    keys: Sequence[dg.AssetKey],
    config: Mapping[str, Any],
    tags: Mapping[str, str],
) -> Iterator[Launched]:
    run_id = str(uuid.uuid4())
    result = job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_id=run_id,
        partition_key=protocol_id,
        asset_selection=list(keys),
        tags={**process_tags(run_id), **tags},
        run_config={**config, "loggers": {"console": {"config": {"log_level": console_level(settings)}}}},
    )
    for key in keys:
        yield _launched(instance, result, protocol_id, key)


def _launched(
    instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult, protocol_id: str, key: dg.AssetKey
) -> Launched:
    kind = key.path[-1]
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key == key:
            found = {
                name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
            }
            row = str(found["AnalysisRun id"])
            return Launched(
                protocol_id=protocol_id,
                protocol=str(found["protocol"]),
                analysis=kind,
                success=True,
                sentence=str(found["sentence"]),
                verdict=str(found["state"]) if "state" in found else None,
                standing=str(found["standing"]),
                analysis_run_id=None if row == "none" else row,
                mlflow_run_id=str(found["MLflow run id"]),
                sha256=str(found["provenance sha256"]),
                dagster_run_id=result.run_id,
            )
    failures = [event for event in result.all_events if event.is_step_failure and event.step_key == "__".join(key.path)]
    told = step_failure(failures[0])[0] if failures else how_it_ended(instance, result.dagster_run)
    return Launched(protocol_id, protocol_id, kind, success=False, sentence=told, dagster_run_id=result.run_id)
