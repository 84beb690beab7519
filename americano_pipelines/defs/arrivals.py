"""Runs that were asked for because of new files: whether another is asked for, and when.

The published file says whether a run did its work. A run that failed is tried again after a pause, a few times; a
run that ended well and published nothing found that no content is new.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

ATTEMPTS = 3
PAUSE = timedelta(minutes=10)
_RUN_KEY_TAG = "dagster/run_key"


def run_key(sha256: str, attempt: int) -> str:
    """The key of a run for these files; Dagster starts no second one for a key."""
    return f"{sha256[:32]} {attempt}"


def why_not_again(instance: dg.DagsterInstance, sha256: str, attempt: int) -> str | None:
    """Why no other run is asked for, after some for the same files and the same published file.

    Args:
        instance: where the runs are.
        sha256: hash of the files that are not published.
        attempt: how many runs were asked for.

    Returns:
        The reason; None when it is time for the next attempt.
    """
    tags = {_RUN_KEY_TAG: run_key(sha256, attempt)}
    records = instance.get_run_records(dg.RunsFilter(tags=tags), limit=1)
    if not records or not records[0].dagster_run.is_finished:
        return "a run for these files was asked for and has not ended"
    if records[0].dagster_run.is_success:
        return "no new or changed file: a run found that what is published is their content"
    if attempt >= ATTEMPTS:
        return (
            f"{attempt} runs for these files failed, the last one {records[0].dagster_run.run_id}; the next one is the "
            "nightly one, or as soon as a file changes"
        )
    # Each pause twice as long: what failed for a network or a full disk is mended by then or later.
    until = datetime.fromtimestamp(records[0].end_time or 0, UTC) + PAUSE * 2 ** (attempt - 1)
    if until <= datetime.now(UTC):
        return None
    return f"run {records[0].dagster_run.run_id} for these files failed; the next attempt is at {until:%H:%M:%S} UTC"
