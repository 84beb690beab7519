"""Erase a learner from Dagster's records: delete the runs that analysed their protocols.

Deleting a run is not enough. Open source Dagster on sqlite cannot wipe the partitions of an asset, and wiping an
asset takes the history of all protocols; a deleted run leaves its text in free pages of the files, its captured
output, and a copy of an asset's last materialization in the table of assets.
"""

import sqlite3
from collections.abc import Collection
from contextlib import closing

import dagster as dg
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage

from americano_pipelines.analysis.registry import KINDS
from americano_pipelines.defs.jobs import DEEP_CHECK, NIGHTLY, PREFIX
from americano_pipelines.defs.sync import asset_specs
from americano_pipelines.errors import ResourceError

_PARTITION_TAG = "dagster/partition"
_AT_WORK = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
# The name of the file that mirrors the events of assets of all runs.
_INDEX = "index"
_BUSY_SECONDS = 30


def runs_under_way(instance: dg.DagsterInstance) -> list[str]:
    """Runs under way that may be analysing an earlier snapshot, and record it when this is over."""
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=_AT_WORK))
    return [run.run_id for run in runs if run.job_name not in {NIGHTLY, DEEP_CHECK}]


def runs_of(instance: dg.DagsterInstance, protocols: Collection[str], recorded: Collection[str]) -> list[str]:
    """The runs that have ended of some protocols, and of those named the ones that are there.

    Args:
        instance: Dagster's.
        protocols: the learner's protocols.
        recorded: Dagster runs that records of theirs name.
    """
    filters = [dg.RunsFilter(tags={_PARTITION_TAG: protocol_id}) for protocol_id in sorted(protocols)]
    if recorded:
        filters.append(dg.RunsFilter(run_ids=sorted(recorded)))
    runs = {run.run_id: run for run_filter in filters for run in instance.get_runs(filters=run_filter)}
    return sorted(run_id for run_id, run in runs.items() if run.is_finished)


def delete_runs(instance: dg.DagsterInstance, run_ids: Collection[str]) -> None:
    """Delete runs that have ended, so that no file of Dagster's has anything of them.

    Can be done again after an interruption: the run itself, by which it is found, goes last.

    Raises:
        ResourceError: a file of Dagster's cannot be rewritten.
    """
    storage = instance.event_log_storage
    keys = {asset_specs.key(PREFIX, name) for name in KINDS}
    for run_id in run_ids:
        materializations = instance.get_records_for_run(
            run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        keys |= {record.asset_key for record in materializations if record.asset_key is not None}
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        storage.delete_events(run_id)
        _rewrite(storage, run_id)
        instance.delete_run(run_id)
    for key in sorted(keys):
        _show_what_is_left(instance, key)
    _rewrite(storage, _INDEX)


def _show_what_is_left(instance: dg.DagsterInstance, key: dg.AssetKey) -> None:
    """Let an asset's entry have its latest materialization that is left, for it keeps a copy of it."""
    storage = instance.event_log_storage
    entries = instance.get_asset_records([key])
    if not entries or entries[0].asset_entry.last_materialization_record is None:
        return
    left = instance.fetch_materializations(key, limit=1).records
    if not left:
        instance.wipe_assets([key])
    elif isinstance(storage, SqlEventLogStorage):
        storage.store_asset_event(left[0].event_log_entry, left[0].storage_id)
        storage.wipe_asset_cached_status(key)


def _rewrite(storage: object, shard: str) -> None:
    """Write a file of events anew without its free pages; a database server sees to that itself."""
    if not isinstance(storage, SqliteEventLogStorage):
        return
    path = storage.path_for_shard(shard)
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise ResourceError(f"{path} cannot be written anew, so deleted text may still be in it: {error}") from error
    if busy:
        raise ResourceError(f"{path} is being read, so deleted text may still be in it: purge once more")
