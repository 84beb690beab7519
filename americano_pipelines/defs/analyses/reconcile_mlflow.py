"""Describe how a Dagster run ended, and set the status of its MLflow runs accordingly.

Dagster is the one to ask: hooks do not run for assets that the UI materializes, nor in a killed process.
"""

from collections import Counter
from collections.abc import Sequence

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from americano_pipelines import errors
from americano_pipelines.defs.step_errors import ERROR_KIND
from americano_pipelines.mlflow_store.client import open_store_if_responsive
from americano_pipelines.mlflow_store.data_folder import store_label
from americano_pipelines.mlflow_store.runs import set_final_statuses
from americano_pipelines.settings import Settings


def describe_end(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Say how a run that has ended did so, and why as far as its events tell."""
    if run.status == dg.DagsterRunStatus.CANCELED:
        return f"Dagster run {run.run_id} was cancelled"
    if run.status == dg.DagsterRunStatus.SUCCESS:
        return f"Dagster run {run.run_id} ended without recording it"
    steps = _events(instance, run, dg.DagsterEventType.STEP_FAILURE)
    descriptions = [f"{event.step_key}: {step_failure(event)[0]}" for event in steps]
    if not descriptions:
        ends = _events(instance, run, dg.DagsterEventType.RUN_FAILURE)
        descriptions = [_run_failure(event) for event in ends]
    return f"Dagster run {run.run_id} failed" + (f": {'; '.join(descriptions)}" if descriptions else "")


def step_failure(event: dg.DagsterEvent) -> tuple[str, str | None]:
    """The message of a step that failed, and the class of its error; None when nobody foresaw it."""
    data = event.step_failure_data
    failure_data = data.user_failure_data
    if failure_data is not None and failure_data.description:
        kind = failure_data.metadata.get(ERROR_KIND)
        return failure_data.description, str(kind.value) if kind is not None else None
    return _reason(data.error) if data.error else str(event.message), None


def _run_failure(event: dg.DagsterEvent) -> str:
    """Why a run failed before any step did: a resource could not be opened, or its process was gone."""
    data = event.job_failure_data
    # Typed as if it were always there: who reports an end from outside gives a message only.
    return _reason(data.error) if data and data.error else str(event.message).strip()


def _reason(error: SerializableErrorInfo) -> str:
    """What lies at the bottom of an error, or above that in our own words: they say what to do."""
    chain = [error]
    while (cause := chain[-1].cause) is not None:
        chain.append(cause)
    known = next((link for link in chain if hasattr(errors, str(link.cls_name))), chain[-1])
    # As a traceback's last line has it: the class, with its module where it has one, and the text.
    text = known.message.strip()
    return text.partition(": ")[2] if hasattr(errors, str(known.cls_name)) else text


def _events(instance: dg.DagsterInstance, run: dg.DagsterRun, kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
    records = instance.get_records_for_run(run.run_id, of_type=kind).records
    return [record.event_log_entry.get_dagster_event() for record in records]


# On the Dagster run: where its MLflow run is, and what status that has as far as Dagster's records know.
PLACE_TAG, EXPERIMENT_TAG = "americano/mlflow_place", "americano/mlflow_experiment"
STATUS_TAG = "americano/mlflow_status"
OPEN = "RUNNING"
# And the app's rows: `americano/row.<id>` for each that the run was about to take or make, open until it is known to
# show the true end; `americano/rows` is open while any of them may be, for runs are found by whole tags only.
ROW_TAG, ROWS_TAG = "americano/row.", "americano/rows"
# One that the run turned out never to have had is `missed`.
ROW_OPEN, ROW_RECONCILED, ROW_MISSED = "open", "settled", "missed"
FINISHED_STATUSES = {
    dg.DagsterRunStatus.SUCCESS: "FINISHED",
    dg.DagsterRunStatus.FAILURE: "FAILED",
    dg.DagsterRunStatus.CANCELED: "KILLED",
}
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
        TrackingError: MLflow does not answer at once; the same runs are tried again the next time.
    """
    label = store_label(settings)
    waiting = [run for run in _waiting(instance) if run.tags.get(PLACE_TAG, label) == label]
    if not waiting:
        return []
    store = open_store_if_responsive(settings)
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
