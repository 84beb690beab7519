"""Space the attempts after runs that failed: each pause is twice as long as the one before."""

from datetime import UTC, datetime, timedelta

import dagster as dg


def next_attempt_at(
    failed: dg.RunRecord, attempts: int, first: timedelta, longest: timedelta = timedelta(days=1)
) -> datetime | None:
    """When the next run is due.

    Args:
        failed: the last run, which has ended.
        attempts: number of runs that failed, with this one.
        first: the pause after the first of them.
        longest: the longest pause.

    Returns:
        The time in UTC; None when it has passed.
    """
    due = datetime.fromtimestamp(failed.end_time or 0, UTC) + min(first * 2 ** (attempts - 1), longest)
    return due if due > datetime.now(UTC) else None
