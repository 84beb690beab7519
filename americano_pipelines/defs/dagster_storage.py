"""Access private parts of Dagster: sqlite files, tables of assets and of evaluated checks, the origin of runs.

This module holds every private name of Dagster's that the project uses, as in `CHECKED_DAGSTER_VERSION`.
"""

# The storage is imported in the functions that use it: with SQLAlchemy it takes 0.4 s of CPU time, and the definitions
# are loaded without it.

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster_shared.check import CheckError
from dagster_shared.error import SerializableErrorInfo

from americano_pipelines.defs.run_tags import CODE_LOCATION, REPOSITORY

# The error that an event holds, and what Dagster raises about a configuration of a wrong type.
ErrorInfo = SerializableErrorInfo
ConfigurationError = CheckError
CHECKED_DAGSTER_VERSION = "1.13.27"
# The name of the file that mirrors the events of assets of all runs.
_INDEX = "index"
# The id under which events without a run are stored.
RUNLESS = ""
_EVALUATED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
_TICKS = "schedules.db"
_BUSY_SECONDS = 30
_ORIGIN = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(CODE_LOCATION), REPOSITORY)


def set_run_origin(instance: dg.DagsterInstance) -> None:
    """Set the origin of runs that this process executes, as the UI does.

    The timeline and the pages of a job list only runs with an origin, and `execute_in_process` creates its run
    without one.
    """
    create = instance.create_run_for_job

    def create_run_for_job(job_def: dg.JobDefinition, *arguments: Any, **options: Any) -> dg.DagsterRun:  # noqa: ANN401
        origin = _ORIGIN.get_job_origin(job_def.name)
        return create(job_def, *arguments, **{"remote_job_origin": origin, **options})

    setattr(instance, "create_run_for_job", create_run_for_job)  # noqa: B010 - mypy refuses an assignment to a method


def events_file(instance: dg.DagsterInstance, run_id: str) -> Path | None:
    """The path of the sqlite file of a run's events, whether or not it exists; None under another storage."""
    from dagster._core.storage.event_log import SqliteEventLogStorage

    storage = instance.event_log_storage
    return Path(storage.path_for_shard(run_id)) if isinstance(storage, SqliteEventLogStorage) else None


def shared_files(instance: dg.DagsterInstance) -> list[Path]:
    """The existing sqlite files of asset events, of events without a run, of runs and of ticks; else none."""
    index, runless = events_file(instance, _INDEX), events_file(instance, RUNLESS)
    if index is None or runless is None:
        return []
    home = index.parent.parent.parent
    paths = (index, runless, index.parent.parent / "runs.db", home / "schedules" / _TICKS)
    return [path for path in paths if path.is_file()]


def run_texts(instance: dg.DagsterInstance) -> Iterator[tuple[str, str]]:
    """Each text that storage and captured output hold about a run, with the run's id; of sqlite storages only."""
    index = events_file(instance, _INDEX)
    if index is None:
        return
    statements = [(path, "SELECT run_id, event FROM event_logs") for path in sorted(index.parent.glob("*.db"))]
    statements.append((index.parent.parent / "runs.db", "SELECT run_id, run_body FROM runs"))
    for path, statement in statements:
        if path.is_file():
            with opened(path, _BUSY_SECONDS) as connection:
                yield from connection.execute(statement)
    for path in sorted((index.parent.parent.parent / "storage").glob("*/compute_logs/*")):
        yield path.parent.parent.name, path.read_text(encoding="utf-8", errors="replace")


def tick_texts(instance: dg.DagsterInstance) -> Iterator[tuple[int, str]]:
    """The text of each tick of a sensor or schedule, with its number; of sqlite storages only."""
    for path in shared_files(instance):
        if path.name == _TICKS:
            with opened(path, _BUSY_SECONDS) as connection:
                yield from connection.execute("SELECT id, tick_body FROM job_ticks")


def remove_ticks(instance: dg.DagsterInstance, numbers: Iterable[int]) -> None:
    """Remove ticks by their numbers."""
    for path in shared_files(instance):
        if path.name == _TICKS:
            with opened(path, _BUSY_SECONDS) as connection:
                connection.executemany("DELETE FROM job_ticks WHERE id = ?", [(number,) for number in numbers])


def remove_events(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove a run's events, its sqlite file, and the results of its checks, which Dagster leaves in their table."""
    from dagster._core.storage.event_log import SqlEventLogStorage
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

    storage = instance.event_log_storage
    storage.delete_events(run_id)
    if isinstance(storage, SqlEventLogStorage):
        with storage.index_connection() as connection:
            table = AssetCheckExecutionsTable
            connection.execute(table.delete().where(table.c.run_id == run_id))
    path = events_file(instance, run_id)
    if path is not None:
        for file in (path, *(path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm", "-journal"))):
            file.unlink(missing_ok=True)


def remove_asset_events(instance: dg.DagsterInstance, key: dg.AssetKey) -> None:
    """Remove the events of an asset that has no runs; Dagster's own wipe only hides them."""
    from dagster._core.storage.event_log import SqlEventLogStorage
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

    storage, table = instance.event_log_storage, SqlEventLogStorageTable
    if isinstance(storage, SqlEventLogStorage) and storage.has_asset_key(key):
        for shard in (storage.index_connection(), storage.run_connection(RUNLESS)):
            with shard as connection:
                connection.execute(table.delete().where(table.c.asset_key == key.to_string()))
    refresh_asset_entry(instance, key)


def last_evaluation_run(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> str | None:
    """The run that last evaluated a check; None when none did."""
    history = instance.event_log_storage.get_asset_check_execution_history(check, limit=1, status=_EVALUATED)
    return history[0].run_id if history else None


def refresh_asset_entry(instance: dg.DagsterInstance, key: dg.AssetKey) -> None:
    """Set an asset's entry, which copies its last materialization, to the latest one that remains."""
    from dagster._core.storage.event_log import SqlEventLogStorage

    storage = instance.event_log_storage
    entries = instance.get_asset_records([key])
    if not entries or entries[0].asset_entry.last_materialization_record is None:
        return
    remaining = instance.fetch_materializations(key, limit=1).records
    if not remaining:
        instance.wipe_assets([key])
    elif isinstance(storage, SqlEventLogStorage):
        storage.store_asset_event(remaining[0].event_log_entry, remaining[0].storage_id)
        storage.wipe_asset_cached_status(key)


@contextmanager
def opened(path: Path, busy_seconds: float) -> Iterator[sqlite3.Connection]:
    """Open an existing sqlite file in autocommit mode; wait `busy_seconds` at most for other processes."""
    with closing(
        sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=busy_seconds, isolation_level=None)
    ) as connection:
        yield connection
