"""Sensor `parquet_arrival` (parquet mode): start the job when export files are complete and not those published.

https://docs.dagster.io/guides/automate/sensors
"""

# A tick reads names, sizes, times and footers, never rows: the run finds out whether a file's content is new. The
# published file shows whether a run did its work. A run that failed is tried again after a pause, a few times; a run
# that succeeded and published nothing found no new content. The cursor is bounded whatever the number of files.

import time
from collections.abc import Sequence
from datetime import timedelta

import dagster as dg
from pydantic import BaseModel

from americano_pipelines.common.duckdb_session import connect
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.defs.job_names import NIGHTLY
from americano_pipelines.defs.retry_pause import next_attempt_at
from americano_pipelines.defs.run_tags import RUN_KEY_TAG
from americano_pipelines.defs.sync import asset_specs
from americano_pipelines.errors import SourceError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.parquet_footers import check_footers
from americano_pipelines.warehouse.unpublished_files import FileChange, Unpublished, unpublished

ATTEMPTS = 3
PAUSE = timedelta(minutes=10)


def run_key(sha256: str, attempt: int) -> str:
    """The key of a run for these files; Dagster starts no second run for a key."""
    return f"{sha256[:32]} {attempt}"


def reason_to_wait(instance: dg.DagsterInstance, sha256: str, attempt: int) -> str | None:
    """Why no other run is requested, after earlier runs for the same files and the same published file.

    Args:
        instance: Dagster's.
        sha256: hash of the files that are not published.
        attempt: number of runs that were requested.

    Returns:
        The reason; None when it is time for the next attempt.
    """
    tags = {RUN_KEY_TAG: run_key(sha256, attempt)}
    records = instance.get_run_records(dg.RunsFilter(tags=tags), limit=1)
    if not records or not records[0].dagster_run.is_finished:
        return "a run for these files was requested and has not ended"
    if records[0].dagster_run.is_success:
        return "no new or changed file: a run found that their content is already published"
    if attempt >= ATTEMPTS:
        return (
            f"{attempt} runs for these files failed, the last one {records[0].dagster_run.run_id}; the next one is the "
            "nightly one, or as soon as a file changes"
        )
    # A network failure or a full disk may be mended by then.
    until = next_attempt_at(records[0], attempt, PAUSE)
    if until is None:
        return None
    return f"run {records[0].dagster_run.run_id} for these files failed; the next attempt is at {until:%H:%M:%S} UTC"


# Dagster ends a tick after 60 s and discards its result. 10,000 footers take 2 to 5 s on a fast disk.
_SECONDS_PER_TICK = 15.0
_FILES_PER_STEP = 1000
_NAMED = 3
_REMEMBERED = 50


class SensorCursor(BaseModel):
    """What the sensor stores between ticks.

    Attributes:
        sha256: hash of the unpublished files at the last tick.
        checked: number of those files, in their order, that were checked.
        broken: the first few broken files.
        broken_count: number of broken files.
        reported: hashes of broken files that were reported.
        requested: hash of the unpublished files for which a run was requested last.
        attempts: number of runs that were requested for those files.
    """

    sha256: str = ""
    checked: int = 0
    broken: list[str] = []
    broken_count: int = 0
    reported: list[str] = []
    requested: str = ""
    attempts: int = 0


def build_parquet_arrival(settings: Settings) -> dg.SensorDefinition:
    """The sensor for these settings."""

    @dg.sensor(
        name="parquet_arrival",
        job_name=NIGHTLY,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts the nightly job when export files are complete and not the ones that are published.",
    )
    def parquet_arrival(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor = SensorCursor.model_validate_json(context.cursor) if context.cursor else SensorCursor()
        try:
            pending = unpublished(settings)
            problems, reason = scan(settings, pending, cursor)
        except FileNotFoundError as error:
            return dg.SensorResult(skip_reason=f"removed while it was read: {error}", cursor=context.cursor)
        except SourceError as error:
            return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
        events = []
        for change, problem in problems:
            context.log.error(problem)
            events.append(dg.AssetObservation(asset_specs.key("files", change.table), metadata={"broken": problem}))
        if reason is None and cursor.requested == pending.sha256:
            reason = reason_to_wait(context.instance, pending.sha256, cursor.attempts)
        if reason is not None:
            return dg.SensorResult(skip_reason=reason, cursor=cursor.model_dump_json(), asset_events=events)
        cursor.attempts = cursor.attempts + 1 if cursor.requested == pending.sha256 else 1
        cursor.requested = pending.sha256
        request = dg.RunRequest(run_key=run_key(pending.sha256, cursor.attempts))
        return dg.SensorResult([request], cursor=cursor.model_dump_json(), asset_events=events)

    return parquet_arrival


def scan(
    settings: Settings, pending: Unpublished, cursor: SensorCursor
) -> tuple[list[tuple[FileChange, str]], str | None]:
    """Check the files that are not published, and store in the cursor how far the check got.

    While any file is incomplete or broken no run is started: it would read that file too, and fail.

    Returns:
        A few of the broken files that were not reported before, with their problem; and why no run is started, None
        if all files are complete.
    """
    if not pending.changes:
        cursor.sha256, cursor.checked, cursor.broken, cursor.broken_count = pending.sha256, 0, [], 0
        return [], "no new or changed file"
    if pending.sha256 != cursor.sha256:
        # Sizes and times must not change between two ticks: a file that is being copied grows.
        cursor.sha256, cursor.checked, cursor.broken, cursor.broken_count = pending.sha256, 0, [], 0
        return [], f"waiting until {_named([str(change.path) for change in pending.changes])} did not change for a tick"
    problems = _check(settings, pending.changes, cursor)
    if cursor.checked < len(pending.changes):
        return problems, f"checked {cursor.checked:,} of {len(pending.changes):,} new or changed files"
    if cursor.broken_count:
        held = _named(cursor.broken, cursor.broken_count)
        fresh = "; ".join(problem for _, problem in problems[:_NAMED])
        return problems, fresh or f"held back until {held} can be read (reported before)"
    return problems, None


def _check(settings: Settings, changes: Sequence[FileChange], cursor: SensorCursor) -> list[tuple[FileChange, str]]:
    """Check footers from where the last tick stopped; return the first problems that were not reported before."""
    problems: list[tuple[FileChange, str]] = []
    deadline = time.monotonic() + _SECONDS_PER_TICK
    if cursor.checked >= len(changes):
        return problems
    with connect(settings) as connection:
        while cursor.checked < len(changes) and time.monotonic() < deadline:
            step = changes[cursor.checked : cursor.checked + _FILES_PER_STEP]
            present = {change.path: change for change in step if change.stamp is not None}
            for path, problem in check_footers(connection, list(present)).items():
                cursor.broken_count += 1
                cursor.broken = [*cursor.broken, str(path)][:_NAMED]
                name = sha256_hex(f"{path} {present[path].stamp}".encode())[:16]
                if name not in cursor.reported and len(problems) < _REMEMBERED:
                    cursor.reported = [*cursor.reported, name][-_REMEMBERED:]
                    problems.append((present[path], problem))
            cursor.checked += len(step)
    return problems


def _named(names: Sequence[str], count: int | None = None) -> str:
    """The first few names and how many there are."""
    count = len(names) if count is None else count
    more = f" and {count - _NAMED:,} more" if count > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
