"""Sensor `run_outcome`: reconcile MLflow and the app's rows with the Dagster runs that ended.

https://docs.dagster.io/guides/automate/sensors
"""

import math
import time
from datetime import timedelta

import dagster as dg

from americano_pipelines.defs.analyses.reconcile_mlflow import reconcile_mlflow_runs, waiting_elsewhere
from americano_pipelines.defs.analyses.reconcile_rows import ReconciledRows, reconcile_app_rows
from americano_pipelines.defs.run_processes import fail_dead_runs
from americano_pipelines.defs.run_retention import remove_old_runs
from americano_pipelines.errors import AmericanoError, AppRowError, TrackingError
from americano_pipelines.settings import Settings

_REMOVE_EVERY_SECONDS = 3600


def reconcile_all(settings: Settings, instance: dg.DagsterInstance) -> tuple[list[str], list[str]]:
    """Set MLflow runs and the app's rows to how their Dagster runs ended; an outage of one does not stop the other.

    Returns:
        What was reconciled, and the problems; the next pass tries those again.
    """
    changes: list[str] = []
    problems = waiting_elsewhere(settings, instance)
    try:
        changes += reconcile_mlflow_runs(settings, instance)
    except TrackingError as error:
        problems.append(f"MLflow does not show yet how some runs ended: {error}")
    try:
        rows = reconcile_app_rows(settings, instance)
    except AppRowError as error:
        rows = ReconciledRows(problems=[f"the app does not show yet how some runs ended: {error}"])
    changes += [f"row {row_id}" for row_id in rows.rows]
    return changes, problems + rows.problems


def build_run_outcome(settings: Settings) -> dg.SensorDefinition:
    """Build the sensor from the settings.

    It is not a run status sensor: that one sees each end once, so a server that was down then would never be updated.
    """
    removed_at = -math.inf

    @dg.sensor(
        name="run_outcome",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Fails runs whose process is gone, and updates MLflow and the app's rows when a run has ended.",
    )
    def run_outcome(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        nonlocal removed_at
        dead = fail_dead_runs(context.instance)
        # Runs in another MLflow wait for a person, who may have left it for good: no failure of each tick.
        elsewhere = waiting_elsewhere(settings, context.instance)
        changes, problems = reconcile_all(settings, context.instance)
        failures = [problem for problem in problems if problem not in elsewhere]
        removed: list[str] = []
        if time.monotonic() - removed_at > _REMOVE_EVERY_SECONDS:
            removed = remove_old_runs(context.instance, timedelta(days=settings.americano_runs_kept_days))
            # One pass removes a limited number, so the next tick goes on until none is left.
            removed_at = removed_at if removed else time.monotonic()
        messages = [
            f"runs marked failed because their process is gone: {len(dead)}" if dead else "",
            ", ".join(changes),
            *elsewhere,
            f"{len(removed)} old runs of syncs removed" if removed else "",
        ]
        if failures:
            # All that was possible is done. A skipped tick would hide an outage of days.
            raise AmericanoError("; ".join(filter(None, [*failures, *messages])))
        return dg.SkipReason("; ".join(filter(None, messages)) or "no run has ended since")

    return run_outcome
