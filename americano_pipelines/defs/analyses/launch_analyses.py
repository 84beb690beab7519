"""Run analyses from a shell, through the same job, partitions and instance as the UI, and read the results."""

import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import dagster as dg

from americano_pipelines.analysis.group_extract import group_title, planned_kinds
from americano_pipelines.analysis.registry import KINDS, PROTOCOL_KINDS
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.defs.analyses.analysis_metadata import hash_in
from americano_pipelines.defs.analyses.request_sensor import RejectedRequest, plan_requests
from americano_pipelines.defs.code_location import build_defs
from americano_pipelines.defs.job_names import ANALYSES, GROUP_ANALYSES, PREFIX
from americano_pipelines.defs.protocol_partitions import (
    partitions,
    refusals,
    sync_group_partitions,
    sync_protocol_partitions,
)
from americano_pipelines.defs.run_ends import describe_end, step_failure
from americano_pipelines.defs.run_maintenance import instance_for_runs
from americano_pipelines.defs.run_processes import process_tags
from americano_pipelines.defs.run_tags import COMMAND_TAG
from americano_pipelines.defs.sync.launch_sync import console_level
from americano_pipelines.errors import AnalysisError
from americano_pipelines.mlflow_store.data_folder import check_location
from americano_pipelines.provenance.archive import get
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.record_index import newest_entries
from americano_pipelines.settings import DataFolder, Settings
from americano_pipelines.text_output import one_line
from americano_pipelines.warehouse.published_protocols import published_protocols, read_protocols
from americano_pipelines.warehouse.snapshots import open_published


@dataclass(frozen=True)
class Launched:
    """One analysis that was launched, or refused.

    Attributes:
        protocol_id: the protocol; of a group its key.
        protocol: its name, or its id for an analysis that failed.
        analysis: its kind; for a request that was refused the app's type.
        success: whether it is recorded.
        sentence: the result, or why it failed.
        dagster_run_id: the Dagster run, None for a request that was refused before a run was started.
        verdict: the verdict's state, None for an analysis that judges nothing.
        standing: `planned`, `declared` or `exploratory`.
        analysis_run_id: the app's row, None without one.
        mlflow_run_id: its MLflow run, None for an analysis that failed.
        sha256: hash of its record, None for an analysis that failed.
    """

    protocol_id: str
    protocol: str
    analysis: str
    success: bool
    sentence: str
    dagster_run_id: str | None
    verdict: str | None = None
    standing: str | None = None
    analysis_run_id: str | None = None
    mlflow_run_id: str | None = None
    sha256: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def read_launched(
    paths: DataFolder,
    instance: dg.DagsterInstance,
    result: dg.ExecuteInProcessResult,
    protocol_id: str,
    key: dg.AssetKey,
) -> Launched:
    """The outcome of an analysis in a run: its record, or its failure."""
    kind = key.path[-1]
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key == key:
            metadata = event.step_materialization_data.materialization.metadata
            return _recorded(paths, protocol_id, *hash_in(metadata))
    failures = [event for event in result.all_events if event.is_step_failure and event.step_key == "__".join(key.path)]
    reason = step_failure(failures[0])[0] if failures else describe_end(instance, result.dagster_run)
    return Launched(protocol_id, protocol_id, kind, success=False, sentence=reason, dagster_run_id=result.run_id)


def _recorded(paths: DataFolder, protocol_id: str, sha256: str) -> Launched:
    record = Record.parse(get(paths.records, sha256))
    kind, compliance = KINDS[record.identity.analysis], record.standing
    extract = kind.parse_extract(get(paths.extracts, record.extract_sha256))
    return Launched(
        protocol_id=protocol_id,
        protocol=one_line(extract.title or ""),
        analysis=record.identity.analysis,
        success=True,
        sentence=one_line(record.sentence_with_compliance),
        verdict=record.verdict,
        standing=compliance.label if compliance else None,
        analysis_run_id=record.identity.analysis_run_id,
        mlflow_run_id=record.tracking["run_id"],
        sha256=sha256,
        dagster_run_id=record.orchestrator["dagster_run_id"],
    )


def refused(rejected: RejectedRequest) -> Launched:
    """A request that was refused, as an analysis that failed."""
    return Launched(
        protocol_id=rejected.request.protocol_id,
        protocol=rejected.request.protocol_id,
        analysis=rejected.request.analysis_type,
        success=False,
        sentence=f"row {rejected.request.analysis_run_id!r} is refused: {rejected.reason}",
        dagster_run_id=None,
        analysis_run_id=rejected.request.analysis_run_id,
    )


def without_partition(protocol_id: str, key: dg.AssetKey, reason: str) -> Launched:
    """An analysis of a protocol for which Dagster can have no partition, as one that failed."""
    return Launched(
        protocol_id, protocol_id or "(empty id)", key.path[-1], success=False, sentence=reason, dagster_run_id=None
    )


def run_analyses(
    settings: Settings,
    protocol_ids: Sequence[str] | None,
    kinds: Sequence[str],
    *,
    command: str,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[Launched]:
    """Run analyses of protocols, one Dagster run for each protocol, in this process.

    Args:
        settings: the published file and where records go.
        protocol_ids: the protocols; None for all that are published. One that is named twice is analysed once.
        kinds: names of `analysis.registry.PROTOCOL_KINDS`; empty for all.
        command: the command that launches them, as it is recorded.
        parameters: for each kind the parameters that are set, by name.

    Raises:
        AnalysisError: a protocol is not published; nothing is run then.
        WarehouseUnavailableError: nothing is published.
    """
    keys = [dg.AssetKey([PREFIX, kind]) for kind in dict.fromkeys(kinds or PROTOCOL_KINDS)]
    check_location(settings)
    with instance_for_runs(settings) as instance:
        published, without = _published(settings, instance)
        for protocol_id, reason in without.items():
            if protocol_ids is None or protocol_id in protocol_ids:
                yield from (without_partition(protocol_id, key, reason) for key in keys)
        protocol_ids = None if protocol_ids is None else [name for name in protocol_ids if name not in without]
        if unknown := sorted(set(protocol_ids or ()) - set(published)):
            raise AnalysisError(
                f"no protocol {', '.join(unknown)} is published; there are {', '.join(published) or 'none at all'}"
            )
        job = build_defs(settings).resolve_job_def(ANALYSES)
        config = _config(parameters or {})
        for protocol_id in dict.fromkeys(published if protocol_ids is None else protocol_ids):
            with StageTimer().stage(f"analyse {published[protocol_id]}"):
                yield from _run(settings, instance, job, protocol_id, keys, config, {COMMAND_TAG: command})


def run_group_analyses(
    settings: Settings,
    groups: Sequence[str] | None,
    kinds: Sequence[str],
    *,
    command: str,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[Launched]:
    """Run analyses of groups of protocols, one Dagster run for each group, in this process.

    Args:
        settings: the published file and where records go.
        groups: keys of groups; None for all that are published.
        kinds: names of `analysis.registry.GROUP_KINDS`; empty for the one that the designs of a group call for.
        command: the command that launches them, as it is recorded.
        parameters: for each kind the parameters that are set, by name.

    Raises:
        AnalysisError: a group is not declared; nothing is run then.
        WarehouseUnavailableError: nothing is published.
    """
    check_location(settings)
    with instance_for_runs(settings) as instance:
        fitting = _published_groups(settings, instance)
        if unknown := sorted(set(groups or ()) - set(fitting)):
            raise AnalysisError(
                f"no published protocol declares the group {', '.join(unknown)}; there are "
                f"{', '.join(fitting) or 'none at all'}"
            )
        job = build_defs(settings).resolve_job_def(GROUP_ANALYSES)
        for group in dict.fromkeys(fitting if groups is None else groups):
            keys = [dg.AssetKey([PREFIX, kind]) for kind in dict.fromkeys(kinds or fitting[group])]
            chosen = {
                kind: values for kind, values in (parameters or {}).items() if dg.AssetKey([PREFIX, kind]) in keys
            }
            with StageTimer().stage(f"analyse {group_title(group)}"):
                yield from _run(settings, instance, job, group, keys, _config(chosen), {COMMAND_TAG: command})


def run_missing(settings: Settings, *, command: str, kinds: Mapping[str, Sequence[str]]) -> Iterator[Launched]:
    """Run the analyses of published protocols and groups that have no record yet.

    Args:
        settings: the published file and where records go.
        command: the command that launches them, as it is recorded.
        kinds: names of `analysis.registry.PROTOCOL_KINDS` by protocol; one that is not in it gets all.

    Raises:
        WarehouseUnavailableError: nothing is published.
    """
    check_location(settings)
    with instance_for_runs(settings) as instance:
        entries = newest_entries(settings.paths)
        recorded = {(entry.protocol_id, entry.analysis) for entry in entries}
        recorded_groups = {(entry.group_key, entry.analysis) for entry in entries}
        definitions = build_defs(settings)
        job, group_job = definitions.resolve_job_def(ANALYSES), definitions.resolve_job_def(GROUP_ANALYSES)
        for protocol_id, title in _published(settings, instance)[0].items():
            missing = [
                kind for kind in kinds.get(protocol_id, [*PROTOCOL_KINDS]) if (protocol_id, kind) not in recorded
            ]
            if keys := [dg.AssetKey([PREFIX, kind]) for kind in missing]:
                with StageTimer().stage(f"analyse {title}"):
                    yield from _run(settings, instance, job, protocol_id, keys, {}, {COMMAND_TAG: command})
        for group, group_kinds in _published_groups(settings, instance).items():
            if keys := [dg.AssetKey([PREFIX, kind]) for kind in group_kinds if (group, kind) not in recorded_groups]:
                with StageTimer().stage(f"analyse {group_title(group)}"):
                    yield from _run(settings, instance, group_job, group, keys, {}, {COMMAND_TAG: command})


def run_requests(settings: Settings, *, command: str) -> Iterator[Launched]:
    """Run the analyses that the app requests in this process, as the sensor `analysis_requests` would.

    Requests that are refused come first, as analyses that failed; each one that has to wait is logged as a warning.

    Args:
        settings: the app's database, the published file and where records go.
        command: the command that launches them, as it is recorded.

    Raises:
        AppRowError: the app's table cannot be read.
        WarehouseUnavailableError: a process holds the published file read-write.
    """
    check_location(settings)
    with instance_for_runs(settings) as instance:
        job = build_defs(settings).resolve_job_def(ANALYSES)
        titles = {protocol.protocol_id: protocol.title for protocol in read_protocols(settings)}
        batch = plan_requests(settings.app, instance)
        for reason in batch.waiting:
            logging.getLogger(__name__).warning("%s", one_line(reason))
        yield from map(refused, batch.refused)
        for request in batch.run_requests:
            protocol_id, keys = str(request.partition_key), list(request.asset_selection or ())
            tags = {**request.tags, COMMAND_TAG: command}
            with StageTimer().stage(f"analyse {titles.get(protocol_id, protocol_id)}, as the app requests"):
                yield from _run(settings, instance, job, protocol_id, keys, request.run_config, tags)


def _published(settings: Settings, instance: dg.DagsterInstance) -> tuple[dict[str, str], dict[str, str]]:
    """The published protocols that have a partition, by name, and those that can have none, each with the reason."""
    with open_published(settings) as connection:
        sync_protocol_partitions(instance, connection)
        titles = {protocol.protocol_id: protocol.title for protocol in published_protocols(connection)}
        with_partition = {protocol_id: titles.get(protocol_id, protocol_id) for protocol_id in partitions(instance)}
        return with_partition, refusals(connection)


def _published_groups(settings: Settings, instance: dg.DagsterInstance) -> dict[str, list[str]]:
    """The groups that published protocols declare, each with the analyses that the designs in it call for."""
    with open_published(settings) as connection:
        return {
            group: planned_kinds(connection, protocol_ids)
            for group, protocol_ids in sync_group_partitions(instance, connection).items()
        }


def _config(parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The run config that sets the parameters of each kind."""
    return {"ops": {f"{PREFIX}__{kind}": {"config": dict(values)} for kind, values in parameters.items()}}


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
        tags={**process_tags(instance, run_id), **tags},
        run_config={**config, "loggers": {"console": {"config": {"log_level": console_level(settings)}}}},
    )
    for key in keys:
        yield read_launched(settings.paths, instance, result, protocol_id, key)
