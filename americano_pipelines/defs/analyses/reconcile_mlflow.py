"""Set the status of MLflow runs to how their Dagster run ended.

Dagster is the one to ask: hooks do not run for assets that the UI materializes, nor in a killed process.
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
    """The MLflow status of a Dagster run, as far as its steps have decided it.

    Returns:
        FINISHED, FAILED or KILLED; None while a step runs or is still to run.
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
    before = {
        step.key: {key for step_input in step.inputs for key in step_input.upstream_step_keys} for step in plan.steps
    }

    def is_over(key: str) -> bool:
        """What stands behind a step that failed is never run, and no event says so."""
        return key in ended or any(
            ended.get(upstream) == dg.DagsterEventType.STEP_FAILURE
            or (upstream not in ended and upstream in before and is_over(upstream))
            for upstream in before[key]
        )

    if not all(map(is_over, plan.step_keys_to_execute)):
        return None
    if dg.DagsterEventType.STEP_FAILURE not in ended.values():
        return "FINISHED"
    return "KILLED" if run.status == dg.DagsterRunStatus.CANCELING else "FAILED"


def reconcile_mlflow_runs(settings: Settings, instance: dg.DagsterInstance) -> list[str]:
    """Bring the MLflow runs of Dagster runs that have ended into line, once for each; those that are in this MLflow.

    While there are none it costs a question to Dagster's records; mlflow is imported only for one that there is.

    Returns:
        The Dagster runs that were looked after.

    Raises:
        TrackingError: MLflow does not answer; the same runs are tried again the next time.
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
    """Say which other MLflow may show ended runs as running: only the one that has them can be told their end."""
    label = store_label(settings)
    places = Counter(run.tags.get(PLACE_TAG, label) for run in _waiting(instance))
    return [
        f"runs that have ended, and may be RUNNING in MLflow at {other_label}: {number}. Their end is shown there when "
        f"MLFLOW_TRACKING_URI, which is {label} now, is that again"
        for other_label, number in places.items()
        if other_label != label
    ]


def _waiting(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    return instance.get_runs(dg.RunsFilter(statuses=list(FINISHED_STATUSES), tags={STATUS_TAG: OPEN}))
