"""Sensor `run_outcome`: after any end of a Dagster run, its MLflow runs and its rows in the app show that end.

Here belongs calling what looks after each, so that neither waits for the other.
https://docs.dagster.io/guides/automate/sensors
"""

import math
import time
from datetime import timedelta

import dagster as dg

from americano_pipelines.defs.outcome import settle_ended, waiting_elsewhere
from americano_pipelines.defs.retention import remove_old_runs
from americano_pipelines.defs.row_outcome import Settled, settle_rows
from americano_pipelines.defs.runs import fail_dead_runs
from americano_pipelines.errors import LinkError, TrackingError
from americano_pipelines.settings import Settings
from americano_pipelines.tracking.probe import note

_REMOVE_EVERY_SECONDS = 3600


def settle_all(settings: Settings, instance: dg.DagsterInstance) -> tuple[list[str], list[str]]:
    """Bring MLflow and the app into line with the Dagster runs that have ended, each although the other is down.

    Returns:
        What was looked after, and what could not be: that is tried again the next time.
    """
    done: list[str] = []
    problems = waiting_elsewhere(settings, instance)
    try:
        done += settle_ended(settings, instance)
    except TrackingError as error:
        problems.append(f"MLflow does not show yet how some runs ended: {error}")
    try:
        rows = settle_rows(settings, instance)
    except LinkError as error:
        rows = Settled(problems=[f"the app does not show yet how some runs ended: {error}"])
    done += [f"row {row_id}" for row_id in rows.rows]
    return done, problems + rows.problems


def build_run_outcome(settings: Settings) -> dg.SensorDefinition:
    """The sensor for these settings.

    It looks for runs that are not settled, and is no run status sensor: one of those is told of an end once, and a
    server that was down at that moment would never hear of it.
    """
    removed_at = -math.inf

    @dg.sensor(
        name="run_outcome",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ends what killed processes left open: Dagster runs, their MLflow runs and the app's rows.",
    )
    def run_outcome(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        nonlocal removed_at
        dead = fail_dead_runs(context.instance)
        # This process lasts; in that of a command, what was silent is not asked again.
        note(settings.tracking_uri, silent=False)
        done, problems = settle_all(settings, context.instance)
        for problem in problems:
            context.log.error(problem)
        removed: list[str] = []
        if time.monotonic() - removed_at > _REMOVE_EVERY_SECONDS:
            removed = remove_old_runs(context.instance, timedelta(days=settings.americano_runs_kept_days))
            # While there are more than one pass takes, the next tick goes on.
            removed_at = removed_at if removed else time.monotonic()
        told = [f"{len(dead)} marked failed whose process is gone" if dead else "", ", ".join(done), *problems]
        told.append(f"{len(removed)} old runs of syncs removed" if removed else "")
        return dg.SkipReason("; ".join(filter(None, told)) or "no run has ended since")

    return run_outcome
