"""Running analyses from a shell, through the same job, partitions and instance as the UI.

Here belongs starting the runs. What came of them is read by `launched.py`, and shown by the command line.
"""

import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from americano_pipelines.analysis.catalog import KINDS
from americano_pipelines.defs.analyses import ANALYSES, COMMAND_TAG, PREFIX
from americano_pipelines.defs.build import build_defs
from americano_pipelines.defs.instance import open_instance
from americano_pipelines.defs.launch import console_level
from americano_pipelines.defs.launched import Launched, launched, refused, without_partition
from americano_pipelines.defs.partitions import keep_in_step, partitions, refusals
from americano_pipelines.defs.requests import due
from americano_pipelines.defs.runs import process_tags
from americano_pipelines.errors import AnalysisError
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.history import records
from americano_pipelines.warehouse.read import open_published


def run_analyses(
    settings: Settings, protocol_ids: Sequence[str] | None, kinds: Sequence[str], *, command: str
) -> Iterator[Launched]:
    """Run analyses of protocols, one Dagster run for each protocol, in this process.

    Args:
        settings: the published file and where records go.
        protocol_ids: the protocols; None for all that are published. One that is named twice is analysed once.
        kinds: names of `analysis.catalog.KINDS`; empty for all.
        command: what launches them, as it is recorded.

    Raises:
        AnalysisError: a protocol is not published; nothing is run then.
        WarehouseUnavailableError: nothing is published.
    """
    keys = [dg.AssetKey([PREFIX, kind]) for kind in dict.fromkeys(kinds or KINDS)]
    with open_instance(settings) as instance:
        there, without = _published(settings, instance)
        for protocol_id, reason in without.items():
            if protocol_ids is None or protocol_id in protocol_ids:
                yield from (without_partition(protocol_id, key, reason) for key in keys)
        protocol_ids = None if protocol_ids is None else [name for name in protocol_ids if name not in without]
        if unknown := sorted(set(protocol_ids or ()) - set(there)):
            raise AnalysisError(
                f"no protocol {', '.join(unknown)} is published; there are {', '.join(there) or 'none at all'}"
            )
        job = build_defs(settings).resolve_job_def(ANALYSES)
        for protocol_id in dict.fromkeys(there if protocol_ids is None else protocol_ids):
            yield from _run(settings, instance, job, protocol_id, keys, {}, {COMMAND_TAG: command})


def run_missing(settings: Settings, *, command: str) -> Iterator[Launched]:
    """Run what no record has: of every published protocol the analyses that were not made of it yet.

    Args:
        settings: the published file and where records go.
        command: what launches them, as it is recorded.

    Raises:
        WarehouseUnavailableError: nothing is published.
    """
    with open_instance(settings) as instance:
        made = {(one.identity.protocol_id, one.identity.analysis) for _, one in records(settings)}
        job = build_defs(settings).resolve_job_def(ANALYSES)
        for protocol_id in _published(settings, instance)[0]:
            if keys := [dg.AssetKey([PREFIX, kind]) for kind in KINDS if (protocol_id, kind) not in made]:
                yield from _run(settings, instance, job, protocol_id, keys, {}, {COMMAND_TAG: command})


def run_requests(settings: Settings, *, command: str) -> Iterator[Launched]:
    """Carry out what the app requests, as the sensor `analysis_requests` would, in this process.

    What is refused comes first, as analyses that failed; what has to wait is warned about.

    Args:
        settings: the app's database, the published file and where records go.
        command: what launches them, as it is recorded.

    Raises:
        LinkError: the app's table cannot be read.
    """
    with open_instance(settings) as instance:
        job = build_defs(settings).resolve_job_def(ANALYSES)
        found = due(settings, instance)
        for told in found.waiting:
            logging.getLogger(__name__).warning(told)
        yield from map(refused, found.refused)
        for request in found.run_requests:
            protocol_id, keys = str(request.partition_key), list(request.asset_selection or ())
            tags = {**request.tags, COMMAND_TAG: command}
            yield from _run(settings, instance, job, protocol_id, keys, request.run_config, tags)


def _published(settings: Settings, instance: dg.DagsterInstance) -> tuple[list[str], dict[str, str]]:
    """The published protocols that have a partition, and those that can have none, each with the reason."""
    with open_published(settings) as connection:
        keep_in_step(instance, connection)
        return partitions(instance), refusals(connection)


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
        yield launched(instance, result, protocol_id, key)
