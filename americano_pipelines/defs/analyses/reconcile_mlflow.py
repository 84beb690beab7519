"""Set the status of MLflow runs to how their Dagster run ended.

Dagster's records are the source: hooks do not run for assets that the UI materializes, nor in a killed process.
"""

from collections import Counter
from collections.abc import Sequence

import dagster as dg

from americano_pipelines.defs.run_ends import FINISHED_STATUSES
from americano_pipelines.defs.run_tags import EXPERIMENT_TAG, OPEN, PLACE_TAG, STATUS_TAG
from americano_pipelines.mlflow_store.client import open_store
from americano_pipelines.mlflow_store.data_folder import store_label
from americano_pipelines.mlflow_store.runs import set_final_statuses
from americano_pipelines.settings import Settings

_STEP_ENDS = {
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_SKIPPED,
}


def mlflow_status(instance: dg.DagsterInstance, run_id: str) -> str | None:
    """Derive the MLflow status of a Dagster run from its steps.

    Returns:
        FINISHED, FAILED or KILLED; None while a step runs or has yet to run.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return FINISHED_STATUSES[run.status] if run else None
    if run.execution_plan_snapshot_id is None:
        return None
    records = instance.get_records_for_run(run_id, of_type=_STEP_ENDS).records
    events = [record.event_log_entry.get_dagster_event() for record in records]
    ended = {event.step_key: event.event_type for event in events}
    plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    upstream_keys = {
        step.key: {key for step_input in step.inputs for key in step_input.upstream_step_keys} for step in plan.steps
    }

    def is_over(key: str) -> bool:
        """Steps downstream of a failed step never run, and Dagster emits no event for them."""
        return key in ended or any(
            ended.get(upstream) == dg.DagsterEventType.STEP_FAILURE
            or (upstream not in ended and upstream in upstream_keys and is_over(upstream))
            for upstream in upstream_keys[key]
        )

    if not all(map(is_over, plan.step_keys_to_execute)):
        return None
    if dg.DagsterEventType.STEP_FAILURE not in ended.values():
        return "FINISHED"
    return "KILLED" if run.status == dg.DagsterRunStatus.CANCELING else "FAILED"


def reconcile_mlflow_runs(settings: Settings, instance: dg.DagsterInstance) -> list[str]:
    """Set the status of the MLflow runs whose Dagster run has ended, as far as they are in this MLflow.

    Without such runs, this costs one query of Dagster's run storage and does not import mlflow.

    Returns:
        The ids of the Dagster runs.

    Raises:
        TrackingError: MLflow does not answer; the next pass tries the same runs again.
    """
    label = store_label(settings)
    waiting = [run for run in _waiting(instance) if run.tags.get(PLACE_TAG, label) == label]
    if not waiting:
        return []
    store = open_store(settings)
    for run in waiting:
        set_final_statuses(store, run.tags[EXPERIMENT_TAG], run.run_id, FINISHED_STATUSES[run.status])
        instance.add_run_tags(run.run_id, {STATUS_TAG: FINISHED_STATUSES[run.status]})
    return [run.run_id for run in waiting]


def waiting_elsewhere(settings: Settings, instance: dg.DagsterInstance) -> list[str]:
    """Describe the runs that have ended and are recorded in another MLflow, which may still show them as RUNNING."""
    label = store_label(settings)
    numbers = Counter(run.tags.get(PLACE_TAG, label) for run in _waiting(instance))
    return [
        f"finished runs that may still show RUNNING in MLflow at {other_label}: {number}. Set MLFLOW_TRACKING_URI (now "
        f"{label}) back to it to update them"
        for other_label, number in numbers.items()
        if other_label != label
    ]


def _waiting(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    return instance.get_runs(dg.RunsFilter(statuses=list(FINISHED_STATUSES), tags={STATUS_TAG: OPEN}))
