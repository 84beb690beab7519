"""List the newest Dagster runs, and say why the last one that failed did."""

from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from americano_pipelines.defs.dagster_instance import open_instance_to_read
from americano_pipelines.defs.job_names import NIGHTLY
from americano_pipelines.defs.run_ends import describe_end
from americano_pipelines.defs.run_tags import PARTITION_TAG
from americano_pipelines.settings import Settings

FAILURE_DAYS = 7
"""The days in which failures are counted."""


@dataclass(frozen=True)
class RecentRun:
    """A Dagster run.

    Attributes:
        run_id: its id.
        job: the job, or `selected assets` for assets materialized by hand.
        protocol_id: the protocol that it analyses, None for another run.
        status: Dagster's word, such as SUCCESS.
        started: when it started, else when it was created, ISO 8601, UTC.
        seconds: how long it took, None while it runs.
        reason: why it failed, None for one that did not.
    """

    run_id: str
    job: str
    protocol_id: str | None
    status: str
    started: str
    seconds: float | None
    reason: str | None = None


_SUCCESS, _FAILED = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class RecentRuns:
    """The newest runs.

    Attributes:
        newest: the newest runs, newest first.
        last_sync: the newest run of the nightly job, also one that a command started; None before the first.
        running: how many runs have not ended.
        failures: how many failed since a time.
        last_failure: the newest of these, None without any.
    """

    newest: tuple[RecentRun, ...] = ()
    last_sync: RecentRun | None = None
    running: int = 0
    failures: int = 0
    last_failure: RecentRun | None = None


def recent_runs(settings: Settings, limit: int, since: datetime) -> RecentRuns:
    """List runs. Nothing is written; before the first run there are none.

    Args:
        settings: the Dagster home.
        limit: how many of the newest.
        since: from when failures count.

    Raises:
        ConfigError, ResourceError: Dagster's records cannot be opened.
    """
    with open_instance_to_read(settings) as instance:
        if instance is None:
            return RecentRuns()
        failed = dg.RunsFilter(statuses=[_FAILED], created_after=since)
        failures = instance.get_run_records(failed)
        syncs = instance.get_run_records(dg.RunsFilter(job_name=NIGHTLY), limit=1)
        return RecentRuns(
            tuple(_run(instance, record) for record in instance.get_run_records(limit=limit)),
            _run(instance, syncs[0]) if syncs else None,
            instance.get_runs_count(dg.RunsFilter(statuses=_UNFINISHED)),
            len(failures),
            _run(instance, failures[0], explain=True) if failures else None,
        )


@dataclass(frozen=True)
class RunFigures:
    """Figures of Dagster's runs, for monitoring.

    Attributes:
        failed: runs that failed since a time.
        unfinished: runs that have not ended.
        sync_failed: whether the last sync that ended failed, None before the first.
        sync_succeeded_at: when the last successful sync ended, seconds since 1970, None before the first.
    """

    failed: int
    unfinished: int
    sync_failed: bool | None
    sync_succeeded_at: float | None


def run_figures(settings: Settings, since: datetime) -> RunFigures | None:
    """Count runs, and find how the last sync ended; None before Dagster's home is installed.

    Args:
        settings: the Dagster home.
        since: from when failures count.

    Raises:
        ConfigError, ResourceError: Dagster's records cannot be opened.
    """
    with open_instance_to_read(settings) as instance:
        if instance is None:
            return None
        last, last_success = _last_sync(instance, _SUCCESS, _FAILED), _last_sync(instance, _SUCCESS)
        return RunFigures(
            instance.get_runs_count(dg.RunsFilter(statuses=[_FAILED], created_after=since)),
            instance.get_runs_count(dg.RunsFilter(statuses=_UNFINISHED)),
            None if last is None else last.dagster_run.status is _FAILED,
            None if last_success is None else last_success.end_time or last_success.update_timestamp.timestamp(),
        )


def _last_sync(instance: dg.DagsterInstance, *statuses: dg.DagsterRunStatus) -> dg.RunRecord | None:
    records = instance.get_run_records(dg.RunsFilter(job_name=NIGHTLY, statuses=statuses), limit=1)
    return next(iter(records), None)


def _run(instance: dg.DagsterInstance, record: dg.RunRecord, *, explain: bool = False) -> RecentRun:
    run, end = record.dagster_run, record.end_time
    start = record.start_time or record.create_timestamp.timestamp()
    return RecentRun(
        run_id=run.run_id,
        job="selected assets" if run.job_name.startswith("__") else run.job_name,
        protocol_id=run.tags.get(PARTITION_TAG),
        status=run.status.value,
        started=datetime.fromtimestamp(start, UTC).isoformat(timespec="seconds"),
        seconds=None if end is None else round(end - start, 1),
        reason=describe_end(instance, run) if explain else None,
    )
