"""Runs of a request that ended before they had its row: whether another is started, and when.

Here belongs counting them. Which run it is that is started is `requests.py`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import dagster as dg

from americano_pipelines.defs.ending import how_it_ended
from americano_pipelines.defs.outcome import ROW_SETTLED, ROW_TAG
from americano_pipelines.errors import AnalysisError

ATTEMPTS = 3
# What a run is in need of before it can look at its request, MLflow above all, is away for everybody: such a run is
# none of the request's own. After a minute there is another, then after twice as long each time, at most an hour: so
# these last for a day.
ATTEMPTS_WITHOUT_MLFLOW = 30
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 60, 3600


def why_to_wait(instance: dg.DagsterInstance, row_id: str, earlier: Sequence[dg.RunRecord]) -> str | None:
    """Why a request is not started again yet.

    A run that had the row begins the count anew: that it is pending again is somebody's wish.

    Args:
        instance: where the runs are.
        row_id: the request.
        earlier: its runs, newest first.

    Returns:
        Until when it waits and what for; None when it need not.

    Raises:
        AnalysisError: it was started often enough.
    """
    ended = [one for one in earlier if one.dagster_run.is_finished]
    in_vain = list(takewhile(lambda one: one.dagster_run.tags.get(f"{ROW_TAG}{row_id}") != ROW_SETTLED, ended))
    without = [_lacked_a_resource(instance, one) for one in in_vain]
    last = how_it_ended(instance, in_vain[0].dagster_run) if in_vain else ""
    if len(without) - sum(without) >= ATTEMPTS or sum(without) >= ATTEMPTS_WITHOUT_MLFLOW:
        raise AnalysisError(
            f"started {len(in_vain)} times and never got as far as taking this row; the last time: {last}"
        )
    if not without or not without[0]:
        return None
    pause = timedelta(seconds=min(_PAUSE_SECONDS * 2 ** (sum(without) - 1), _LONGEST_PAUSE_SECONDS))
    until = datetime.fromtimestamp(in_vain[0].end_time or 0, UTC) + pause
    return f"until {until:%H:%M:%S} UTC; the last time: {last}" if until > datetime.now(UTC) else None


def _lacked_a_resource(instance: dg.DagsterInstance, run: dg.RunRecord) -> bool:
    """Whether a run ended because what its step requires could not be opened: `mlflow`, or `warehouse`."""
    kind = dg.DagsterEventType.RESOURCE_INIT_FAILURE
    return bool(instance.get_records_for_run(run.dagster_run.run_id, of_type=kind, limit=1).records)
