"""Remove old runs of syncs and deep checks from Dagster, whose own retention removes ticks only."""

# Runs of analyses stay: `americano verify` reads them, and requests are counted by them. The runs that the UI shows of
# an asset stay too.

import sqlite3
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import dagster as dg

from americano_pipelines.defs.dagster_storage import last_evaluation_run, opened, remove_events, shared_files
from americano_pipelines.defs.job_names import DEEP_CHECK, NIGHTLY, PREFIX
from americano_pipelines.defs.run_ends import FINISHED_STATUSES
from americano_pipelines.defs.run_tags import PARTITION_TAG, PLACE_TAG, ROWS_TAG
from americano_pipelines.defs.sync.asset_specs import ROW_CHECKS

# Materializing some assets in the UI makes a run of this job.
_ASSET_JOB = "__ASSET_JOB"
# Most runs of one pass: a first pass over a year's runs must not hold up the sync it follows. A run takes some ms.
MAX_RUNS = 100
_BUSY_SECONDS = 5


def remove_old_runs(instance: dg.DagsterInstance, older_than: timedelta) -> list[str]:
    """Remove runs of syncs and deep checks that ended long ago, with their events and captured output.

    Args:
        instance: Dagster's.
        older_than: how long ago they must have ended.

    Returns:
        The ids of the runs that were removed, at most `MAX_RUNS`: the next pass removes the others.
    """
    candidates = _old_runs(instance, datetime.now(UTC) - older_than)
    if not candidates:
        return []
    shown = _shown(instance)
    removed = [run.run_id for run in candidates if run.run_id not in shown][:MAX_RUNS]
    for run_id in removed:
        _remove(instance, run_id)
    if removed:
        _give_back(instance)
    return removed


def _old_runs(instance: dg.DagsterInstance, ended_before: datetime) -> list[dg.DagsterRun]:
    runs: list[dg.DagsterRun] = []
    for job in (NIGHTLY, DEEP_CHECK, _ASSET_JOB):
        old = dg.RunsFilter(statuses=list(FINISHED_STATUSES), job_name=job, updated_before=ended_before)
        # Hardly any old sync stays, so the oldest come first. Many of the UI's runs may be analyses, which stay: the
        # newest come first, so that each run is examined in the days after it has become old.
        records = instance.get_run_records(old, limit=2 * MAX_RUNS, ascending=job != _ASSET_JOB)
        runs += [record.dagster_run for record in records]
    return [run for run in runs if not _is_of_analyses(run)]


def _is_of_analyses(run: dg.DagsterRun) -> bool:
    keys = run.asset_selection or ()
    return (
        bool({PLACE_TAG, ROWS_TAG, PARTITION_TAG} & run.tags.keys())
        or any(key.path[0] == PREFIX for key in keys)
        or (run.job_name == _ASSET_JOB and not keys and not run.asset_check_selection)
    )


def _shown(instance: dg.DagsterInstance) -> set[str]:
    """The runs that the UI shows of an asset: of its last materialization, observation and comparison of rows."""
    last = [
        record
        for key in instance.get_asset_keys()
        for fetch in (instance.fetch_materializations, instance.fetch_observations)
        for record in fetch(key, limit=1).records
    ]
    evaluated = {last_evaluation_run(instance, check) for check in ROW_CHECKS.values()}
    return {record.run_id for record in last} | {run_id for run_id in evaluated if run_id is not None}


def _remove(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove a run; its record goes last, because the rest is found by it after an interruption."""
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    remove_events(instance, run_id)
    instance.run_storage.delete_run(run_id)


def _give_back(instance: dg.DagsterInstance) -> None:
    """Give space back to the disk when a quarter of a sqlite file is free; a database server does so by itself."""
    for path in shared_files(instance):
        # If another process uses the file, the next runs use the free space, and a later pass gives it back.
        with suppress(sqlite3.OperationalError), opened(path, _BUSY_SECONDS) as connection:
            pages, free = (
                connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count")
            )
            if 4 * free > pages:
                connection.execute("VACUUM")
